"""Self-checking records: length, type, checksum, payload. Used by the journal, the outbox and the packs.

Layout of one record (little endian): u32 length of the payload, u8 type (1-255), 3 zero bytes, u32 CRC-32 of
the first eight bytes and the payload, payload. See docs/formats/records.md. A reader tells a torn tail (the file
ends inside a record, or what follows does not check) from whole records and reports how many bytes it left.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

HEADER_BYTES = 12
MAX_RECORD_BYTES = 64 * 1024 * 1024  # larger than any frame or chunk, small enough to read into memory

_HEAD = struct.Struct("<IB3x")
_CHECKSUM = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Record:
    """One whole record: its type, payload, and the offset of its first byte in the file."""

    type: int
    payload: bytes
    offset: int

    @property
    def end(self) -> int:
        """Return the offset after its last byte."""
        return self.offset + HEADER_BYTES + len(self.payload)


def record_parts(record_type: int, *payload: bytes | memoryview) -> list[bytes | memoryview]:
    """Encode one record as buffers to be written one after the other (the payload is not copied)."""
    length = sum(len(part) for part in payload)
    if not 0 < record_type < 256 or length > MAX_RECORD_BYTES:
        raise ValueError(f"record of type {record_type} and {length} bytes cannot be written")
    head = _HEAD.pack(length, record_type)
    checksum = zlib.crc32(head)
    for part in payload:
        checksum = zlib.crc32(part, checksum)
    return [head, _CHECKSUM.pack(checksum), *payload]


def read_record(file: BinaryIO, offset: int) -> Record | None:
    """Read the record at `offset`, or return None when no whole, checked record stands there."""
    file.seek(offset)
    head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        return None
    length, record_type = _HEAD.unpack_from(head)
    if record_type == 0 or length > MAX_RECORD_BYTES:
        return None
    payload = file.read(length)
    if len(payload) < length:
        return None
    if zlib.crc32(payload, zlib.crc32(head[:8])) != _CHECKSUM.unpack_from(head, 8)[0]:
        return None
    return Record(record_type, payload, offset)


def next_record(file: BinaryIO, offset: int, limit: int) -> Record | None:
    """Return the record behind one at `offset` that does not check, when its length can be believed; else None.

    Finding one tells damage in the middle of a file from a torn tail.
    """
    file.seek(offset)
    head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        return None
    behind = offset + HEADER_BYTES + int(_HEAD.unpack_from(head)[0])
    return read_record(file, behind) if behind < limit else None


def read_records(file: BinaryIO, offset: int, limit: int | None = None) -> Iterator[Record]:
    """Yield whole records from `offset` on; stop before `limit` (a file offset) or at the first that does not check."""
    while limit is None or offset < limit:
        record = read_record(file, offset)
        if record is None:
            return
        yield record
        offset = record.end
