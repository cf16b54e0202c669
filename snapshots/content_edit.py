"""Editing a content: writes and truncations against chunks, re-cutting only what they touch.

The result has the cuts that cutting the whole new content would give: re-cutting starts at the first touched chunk (and
before it where a hole or the end of the file had ended a chunk) and goes on until a cut falls on an old boundary.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator

from core.digest import ZERO_DIGEST, Digest
from staging.changes import ContentRef
from staging.chunk_format import ChunkKind, PackedChunk, address_of, pack_chunk
from staging.chunking import cut_blocks
from staging.recipe_format import Piece, build_recipe, read_pieces

Fetch = Callable[[Digest], bytes | memoryview]


class Edits:
    """Writes and truncations of one file, later ones over earlier ones, before they are applied."""

    def __init__(self, size: int) -> None:
        """Begin with a content of `size` bytes."""
        self.size = size
        self.kept = size  # old bytes from here on are gone
        self._starts: list[int] = []
        self._data: list[bytes | memoryview] = []
        self.sequence = 0

    def write(self, offset: int, data: bytes) -> None:
        """Lay `data` over what is there."""
        self._cut_out(offset, offset + len(data))
        place = bisect_left(self._starts, offset)
        self._starts.insert(place, offset)
        self._data.insert(place, data)
        self.size = max(self.size, offset + len(data))

    def truncate(self, size: int) -> None:
        """Cut or extend to `size`; what is extended reads as zeros."""
        if size < self.size:
            self._cut_out(size, self.size)
            self.kept = min(self.kept, size)
        self.size = size

    def extents(self) -> list[tuple[int, int, bytes | memoryview]]:
        """Return (start, end, data), sorted, without overlaps."""
        return [(start, start + len(data), data) for start, data in zip(self._starts, self._data, strict=True)]

    def _cut_out(self, start: int, end: int) -> None:
        first = bisect_right(self._starts, start)
        if first and self._starts[first - 1] + len(self._data[first - 1]) > start:
            first -= 1
        last = bisect_left(self._starts, end)
        starts: list[int] = []
        data: list[bytes | memoryview] = []
        for old_start, old in zip(self._starts[first:last], self._data[first:last], strict=True):
            view = memoryview(old)
            if old_start < start:
                starts.append(old_start)
                data.append(view[: start - old_start])
            if old_start + len(view) > end:
                starts.append(end)
                data.append(view[end - old_start :])
        self._starts[first:last], self._data[first:last] = starts, data


def apply_edits(content: ContentRef, edits: Edits, fetch_data: Fetch, fetch_node: Fetch) -> tuple[ContentRef, list[PackedChunk]]:
    """Return the edited content and the chunks and nodes to keep (chunks first)."""
    old = list(read_pieces(content, fetch_node))
    editor = _Editor(old, edits, fetch_data)
    pieces = list(editor.pieces())
    edited, nodes = build_recipe(_joined_holes(pieces), old)
    return edited, [*editor.chunks, *nodes]


class _Editor:
    """One pass over the old pieces and the extents."""

    def __init__(self, old: list[Piece], edits: Edits, fetch_data: Fetch) -> None:
        self.chunks: list[PackedChunk] = []
        self._old, self._edits, self._fetch = old, edits, fetch_data
        self._starts: list[int] = []
        position = 0
        for piece in old:
            self._starts.append(position)
            position += piece.length
        self._old_size = position
        self._boundaries = frozenset(self._starts)
        self._extents = edits.extents()
        self._extent_starts = [start for start, _, _ in self._extents]
        self._dirty = self._dirty_ranges()

    def pieces(self) -> Iterator[Piece]:
        """Yield the new content's pieces."""
        index, position = 0, 0
        for start, end in self._dirty:
            if end <= position and position < self._edits.size:
                continue
            first = max(self._first_touched(start), index)
            yield from self._old[index:first]
            position = max(position, self._start_of(first)) if first > index else position
            for piece, behind in self._recut(position, end):
                position = behind
                yield piece
            if position >= self._edits.size:
                return
            index = bisect_left(self._starts, position)
        yield from self._old[index:]

    def _recut(self, start: int, end: int) -> Iterator[tuple[Piece, int]]:
        """Cut from `start` until a cut meets an old boundary behind every dirty byte; yield (piece, position behind)."""
        position = start
        for run in cut_blocks(self._blocks(start)):
            if isinstance(run, int):
                piece = Piece(run, ZERO_DIGEST)
            else:
                address = address_of(ChunkKind.DATA, run)
                self.chunks.append(pack_chunk(ChunkKind.DATA, bytes(run), address, self._digest_at(position)))
                piece = Piece(len(run), address)
            position += piece.length
            yield piece, position
            if position >= end and self._may_stop(position):
                further = self._next_dirty_end(position)
                if further is None:
                    return
                end = further

    def _digest_at(self, position: int) -> Digest:
        """Return the old chunk at a place; zeros for a hole or behind the end."""
        index = bisect_right(self._starts, position) - 1
        return self._old[index].digest if index >= 0 and position < self._old_size else ZERO_DIGEST

    def _may_stop(self, position: int) -> bool:
        if position not in self._boundaries or position >= self._edits.kept:
            return False
        index = bisect_left(self._starts, position)
        before_is_hole = index > 0 and self._old[index - 1].is_hole
        return not self._old[index].is_hole and not before_is_hole

    def _next_dirty_end(self, position: int) -> int | None:
        """Return the end of a dirty range that touches the piece at `position`, None when that piece is clean."""
        index = bisect_left(self._starts, position)
        piece_end = position + self._old[index].length
        for start, end in self._dirty:
            touches = start < piece_end or (start == piece_end and self._ended_early(index))
            if end > position and touches:
                return end
        return None

    def _ended_early(self, index: int) -> bool:
        """Tell whether an old piece ended because of a hole or the end of the file, not by a cut."""
        return index + 1 >= len(self._old) or self._old[index + 1].is_hole

    def _first_touched(self, start: int) -> int:
        index = max(bisect_right(self._starts, start) - 1, 0)
        if index < len(self._old) and start == self._start_of(index) and index and self._ended_early(index - 1):
            index -= 1
        while index and (self._old[index].is_hole or self._old[index - 1].is_hole):
            index -= 1
        return index

    def _start_of(self, index: int) -> int:
        return self._starts[index] if index < len(self._starts) else self._old_size

    def _dirty_ranges(self) -> list[tuple[int, int]]:
        ranges = [(start, end) for start, end, _ in self._extents]
        if self._edits.kept < self._old_size or self._edits.size != self._old_size:
            ranges.append((min(self._edits.kept, self._edits.size), max(self._edits.size, self._edits.kept)))
        merged: list[tuple[int, int]] = []
        for start, end in sorted(ranges):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return merged

    def _blocks(self, start: int) -> Iterator[bytes | int]:
        """Yield the new content's bytes from `start`, piece by piece; where nothing was written in a hole, its length."""
        index = bisect_right(self._starts, start) - 1 if self._starts else 0
        position, size = start, self._edits.size
        while position < size:
            piece_start = self._start_of(index)
            old = self._old[index] if 0 <= index < len(self._old) and piece_start < self._edits.kept else None
            end = size if old is None else min(piece_start + old.length, size)
            if old is None or old.is_hole:
                length = self._untouched(position, end)
                if length:
                    yield length
                    position += length
                else:
                    block_end = min(end, position + _ZEROS_BYTES)
                    yield self._laid_over(bytearray(block_end - position), position, block_end)
                    position = block_end
            else:
                base = bytearray(self._fetch(old.digest)[position - piece_start : end - piece_start])
                kept = max(self._edits.kept - position, 0)
                base[kept:] = bytes(max(len(base) - kept, 0))
                yield self._laid_over(base, position, end)
                position = end
            if old is not None and position >= piece_start + old.length:
                index += 1

    def _untouched(self, start: int, end: int) -> int:
        """Return how many bytes from `start` on no extent covers."""
        place = bisect_right(self._extent_starts, start)
        if place and self._extents[place - 1][1] > start:
            return 0
        following = self._extent_starts[place] if place < len(self._extent_starts) else end
        return min(following, end) - start

    def _laid_over(self, base: bytearray, start: int, end: int) -> bytes:
        """Return the bytes with the extents between `start` and `end` laid over them."""
        first = max(bisect_right(self._extent_starts, start) - 1, 0)
        for extent_start, extent_end, data in self._extents[first:]:
            if extent_start >= end:
                break
            if extent_end > start:
                low, high = max(extent_start, start), min(extent_end, end)
                base[low - start : high - start] = memoryview(data)[low - extent_start : high - extent_start]
        return bytes(base)


_ZEROS_BYTES = 4 * 1024 * 1024


def _joined_holes(pieces: list[Piece]) -> Iterator[Piece]:
    hole = 0
    for piece in pieces:
        if piece.is_hole:
            hole += piece.length
            continue
        if hole:
            yield Piece(hole, ZERO_DIGEST)
            hole = 0
        yield piece
    if hole:
        yield Piece(hole, ZERO_DIGEST)
