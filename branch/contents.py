"""Turning the bytes of an open file into chunks and the reference that names them.

Blocks are read with `read` (never mapped: a file that shrinks would kill the process); long holes are not read. What the
appliance holds already is not handed on. Whether the file stood still meanwhile is for the caller to tell.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import msgspec

from branch.block_sums import WINDOW_BYTES
from branch.pieces import NO_PIECES, OldPieces, encode_pieces
from branch.signature import Earlier, NewSignature, SignatureWriter
from core.digest import ZERO_DIGEST, Digest, digest_of
from staging.changes import Chunk, ContentRef
from staging.chunk_format import PackedChunk
from staging.chunking import BLOCK_BYTES, MIN_CHUNK_BYTES, cut_blocks
from staging.recipe_format import Piece, build_recipe

_ZEROS = bytes(WINDOW_BYTES)
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


@dataclass(frozen=True, slots=True)
class Written:
    """How a content came out of the one before: cut or extended to `size`, then bytes written at places."""

    old_size: int
    size: int
    writes: tuple[tuple[int, bytes], ...]

    @property
    def needs_truncate(self) -> bool:
        """Tell whether the writes alone do not give the size."""
        offset, data = self.writes[-1] if self.writes else (0, b"")
        return self.size != max(self.old_size, offset + len(data))


@dataclass(frozen=True, slots=True)
class ReadContent:
    """A file's content as it was read: its reference, and for the memory its chunks when it has several and its signature.

    With `written` nothing of it was handed on: it is sent as what was written.
    """

    content: ContentRef
    pieces: bytes
    signature: NewSignature | None = None
    written: Written | None = None


def encode_content(content: ContentRef) -> bytes:
    """Return what the memory keeps of a content: empty for the empty one."""
    return _encoder.encode(content) if content is not None else b""


def read_content(
    descriptor: int, found: os.stat_result, sink: ChunkSink, earlier: Earlier, signer: SignatureWriter | None = None
) -> ReadContent:
    """Read a file to its end and hand on its chunks.

    `found` is its state before. The signature is taken of the same bytes.
    """
    if signer is not None:
        signer.begin(found.st_size)
    windows = whole_windows(descriptor, found, sink)
    if found.st_size <= MIN_CHUNK_BYTES:
        first = next(windows, b"")
        if len(first) <= MIN_CHUNK_BYTES:
            return ReadContent(_small(first, sink, earlier.pieces), NO_PIECES)
        windows = chain((first,), windows)  # it has grown
    content, pieces = _cut(_signed(windows, signer), sink, earlier.pieces)
    return ReadContent(content, pieces, signer.finish() if signer is not None else None)


def whole_windows(descriptor: int, found: os.stat_result, sink: ChunkSink) -> Iterator[bytes]:
    """Yield a file's bytes from its beginning in windows of `WINDOW_BYTES`, the last one shorter; of long holes `_ZEROS`.

    Where they begin does not depend on where holes are, or on what a read gives: signatures compare window by window.
    """
    size = found.st_size
    if size <= BLOCK_BYTES and found.st_blocks * _STAT_BLOCK_BYTES >= size:  # no holes: one read is all
        data = os.pread(descriptor, size + 1, 0)
        if len(data) <= size:
            if data:
                yield data
            return
    position = data_start = 0  # (a file that has grown is read like a long one)
    while True:
        sink.check()
        if data_start <= position:
            data_start = _next_data(descriptor, position)
        window = _ZEROS if data_start - position >= WINDOW_BYTES else _read_window(descriptor, position)
        if window:
            yield window
        if len(window) < WINDOW_BYTES:
            return
        position += len(window)


def is_hole(window: bytes) -> bool:
    """Tell whether a window is known to be nothing but zeros."""
    return window is _ZEROS


def _read_window(descriptor: int, position: int) -> bytes:
    window = os.pread(descriptor, WINDOW_BYTES, position)
    while 0 < len(window) < WINDOW_BYTES:
        more = os.pread(descriptor, WINDOW_BYTES - len(window), position + len(window))
        if not more:
            break
        window += more
    return window


def _signed(windows: Iterator[bytes], signer: SignatureWriter | None) -> Iterator[bytes]:
    for window in windows:
        if signer is not None:
            signer.add(window, is_hole(window))
        yield window


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
        elif digest in old.never_put:
            sink.chunk(digest, bytes(run), ZERO_DIGEST)
    content, nodes = build_recipe(pieces, old.pieces if old is not None else ())
    if nodes:
        sink.nodes(nodes)
        return content, encode_pieces(pieces)
    return content, NO_PIECES


def _next_data(descriptor: int, position: int) -> int:
    """Return where data begins at or behind `position`: the file's end behind its last byte of data."""
    try:
        return os.lseek(descriptor, position, os.SEEK_DATA)
    except OSError:  # ENXIO: nothing but a hole up to the end; others: the file system does not tell
        try:
            return max(position, os.lseek(descriptor, 0, os.SEEK_END))
        except OSError:
            return position
