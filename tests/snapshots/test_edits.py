"""Collecting writes and truncations: as if each had been made at once, and cheap however many come."""

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from snapshots.edits import Edits

writes = st.tuples(st.integers(0, 60), st.binary(min_size=1, max_size=20))
changes = st.lists(st.one_of(writes, st.integers(0, 60), st.none()), max_size=30)


class Naive:
    """A file in memory that remembers which of its bytes are old."""

    def __init__(self, size: int) -> None:
        self.cells: list[int | None] = [None] * size

    def write(self, offset: int, data: bytes) -> None:
        self.cells.extend([0] * (offset - len(self.cells)))
        self.cells[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        del self.cells[size:]
        self.cells.extend([0] * (size - len(self.cells)))


@given(st.integers(0, 50), changes)
def test_collected_edits_are_those_made_one_by_one(size: int, operations: list[tuple[int, bytes] | int | None]) -> None:
    edits, naive = Edits(size), Naive(size)
    for operation in operations:
        if operation is None:
            edits.extents()  # asking changes nothing
        elif isinstance(operation, int):
            edits.truncate(operation)
            naive.truncate(operation)
        else:
            edits.write(*operation)
            naive.write(*operation)
    found: list[int | None] = [None] * min(edits.kept, edits.size) + [0] * (edits.size - edits.kept)
    extents = edits.extents()
    for start, end, data in extents:
        assert end == start + len(data) <= edits.size
        found[start:end] = data
    assert found == naive.cells
    assert all(left[1] < right[0] for left, right in itertools.pairwise(extents))


def test_writes_side_by_side_become_one() -> None:
    edits = Edits(0)
    for number in range(1000):
        edits.write(number * 150, b"%150d" % number)
    (extent,) = edits.extents()
    assert extent == (0, 150_000, b"".join(b"%150d" % number for number in range(1000)))


def test_bytes_that_were_written_over_are_let_go() -> None:
    edits, chance = Edits(0), random.Random(1)
    for _ in range(400_000):
        edits.write(150 * chance.randrange(100), b"y" * 150)
    assert len(edits._writes) < 70_000
    edits.truncate(0)
    assert edits.extents() == []


def test_growing_and_cutting_without_end_is_not_remembered() -> None:
    edits = Edits(0)
    for size in range(1000):
        edits.truncate(size + 5)
        edits.truncate(size)
    assert (edits.size, edits.kept, len(edits._cuts)) == (999, 0, 1)
