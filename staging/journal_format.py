"""What stands in a journal segment, byte by byte (docs/formats/journal.md).

A segment is a list of records of core.framing. The first is its head: magic "SKJ1", u16 version, u16 zero, 16 bytes
share id, then the position behind which it begins: u64 epoch, u64 sequence, 32 bytes frame hash. Every later record
begins with an envelope: u64 time in nanoseconds (never less than the one before), u64 length of this segment that was
known durable when the record was written. Then follows a frame, or the msgpack text of a control record.
"""

import struct
from dataclasses import dataclass

from core.digest import Digest
from core.errors import Damaged
from core.framing import HEADER_BYTES
from staging.protocol import Position

MAGIC = b"SKJ1"
VERSION = 1
HEAD, FRAME, CONTROL = 1, 2, 3

_HEAD = struct.Struct("<4sHH16sQQ32s")
_ENVELOPE = struct.Struct("<QQ")
ENVELOPE_BYTES = _ENVELOPE.size
HEAD_RECORD_BYTES = HEADER_BYTES + _HEAD.size


class JournalDamaged(Damaged):
    """A journal holds bytes that were durable and do not check any more."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """When a record was written, and how much of the segment was durable then."""

    time_ns: int
    synced_bytes: int


def encode_head(share_id: bytes, position: Position) -> bytes:
    """Return the head of a segment that begins behind `position`."""
    return _HEAD.pack(MAGIC, VERSION, 0, share_id, position.epoch, position.sequence, position.hash)


def decode_head(payload: bytes) -> tuple[bytes, Position]:
    """Return (share id, position) of a segment's head; raise `JournalDamaged`."""
    if len(payload) != _HEAD.size:
        raise JournalDamaged("a journal segment's head has a wrong length")
    magic, version, zero, share_id, epoch, sequence, frame_hash = _HEAD.unpack(payload)
    if magic != MAGIC or zero:
        raise JournalDamaged("a file in the journal is no journal segment")
    if version != VERSION:
        raise JournalDamaged(f"journal format {version} is newer than this release", remedy="upgrade the appliance")
    return share_id, Position(epoch, sequence, Digest(frame_hash))


def encode_envelope(time_ns: int, synced_bytes: int) -> bytes:
    """Return the envelope of a record."""
    return _ENVELOPE.pack(time_ns, synced_bytes)


def decode_envelope(payload: bytes) -> Envelope:
    """Return the envelope at the beginning of a record's payload."""
    if len(payload) < ENVELOPE_BYTES:
        raise JournalDamaged("a journal record is shorter than its envelope")
    return Envelope(*_ENVELOPE.unpack_from(payload))
