"""What stands in a pack, byte by byte (docs/formats/pack.md).

A pack is a list of records of core.framing: first its head (magic "SKP1", u16 version, u16 zero, 16 bytes store id, u64 pack
number), then chunks, and when the pack is sealed a trailer with the index of all chunks and a footer that tells where the
trailer stands. A chunk record: u8 kind, u8 form, u8 cipher (0), u8 zero, u32 unpacked size, 8 bytes of the owner's domain,
32 bytes digest, packed bytes.
"""

import struct
from dataclasses import dataclass

from core.digest import Digest, digest_of
from core.errors import Damaged
from core.framing import HEADER_BYTES, record_parts
from staging.chunk_format import ChunkKind, Form, PackedChunk

MAGIC = b"SKP1"
VERSION = 1
HEAD, CHUNK, TRAILER, FOOTER = 1, 2, 3, 4
DOMAIN_BYTES = 8

_HEAD = struct.Struct("<4sHH16sQ")
_CHUNK = struct.Struct("<BBBBI8s32s")
_TRAILER_ENTRY = struct.Struct("<QIIBBBB8s32s")
_FOOTER = struct.Struct("<QQ")
CHUNK_HEADER_BYTES = _CHUNK.size
FOOTER_RECORD_BYTES = HEADER_BYTES + _FOOTER.size


class PackDamaged(Damaged):
    """A pack holds bytes that do not check."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a chunk's record stands: pack number, offset of the record, length of its packed bytes."""

    pack: int
    offset: int
    stored_bytes: int
    size: int

    @property
    def record_bytes(self) -> int:
        """Return the length of the whole record."""
        return HEADER_BYTES + CHUNK_HEADER_BYTES + self.stored_bytes

    @property
    def end(self) -> int:
        """Return the offset behind the record."""
        return self.offset + self.record_bytes


@dataclass(frozen=True, slots=True)
class PackedRecord:
    """A chunk record read back."""

    chunk: PackedChunk
    domain: bytes


def domain_key(domain: str) -> bytes:
    """Return the eight bytes that stand for a dedup domain in packs and in the index."""
    return digest_of(domain.encode())[:DOMAIN_BYTES]


def encode_head(store_id: bytes, number: int) -> bytes:
    """Return a pack's head."""
    return _HEAD.pack(MAGIC, VERSION, 0, store_id, number)


def check_head(payload: bytes, store_id: bytes, number: int) -> None:
    """Raise `PackDamaged` unless this is the head of that pack of this store."""
    if payload[:4] != MAGIC or len(payload) != _HEAD.size:
        raise PackDamaged(f"pack {number} has no pack head")
    _, version, _, found_store, found_number = _HEAD.unpack(payload)
    if version != VERSION:
        raise PackDamaged(f"pack {number} has format {version}, newer than this release", remedy="upgrade the appliance")
    if found_store != store_id or found_number != number:
        raise PackDamaged(f"pack {number} is another store's or pack's file", remedy="put the right file back")


def chunk_record(chunk: PackedChunk, domain: bytes) -> list[bytes | memoryview]:
    """Encode a chunk record as buffers."""
    head = _CHUNK.pack(chunk.kind, chunk.form, 0, 0, chunk.size, domain, chunk.digest)
    return record_parts(CHUNK, head, chunk.data)


def decode_chunk(payload: bytes | memoryview) -> PackedRecord:
    """Decode a chunk record's payload; raise `PackDamaged`."""
    if len(payload) < _CHUNK.size:
        raise PackDamaged("a chunk record is shorter than its header")
    kind, form, cipher, zero, size, domain, digest = _CHUNK.unpack_from(payload)
    if cipher or zero or kind not in set(ChunkKind) or form not in set(Form):
        raise PackDamaged("a chunk record has a kind, form or cipher that this release does not know")
    data = memoryview(payload)[_CHUNK.size :]
    return PackedRecord(PackedChunk(ChunkKind(kind), Digest(digest), Form(form), size, data), domain)


@dataclass(frozen=True, slots=True)
class TrailerEntry:
    """One chunk of a sealed pack."""

    location: Location
    kind: int
    domain: bytes
    digest: Digest


def encode_trailer(entries: list[TrailerEntry]) -> bytes:
    """Return the index of a sealed pack."""
    return b"".join(
        _TRAILER_ENTRY.pack(e.location.offset, e.location.stored_bytes, e.location.size, e.kind, 0, 0, 0, e.domain, e.digest)
        for e in entries
    )


def decode_trailer(payload: bytes, number: int) -> list[TrailerEntry]:
    """Return the entries of a sealed pack's index."""
    if len(payload) % _TRAILER_ENTRY.size:
        raise PackDamaged(f"the trailer of pack {number} has a wrong length")
    return [
        TrailerEntry(Location(number, offset, stored, size), kind, domain, Digest(digest))
        for offset, stored, size, kind, _, _, _, domain, digest in _TRAILER_ENTRY.iter_unpack(payload)
    ]


def encode_footer(trailer_offset: int, count: int) -> bytes:
    """Return the last record's payload."""
    return _FOOTER.pack(trailer_offset, count)


def decode_footer(payload: bytes) -> tuple[int, int]:
    """Return (offset of the trailer, count of chunks)."""
    trailer_offset, count = _FOOTER.unpack(payload)
    return trailer_offset, count
