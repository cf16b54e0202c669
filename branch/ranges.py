"""Reading a changed file as the ranges that differ from the content sent before, found by its signature.

Nothing is handed on while it is read: either the few bytes that changed are returned, as writes, or None, and the caller sends
the file by chunks. The chunks are cut all the same: they tell what the content is called, what sending by chunks would take,
and whether the signature can be right. Where no block differs, no chunk may.
"""

from collections.abc import Iterator

from branch.block_sums import SIGNED_BYTES, SUM_BYTES, WINDOW_BYTES, differing
from branch.contents import ReadContent, Written, encode_content
from branch.pieces import OldPieces, encode_pieces
from branch.signature import Earlier, NewSignature, Patch, Signature, Signing
from core.digest import ZERO_DIGEST, Digest, digest_of
from staging.changes import MAX_WRITE_BYTES
from staging.chunking import cut_blocks
from staging.recipe_format import Piece, build_nodes

MAX_RANGE_BYTES = 4 * 1024 * 1024  # the writes of one file stand in one frame, so that no moment sees half of them
_MAX_PATCHED_BYTES = 1024 * 1024  # of sums held in memory until the ranges are recorded
_WORTH = 2  # chunks are shared with other files and packed well: ranges must take at most this part of them
_LOOKED_AT = 2  # a cut may depend on the two bytes behind it


class TooManyChanges(Exception):
    """More has changed than is sent as ranges."""


def read_ranges(windows: Iterator[bytes], earlier: Earlier, signing: Signing) -> ReadContent | None:
    """Read a file to its end as ranges; return None when they are too many, or the signature cannot be right."""
    if earlier.signature is None:
        return None
    found = _Ranges(earlier.signature, signing)
    old = OldPieces(earlier.pieces)
    pieces: list[Piece] = []
    try:
        for run in cut_blocks(found.watch(windows)):
            pieces.append(Piece(run, ZERO_DIGEST) if isinstance(run, int) else Piece(len(run), digest_of(run)))
    except TooManyChanges:
        return None
    new = {piece.digest for piece in pieces if not piece.is_hole and piece.digest not in old}
    new_bytes = sum(piece.length for piece in pieces if piece.digest in new)
    content = build_nodes(pieces, lambda node: None)
    is_same = found.size == earlier.signature.size and not found.ranges
    if (
        found.size <= SIGNED_BYTES
        or found.bytes * _WORTH > new_bytes
        or (is_same and encode_content(content) != earlier.content)
        or not _explains(found, pieces, new)
    ):
        return None
    written = Written(earlier.signature.size, found.size, tuple(found.writes()))
    return ReadContent(content, encode_pieces(pieces, new | old.never_put), found.signature(), written)


class _Ranges:
    """The ranges of a content that differ from what was signed, as its windows go by."""

    def __init__(self, old: Signature, signing: Signing) -> None:
        self._old, self._pages, self._sums = old, signing.pages, signing.sums
        self.ranges: list[tuple[int, int]] = []  # sorted, neither overlapping nor touching
        self._parts: list[list[bytes]] = []  # the bytes of each
        self._patches: list[Patch] = []
        self._patched_bytes = 0
        self.size = self.bytes = 0

    @property
    def old_size(self) -> int:
        """Return how long the content before was."""
        return self._old.size

    def watch(self, windows: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the same windows, having compared each; raise `TooManyChanges`."""
        for window in windows:
            self._compare(self.size // WINDOW_BYTES, window)
            yield window
            self.size += len(window)

    def writes(self) -> Iterator[tuple[int, bytes]]:
        """Yield (offset, bytes) of the ranges, in parts that a write may have."""
        for (start, _), parts in zip(self.ranges, self._parts, strict=True):
            data = b"".join(parts)
            for offset in range(0, len(data), MAX_WRITE_BYTES):
                yield start + offset, data[offset : offset + MAX_WRITE_BYTES]

    def signature(self) -> NewSignature:
        """Return the signature of the new content: the old one's pages, patched."""
        return NewSignature(Signature(self._old.number, self.size, self._old.block_bytes), tuple(self._patches))

    def _compare(self, page: int, window: bytes) -> None:
        old, block_bytes = self._old, self._old.block_bytes
        before = self._pages.page(old.number, page)[: old.page_bytes(page)]
        if len(before) != old.page_bytes(page):
            raise TooManyChanges  # a page is missing: nothing can be told
        now = self._sums.of(window, block_bytes)
        if before == now:
            return
        spots: list[tuple[int, bytes]] = []
        for number in differing(before, now):
            place = number * SUM_BYTES
            spots.append((place, now[place : place + SUM_BYTES]))
            start = number * block_bytes
            self._note(page * WINDOW_BYTES, start, window, before[place : place + SUM_BYTES])
        self._patched_bytes += SUM_BYTES * len(spots)
        if self._patched_bytes > _MAX_PATCHED_BYTES:
            raise TooManyChanges
        self._patches.append((page, len(now), spots))

    def _note(self, base: int, start: int, window: bytes, sum_before: bytes) -> None:
        """Note a block whose sum differs: what lay behind the old end reads as zeros there once the file is extended."""
        end = min(start + self._old.block_bytes, len(window))
        old_end = self._old.size - base
        if start < old_end < end and self._sums.one(memoryview(window)[start:old_end]) == sum_before:
            start = old_end  # only appended to
        data = window[start:end]
        if (start >= old_end and not data.strip(b"\0")) or not data:
            return
        if self.ranges and self.ranges[-1][1] == base + start:
            self.ranges[-1] = (self.ranges[-1][0], base + end)
            self._parts[-1].append(data)
        else:
            self.ranges.append((base + start, base + end))
            self._parts.append([data])
        self.bytes += len(data)
        if self.bytes > MAX_RANGE_BYTES:
            raise TooManyChanges


def _explains(found: _Ranges, pieces: list[Piece], new: set[Digest]) -> bool:
    """Tell whether each run of new chunks holds a range, or an end of the file: chunks change nowhere else.

    If not, a sum did not tell two blocks apart, or the signature is not that of the content.
    """
    ranges = found.ranges
    if found.size != found.old_size:
        ranges = sorted([*ranges, (min(found.size, found.old_size), max(found.size, found.old_size))])
    place = position = run_start = 0
    is_new = False
    for piece in [*pieces, Piece(0, ZERO_DIGEST)]:
        if piece.length and (piece.is_hole or piece.digest in new):
            is_new = is_new or not piece.is_hole
            position += piece.length
            continue
        if is_new:
            while place < len(ranges) and ranges[place][1] < run_start:
                place += 1
            if place == len(ranges) or ranges[place][0] >= position + _LOOKED_AT:
                return False
        position += piece.length
        run_start, is_new = position, False
    return True
