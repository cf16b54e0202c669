"""Seals: what a share's catalogue holds, as content in the store (docs/formats/seal.md).

A seal is a head, a chunk of its own kind, and a body, an ordinary content: JSON lines, one row of the catalogue each. A full
seal holds every row as of its sequence; another one holds what came to be and what was closed since the seal before it.
"""

from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from core.digest import Digest
from core.errors import Damaged
from staging.changes import Chunk, ContentRef, DigestBytes
from staging.chunk_format import ChunkKind

MAGIC = b"SKS1"
VERSION = 1


class SealDamaged(Damaged):
    """A seal cannot be read, or does not fit its place in the chain."""


class SealHead(Struct, frozen=True, array_like=True):
    """What a seal is about. `since` is the sequence of the seal before it, 0 for a full one."""

    version: int
    share_id: Annotated[bytes, Meta(min_length=16, max_length=16)]
    share: str
    sequence: int
    since: int
    previous: DigestBytes | None
    epoch: int
    frame_hash: DigestBytes
    body: ContentRef
    rows: int
    next_node: int
    files: int
    logical_bytes: str
    mirroring: int
    mirrored: int
    problem: str
    last_control: int
    last_snapshot: int
    sealed_ns: int
    met_snapshot: int = 0

    @property
    def full(self) -> bool:
        """Tell whether this seal needs none before it."""
        return self.since == 0

    @property
    def body_key(self) -> tuple[ChunkKind, Digest] | None:
        """Return what names the body in the store; None when it is empty."""
        if self.body is None:
            return None
        return ChunkKind.DATA if isinstance(self.body, Chunk) else ChunkKind.NODE, Digest(self.body.digest)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(SealHead)
_lines = msgspec.json.Encoder()
_row: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[Any])


def encode_head(head: SealHead) -> bytes:
    """Return a head's bytes."""
    return MAGIC + _encoder.encode(head)


def decode_head(data: bytes | memoryview) -> SealHead:
    """Read a head; raise `SealDamaged`."""
    view = memoryview(data)
    if view[:4] != MAGIC:
        raise SealDamaged("bytes that should be a seal are none")
    try:
        head = _decoder.decode(view[4:])
    except msgspec.MsgspecError as error:
        raise SealDamaged(f"a seal cannot be read: {error}") from error
    if head.version != VERSION:
        raise SealDamaged(f"a seal has format {head.version}, newer than this release", remedy="upgrade the appliance")
    return head


def encode_rows(rows: Iterable[tuple[Any, ...]]) -> bytes:
    """Return rows as lines; bytes among their values become base64."""
    return _lines.encode_lines(rows)


def decode_rows(lines: bytes) -> list[list[Any]]:
    """Return the rows of whole lines; raise `SealDamaged`."""
    try:
        return _row.decode_lines(lines)
    except msgspec.MsgspecError as error:
        raise SealDamaged(f"a seal's row cannot be read: {error}") from error
