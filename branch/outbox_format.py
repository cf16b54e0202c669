"""What stands in a segment of the outbox, byte by byte (docs/formats/outbox.md)."""

import struct
from dataclasses import dataclass

from core.digest import Digest
from core.errors import Damaged
from staging.frame_format import FrameHeader, read_header
from staging.protocol import Position

MAGIC = b"SKO1"
VERSION = 1
HEAD, FRAME, CHUNKS = 1, 2, 3
MAX_CHUNKS_BYTES = 16 * 1024 * 1024  # one put body

_HEAD = struct.Struct("<4sHH16sQQQ32s")
_FRAME = struct.Struct("<QI")


class OutboxDamaged(Damaged):
    """The outbox holds bytes that were durable and do not check any more."""


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """Whose segment it is, in which epoch numbers are given, and behind which position it begins."""

    share_id: bytes
    epoch: int
    start: Position


def encode_head(head: SegmentHead) -> bytes:
    """Return the payload of a head record."""
    start = head.start
    return _HEAD.pack(MAGIC, VERSION, 0, head.share_id, head.epoch, start.epoch, start.sequence, start.hash)


def decode_head(payload: bytes) -> SegmentHead:
    """Read the payload of a head record; raise `OutboxDamaged`."""
    if len(payload) != _HEAD.size:
        raise OutboxDamaged("the head of an outbox segment has a wrong length")
    magic, version, zero, share_id, epoch, start_epoch, sequence, frame_hash = _HEAD.unpack(payload)
    if magic != MAGIC or zero:
        raise OutboxDamaged("a file in the outbox is no segment")
    if version != VERSION:
        raise OutboxDamaged(f"outbox format {version} is newer than this release", remedy="upgrade the agent")
    return SegmentHead(share_id, epoch, Position(start_epoch, sequence, Digest(frame_hash)))


def frame_prefix(noticed_ns: int, frame: bytes) -> bytes:
    """Return what stands before the frame in a frame record."""
    return _FRAME.pack(noticed_ns, len(frame))


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """A frame record's payload, taken apart."""

    noticed_ns: int
    frame: memoryview
    header: FrameHeader
    steps: memoryview


def decode_frame_record(payload: bytes) -> FrameRecord:
    """Take a frame record's payload apart; raise `OutboxDamaged`."""
    view = memoryview(payload)
    if len(view) < _FRAME.size:
        raise OutboxDamaged("a frame in the outbox is shorter than its prefix")
    noticed_ns, frame_bytes = _FRAME.unpack_from(view)
    frame = view[_FRAME.size : _FRAME.size + frame_bytes]
    header = read_header(frame)
    if header.frame_bytes != len(frame):
        raise OutboxDamaged("a frame in the outbox has a wrong length")
    return FrameRecord(noticed_ns, frame, header, view[_FRAME.size + frame_bytes :])
