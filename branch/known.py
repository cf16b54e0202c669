"""What the agent remembers of a file, and the steps by which that memory moves on.

A row says how a path looked when its state was sent. The steps of a batch stand in the outbox beside its frame, so that
a crash between the two databases' commits can be made good: steps behind the memory's position are taken again.
"""

from typing import NamedTuple

import msgspec
from msgspec import Struct

UNSETTLED = -1  # a ctime that no file has: the content may have changed after it was read, so it is read again
UNKNOWN_CONTENT = b"\xc0"  # a content that no file has (the empty one is remembered as no bytes): a look sends what it finds
UNKNOWN_ATTRIBUTES = b""  # of a node that may differ from what was sent
WRITTEN_ATTRIBUTES = b"?"  # of a node that is as it was sent, change by change: nothing was read of it


class KnownRow(NamedTuple):
    """One path as it was sent: how it looked, a mark of its attributes, and in `content` the encoded reference of a file,
    the target of a symlink, or a device number.
    """

    folder: bytes
    name: bytes
    kind: int
    inode: int
    links: int
    size: int
    mtime_ns: int
    ctime_ns: int
    attributes: bytes
    content: bytes


class PutRows(Struct, frozen=True, array_like=True, tag=1):
    """Rows new or replaced."""

    rows: list[KnownRow]


class MoveRow(Struct, frozen=True, array_like=True, tag=2):
    """A path renamed, with all below it."""

    folder: bytes
    name: bytes
    new_folder: bytes
    new_name: bytes


class DropRow(Struct, frozen=True, array_like=True, tag=3):
    """A path gone, with all below it."""

    folder: bytes
    name: bytes


class SetMirror(Struct, frozen=True, array_like=True, tag=4):
    """Where the baseline stands: one of the numbers below."""

    state: int


MIRROR_NEEDED, MIRROR_OPEN, MIRROR_DONE = 0, 1, 2

Step = PutRows | MoveRow | DropRow | SetMirror

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Step])


def encode_steps(steps: list[Step]) -> bytes:
    """Return the steps as they stand in the outbox."""
    return _encoder.encode(steps)


def decode_steps(data: bytes | memoryview) -> list[Step]:
    """Return the steps of a record of the outbox."""
    return _decoder.decode(data)
