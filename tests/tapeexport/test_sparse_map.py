"""Sparse maps: what is stored, and the rules that GNU tar's reader needs."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from core.digest import Digest
from snapshots.tree import Extent
from tapeexport.sparse_map import BLOCK_BYTES, parse_runs, plan_sparse, stored_runs

DATA = Digest(b"d" * 32)


@st.composite
def layouts(draw: st.DrawFn) -> list[Extent]:
    lengths = draw(st.lists(st.tuples(st.integers(1, 30_000), st.booleans()), max_size=12))
    extents, position = [], 0
    for length, is_hole in lengths:
        extents.append(Extent(position, length, None if is_hole else DATA))
        position += length
    return extents


def size_of(extents: list[Extent]) -> int:
    return extents[-1].offset + extents[-1].length if extents else 0


@given(layouts())
def test_all_data_is_stored_and_nothing_overlaps(extents: list[Extent]) -> None:
    stored = list(stored_runs(extents, size_of(extents)))
    assert [run for run in stored if run.digest] == [extent for extent in extents if extent.digest]
    for before, after in pairwise(stored):
        assert before.offset + before.length <= after.offset
    holes = [extent for extent in extents if not extent.digest]
    for run in stored:
        if run.digest is None:
            assert run.length < 2 * BLOCK_BYTES
            assert any(hole.offset <= run.offset and run.offset + run.length <= hole.offset + hole.length for hole in holes)


@given(layouts())
def test_runs_are_whole_blocks_but_for_the_end_of_the_file(extents: list[Extent]) -> None:
    size = size_of(extents)
    plan = plan_sparse(extents, size)
    if plan is None:
        assert sum(run.length for run in stored_runs(extents, size)) == size
        return
    assert len(plan.encoded) % 512 == 0
    numbers = [int(line) for line in plan.encoded.rstrip(b"\0").split()]
    runs = parse_runs(numbers[1:], size)
    assert numbers[0] == len(runs)
    assert sum(length for _, length in runs) == plan.data_bytes
    for offset, length in runs:
        assert offset % BLOCK_BYTES == 0 or length == 0
        assert length % BLOCK_BYTES == 0 or offset + length == size
    assert runs[-1][0] + runs[-1][1] == size  # GNU tar learns the file's length from the last run


def test_a_file_without_holes_has_no_map() -> None:
    assert plan_sparse([Extent(0, 100_000, DATA)], 100_000) is None
    assert plan_sparse([], 0) is None


def test_holes_without_a_whole_block_are_stored() -> None:
    assert plan_sparse([Extent(0, 100, DATA), Extent(100, 8000, None), Extent(8100, 9, DATA)], 8109) is None
