"""Turning the bytes of an open file into chunks and the reference that names them.

Blocks are read with `read` (never mapped: a file that shrinks would kill the process); holes are not read. What the
appliance holds already is not handed on. Whether the file stood still meanwhile is for the caller to tell.
"""

import os
from collections.abc import Iterable, Iterator
from typing import Protocol

import msgspec

from branch.pieces import NO_PIECES, OldPieces, encode_pieces
from core.digest import ZERO_DIGEST, Digest, digest_of
from staging.changes import Chunk, ContentRef
from staging.chunk_format import PackedChunk
from staging.chunking import BLOCK_BYTES, MIN_CHUNK_BYTES, cut_blocks
from staging.recipe_format import Piece, build_recipe

_ZEROS = bytes(BLOCK_BYTES)
_STAT_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own
_encoder = msgspec.msgpack.Encoder()


class ChunkSink(Protocol):
    """Takes the contents of files on their way to the appliance."""

    def chunk(self, digest: Digest, data: bytes | memoryview, replaces: Digest) -> None:
        """Take a chunk, which may be held already; `replaces` is the one it stands in for."""

    def nodes(self, nodes: list[PackedChunk]) -> None:
        """Take the nodes of a recipe, lower levels first; they are put behind all chunks taken so far."""

    def check(self) -> None:
        """Raise when the work is to end."""


def encode_content(content: ContentRef) -> bytes:
    """Return what the memory keeps of a content: empty for the empty one."""
    return _encoder.encode(content) if content is not None else b""


def read_content(descriptor: int, found: os.stat_result, sink: ChunkSink, old: bytes) -> tuple[ContentRef, bytes]:
    """Read a file to its end and return (its content, its list of chunks when it has several).

    `found` is its state before; `old` lists the chunks of its last content.
    """
    size = found.st_size
    if size <= BLOCK_BYTES and found.st_blocks * _STAT_BLOCK_BYTES >= size:  # no holes: one read is all
        data = os.read(descriptor, size + 1)
        if len(data) <= MIN_CHUNK_BYTES:
            return _small(data, sink, old), NO_PIECES
        if len(data) <= size:
            return _cut((data,), sink, old)
        os.lseek(descriptor, 0, os.SEEK_SET)  # it has grown
    return _cut(_blocks(descriptor, sink), sink, old)


def _small(data: bytes, sink: ChunkSink, old: bytes) -> ContentRef:
    if not data:
        return None
    digest = digest_of(data)
    sink.chunk(digest, data, OldPieces(old).replaced() if old else ZERO_DIGEST)
    return Chunk(digest, len(data))


def _cut(blocks: Iterable[bytes], sink: ChunkSink, old_list: bytes) -> tuple[ContentRef, bytes]:
    old = OldPieces(old_list) if old_list else None
    pieces: list[Piece] = []
    for run in cut_blocks(blocks):
        if isinstance(run, int):
            pieces.append(Piece(run, ZERO_DIGEST))
            continue
        digest = digest_of(run)
        pieces.append(Piece(len(run), digest))
        if old is None:
            sink.chunk(digest, run, ZERO_DIGEST)
        elif not old.holds(digest):
            sink.chunk(digest, bytes(run), old.replaced())  # copied: a view would keep its whole block in memory
    content, nodes = build_recipe(pieces, old.pieces if old is not None else ())
    if nodes:
        sink.nodes(nodes)
        return content, encode_pieces(pieces)
    return content, NO_PIECES


def _blocks(descriptor: int, sink: ChunkSink) -> Iterator[bytes]:
    """Yield a file's bytes in blocks, zeros for its holes, up to its end as it is when it is reached."""
    position = 0
    while True:
        sink.check()
        data_start = _next_data(descriptor, position)
        while position < data_start:
            length = min(data_start - position, BLOCK_BYTES)
            yield _ZEROS[:length] if length < BLOCK_BYTES else _ZEROS
            position += length
        block = os.pread(descriptor, BLOCK_BYTES, position)
        if not block:
            return
        yield block
        position += len(block)


def _next_data(descriptor: int, position: int) -> int:
    """Return where data begins at or behind `position`: the file's end behind its last byte of data."""
    try:
        return os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError:  # ENXIO: nothing but a hole up to the end; others: the file system does not tell
        try:
            return max(position, os.lseek(descriptor, 0, os.SEEK_END))
        except OSError:
            return position
