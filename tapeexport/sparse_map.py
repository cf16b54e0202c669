"""Which parts of a file with holes stand in the archive, and the map that says so (GNU sparse format 1.0).

A stored run begins at a multiple of 4096 and ends at one or at the end of the file: GNU tar pads every run to 512
bytes where other readers do not, so that only runs of whole blocks mean the same to all; and a file system makes no
smaller holes anyway. Zeros that this takes from the edges of a hole are stored.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from snapshots.tree import Extent

BLOCK_BYTES = 4096
_MAP_BLOCK = 512


@dataclass(frozen=True, slots=True)
class SparseMap:
    """The map as it stands in front of the data, and the bytes of data that follow it."""

    encoded: bytes
    data_bytes: int


def stored_runs(extents: Iterable[Extent], size_bytes: int) -> Iterator[Extent]:
    """Yield what is stored of a content, in order; here a digest of None means literal zeros (less than two blocks)."""
    for extent in extents:
        if extent.digest is not None:
            yield extent
            continue
        end = extent.offset + extent.length
        hole_start = -(-extent.offset // BLOCK_BYTES) * BLOCK_BYTES
        hole_end = end if end == size_bytes else end // BLOCK_BYTES * BLOCK_BYTES
        if hole_start >= hole_end:
            yield extent
            continue
        if extent.offset < hole_start:
            yield Extent(extent.offset, hole_start - extent.offset, None)
        if hole_end < end:
            yield Extent(hole_end, end - hole_end, None)


def plan_sparse(extents: Iterable[Extent], size_bytes: int) -> SparseMap | None:
    """Return the map of a content, or None when it has no hole worth one."""
    lines: list[bytes] = []
    start = end = data_bytes = 0
    for run in stored_runs(extents, size_bytes):
        if run.offset != end:
            if end > start:
                lines.append(b"%d\n%d\n" % (start, end - start))
            start = run.offset
        end = run.offset + run.length
        data_bytes += run.length
    if data_bytes == size_bytes:
        return None
    if end > start:
        lines.append(b"%d\n%d\n" % (start, end - start))
    if end < size_bytes:  # GNU tar learns the length of a trailing hole from an empty last run
        lines.append(b"%d\n0\n" % size_bytes)
    encoded = b"%d\n" % len(lines) + b"".join(lines)
    return SparseMap(encoded + bytes(-len(encoded) % _MAP_BLOCK), data_bytes)


def parse_runs(numbers: list[int], size_bytes: int) -> tuple[tuple[int, int], ...]:
    """Check the offsets and lengths of a map against the file's size; raise `ValueError` when they cannot be."""
    runs = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    end = 0
    for offset, length in runs:
        if offset < end or length < 0 or offset + length > size_bytes:
            raise ValueError(f"sparse run {offset}+{length} does not fit into {size_bytes} bytes behind {end}")
        end = offset + length
    if end != size_bytes:  # else a harmed size would make readers count out zeros for hours
        raise ValueError(f"the sparse map ends at {end}, the file at {size_bytes}")
    return runs
