"""Editing a content: writes and truncations against chunks, cutting anew only what they touch.

The result has the cuts that cutting the whole new content would give: cutting starts at the first touched chunk (and before
it where a hole, the end of the file or a zero run had ended a chunk) and goes on until a cut falls on an old boundary.
What is read and kept in memory depends on what was written, not on the length of the file.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator

from core.digest import ZERO_DIGEST, Digest
from snapshots.edits import Edits
from snapshots.recipe_edit import Splice, edit_recipe
from snapshots.recipe_tree import RecipeTree
from staging.changes import ContentRef
from staging.chunk_format import ChunkKind, PackedChunk, address_of, pack_chunk
from staging.chunking import BLOCK_BYTES, MIN_CHUNK_BYTES, MIN_HOLE_BYTES, cut_blocks
from staging.recipe_format import RULE, CutRule, Piece

Fetch = Callable[[Digest], bytes | memoryview]

_LOOKED_AT = 2  # the cutter takes two bytes at a time: a cut depends on the byte behind it, and on there being two


def edit_content(
    content: ContentRef,
    edits: Edits,
    fetch_data: Fetch,
    fetch_node: Fetch,
    keep: Callable[[PackedChunk], None],
    rule: CutRule = RULE,
) -> ContentRef:
    """Return the edited content, having given to `keep` what is new in it: chunks, then nodes, lower levels first."""
    old = RecipeTree(content, fetch_node)
    splices = _ChunkEdit(old, edits, fetch_data, keep).splices()
    return edit_recipe(old, splices, keep, rule) if splices else content


class _ChunkEdit:
    """Cuts the chunks of a content anew around the bytes that were written."""

    def __init__(self, old: RecipeTree, edits: Edits, fetch: Fetch, keep: Callable[[PackedChunk], None]) -> None:
        self._old, self._fetch, self._keep = old, fetch, keep
        self._size, self._kept = edits.size, min(edits.kept, old.size)
        self._extents = edits.extents()
        self._extent_starts = [start for start, _, _ in self._extents]
        self._dirty = self._dirty_ranges()
        self._next_dirty = 0
        self._restart = (-1, 0)  # (number of a dirty range, where cutting for it starts)
        self._last: tuple[Digest, bytes | memoryview] = (ZERO_DIGEST, b"")  # the chunk fetched last
        self._read: set[Digest] = set()

    def splices(self) -> list[Splice]:
        """Return how the pieces change."""
        found = []
        while self._next_dirty < len(self._dirty):
            found.append(self._recut(self._restart_of(self._next_dirty)))
        return found

    def _recut(self, start: int) -> Splice:
        """Cut from `start` until a cut meets an old boundary behind every dirty byte."""
        pieces = []
        position = start
        for run in cut_blocks(self._blocks(start), MIN_CHUNK_BYTES):
            pieces.append(self._piece(run, position))
            position += pieces[-1].length
            while self._next_dirty < len(self._dirty) and self._dirty[self._next_dirty][1] <= position:
                self._next_dirty += 1
            if self._is_in_step(position):
                return Splice(start, position, pieces)
        self._next_dirty = len(self._dirty)
        return Splice(start, None, pieces)

    def _piece(self, run: bytes | memoryview | int, position: int) -> Piece:
        if isinstance(run, int):
            return Piece(run, ZERO_DIGEST)
        address = address_of(ChunkKind.DATA, run)
        replaced = self._old.entry_at(0, position)[1].digest if position < self._old.size else ZERO_DIGEST
        if address not in self._read:  # what was read just now is in the store, and sound
            self._keep(pack_chunk(ChunkKind.DATA, bytes(run), address, replaced if replaced != address else ZERO_DIGEST))
        return Piece(len(run), address)

    def _is_in_step(self, position: int) -> bool:
        """Tell whether from here on, where a new piece has ended, pieces are as they were up to the next dirty range."""
        if position >= self._kept or not self._old.starts_at(0, position):
            return False
        if self._next_dirty == len(self._dirty):
            return True
        return self._dirty[self._next_dirty][0] >= position and self._restart_of(self._next_dirty) >= position

    # -- where to start -------------------------------------------------------------------------------------------

    def _restart_of(self, number: int) -> int:
        if self._restart[0] != number:
            self._restart = (number, self._first_touched(self._dirty[number][0]))
        return self._restart[1]

    def _first_touched(self, dirty: int) -> int:
        """Return the last old boundary up to which a change from `dirty` on moves no cut."""
        if dirty < self._old.size:
            start, piece = self._old.entry_at(0, dirty)
            if piece.is_hole and (not start or dirty - start >= MIN_HOLE_BYTES):
                return start  # its beginning stays a hole; otherwise what is written belongs to the chunk before it
            if dirty < start + _LOOKED_AT or piece.is_hole:
                start = self._start_before(start)
        else:  # the last piece was ended by the end of the file
            start = self._start_before(dirty)
        return start if self._begins_with_data(dirty) else self._start_of_zeros(start, dirty)

    def _start_before(self, position: int) -> int:
        return self._old.entry_at(0, position - 1)[0] if position else 0

    def _start_of_zeros(self, start: int, end: int) -> int:
        """Go back while there are but zeros from a cut up to `end`: with zeros behind it they may become a hole."""
        while start and end - start < MIN_HOLE_BYTES + _LOOKED_AT and self._is_zero(start + _LOOKED_AT - 1, end):
            start = self._start_before(start)
        return start

    def _begins_with_data(self, position: int) -> bool:
        place = bisect_right(self._extent_starts, position) - 1
        return place >= 0 and self._extents[place][0] == position and self._extents[place][2][0] != 0

    def _is_zero(self, start: int, end: int) -> bool:
        """Tell whether all old bytes between two places are zero."""
        for piece_start, piece in self._old.entries_from(0, start):
            if piece_start >= end:
                break
            if not piece.is_hole and any(self._fetched(piece.digest)[max(start - piece_start, 0) : end - piece_start]):
                return False
        return True

    # -- the new bytes --------------------------------------------------------------------------------------------

    def _blocks(self, start: int) -> Iterator[bytes | int]:
        """Yield the new content's bytes from `start`, piece by piece; where nothing was written in a hole, its length."""
        for piece_start, piece in self._old.entries_from(0, start):
            if piece_start >= self._kept:
                break
            end = min(piece_start + piece.length, self._kept)
            if piece.is_hole:
                yield from self._over_zeros(start, end)
            elif self._covered(start, end) == end - start:
                yield self._laid_over(bytearray(end - start), start, end)
            else:
                base = bytearray(self._fetched(piece.digest)[start - piece_start : end - piece_start])
                yield self._laid_over(base, start, end)
            start = end
        yield from self._over_zeros(start, self._size)

    def _over_zeros(self, start: int, end: int) -> Iterator[bytes | int]:
        while start < end:
            written = min(self._covered(start, end), BLOCK_BYTES)
            if written:
                yield self._laid_over(bytearray(written), start, start + written)
                start += written
            else:
                place = bisect_right(self._extent_starts, start)
                following = min(self._extent_starts[place], end) if place < len(self._extents) else end
                yield following - start
                start = following

    def _covered(self, start: int, end: int) -> int:
        """Return how many bytes from `start` on were written (extents do not touch each other)."""
        place = bisect_right(self._extent_starts, start) - 1
        return max(min(self._extents[place][1], end) - start, 0) if place >= 0 else 0

    def _laid_over(self, base: bytearray, start: int, end: int) -> bytes:
        """Return the bytes with the extents between `start` and `end` laid over them."""
        for place in range(max(bisect_right(self._extent_starts, start) - 1, 0), len(self._extents)):
            extent_start, extent_end, data = self._extents[place]
            if extent_start >= end:
                break
            if extent_end > start:
                low, high = max(extent_start, start), min(extent_end, end)
                base[low - start : high - start] = memoryview(data)[low - extent_start : high - extent_start]
        return bytes(base)

    def _fetched(self, digest: Digest) -> bytes | memoryview:
        if self._last[0] != digest:
            self._last = (digest, self._fetch(digest))
            self._read.add(digest)
        return self._last[1]

    def _dirty_ranges(self) -> list[tuple[int, int]]:
        """Return what may differ from the old content: sorted, neither overlapping nor touching."""
        ranges = [(start, end) for start, end, _ in self._extents]
        if self._kept < self._old.size or self._size != self._old.size:
            ranges.append((min(self._kept, self._size), self._size))
        merged: list[tuple[int, int]] = []
        for start, end in sorted(ranges):
            if merged and start <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        return merged
