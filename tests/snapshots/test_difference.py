"""Differences of two moments: equal to a naive comparison for random histories, and read in proportion to what changed."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.digest import ZERO_DIGEST, Digest, digest_of
from snapshots.content_difference import different_bytes
from snapshots.difference import START, Cursor, Difference, differences
from snapshots.difference_db import DifferenceReader
from staging.changes import Attributes, Barrier, Change, Content, Create, Kind, Link, Rename, SetAttributes, Unlink, Write
from staging.chunk_format import PackedChunk, unpack_chunk
from staging.recipe_format import Piece, build_recipe
from tests.share_rig import ShareRig, listing
from tests.snapshots.fold_machine import FoldMachine
from tests.snapshots.naive_difference import naive_differences, unexplained

PLAIN = Attributes(0o644, 0, 0, 7)
OTHER = Attributes(0o600, 0, 0, 8)
Row = tuple[str, bytes | None, bytes | None]


def all_of(rig: ShareRig, before: int, after: int, cursor: Cursor = START) -> list[Difference]:
    return [found for _, found in differences(rig.reader.query, rig.store.node, before, after, cursor)]


def rows_of(found: list[Difference]) -> list[Row]:
    return [(row.what, row.before, row.after) for row in found]


def backwards(row: Row) -> Row:
    return {"added": "removed", "removed": "added"}.get(row[0], row[0]), row[2], row[1]


class DifferenceMachine(FoldMachine):
    """Drives a share through random changes and compares every pair of its moments."""

    def compare(self) -> None:
        super().compare()
        sequences = [*sorted(self.taken), self.rig.fold.sequence]
        for before in sequences:
            for after in [sequence for sequence in sequences if sequence >= before]:
                self.compare_two(before, after)

    def compare_two(self, before: int, after: int) -> None:
        old, new = self.rig.reader.view(before), self.rig.reader.view(after)
        found = all_of(self.rig, before, after)
        rows = rows_of(found)
        assert sorted(rows, key=repr) == sorted(naive_differences(old, new), key=repr)
        assert unexplained(found, listing(old), listing(new)) == set()
        assert sorted(map(backwards, rows_of(all_of(self.rig, after, before))), key=repr) == sorted(rows, key=repr)


DifferenceMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestDifferencesAgainstNaiveOnes = DifferenceMachine.TestCase


TREE = [b"a", b"b", b"a/a", b"a/b", b"b/a", b"b/b", b"a/a/a", b"a/a/b"]
places = st.integers(0, len(TREE) - 1)
mostly_fitting = st.one_of(
    st.builds(Create, places, st.sampled_from([Kind.FILE, Kind.FOLDER, Kind.FOLDER]), st.just(PLAIN)),
    st.builds(Rename, places, places, st.booleans()),
    st.builds(Unlink, places),
    st.builds(Link, places, places),
    st.builds(Write, places, st.just(0), st.sampled_from([b"x", b"yy"])),
    st.builds(SetAttributes, places, st.sampled_from([PLAIN, OTHER])),
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(mostly_fitting, max_size=15), st.lists(mostly_fitting, max_size=12))
def test_renamed_remade_linked_and_replaced_names_are_told_as_a_naive_comparison_tells_them(
    first: list[Change], then: list[Change]
) -> None:
    folders: list[Change] = [Create(number, Kind.FOLDER, PLAIN) for number in (0, 1, 2)]
    files: list[Change] = [Create(number, Kind.FILE, PLAIN) for number in (3, 4, 5, 6, 7)]
    with tempfile.TemporaryDirectory() as folder:
        rig = ShareRig(Path(folder))
        found = changed(rig, TREE, [*folders, *files, *first], then or [Barrier("")])
        early, late = (row.sequence for row in rig.reader.ledger.snapshots() if row.trigger == "command")
        old, new = rig.reader.view(early), rig.reader.view(late)
        assert sorted(rows_of(found), key=repr) == sorted(naive_differences(old, new), key=repr)
        assert unexplained(found, listing(old), listing(new)) == set()
        assert sorted(map(backwards, rows_of(all_of(rig, late, early))), key=repr) == sorted(rows_of(found), key=repr)
        rig.close()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ShareRig]:
    made = ShareRig(tmp_path)
    yield made
    made.close()


def changed(rig: ShareRig, paths: list[bytes], first: list[Change], then: list[Change]) -> list[Difference]:
    """Return what the changes `then` made of the tree that `first` made."""
    rig.send(paths, first)
    before = rig.snapshot()
    rig.send(paths, then)
    after = rig.snapshot()
    rig.fold.fold_all()
    return all_of(rig, before.sequence, after.sequence)


def test_a_renamed_folder_is_one_difference_whatever_is_in_it(rig: ShareRig) -> None:
    paths = [b"d", b"e", *(b"d/%d" % number for number in range(50))]
    first: list[Change] = [Create(0, Kind.FOLDER, PLAIN), *(Create(number, Kind.FILE, PLAIN) for number in range(2, 52))]
    assert rows_of(changed(rig, paths, first, [Rename(0, 1)])) == [("renamed", b"d", b"e")]


def test_a_file_written_beside_and_renamed_over_is_changed(rig: ShareRig) -> None:
    old, new = rig.put(b"old"), rig.put(b"newer")
    then: list[Change] = [Create(1, Kind.FILE, PLAIN, new), Rename(1, 0)]
    (found,) = changed(rig, [b"a", b"a~"], [Create(0, Kind.FILE, PLAIN, old)], then)
    assert found == Difference("changed", Kind.FILE, b"a", b"a", 3, 5, 5)  # type: ignore[arg-type]


def test_a_folder_made_anew_is_compared_name_by_name(rig: ShareRig) -> None:
    data = rig.put(b"data")
    paths = [b"d", b"d/same", b"d/gone", b"d/new"]
    first: list[Change] = [Create(0, Kind.FOLDER, PLAIN), *(Create(number, Kind.FILE, PLAIN, data) for number in (1, 2))]
    then: list[Change] = [
        Unlink(0),
        Create(0, Kind.FOLDER, OTHER),
        *(Create(number, Kind.FILE, PLAIN, data) for number in (1, 3)),
    ]
    assert set(rows_of(changed(rig, paths, first, then))) == {
        ("attributes", b"d", b"d"),
        ("removed", b"d/gone", None),
        ("added", None, b"d/new"),
    }


def test_another_kind_at_a_name_is_one_thing_removed_and_one_added(rig: ShareRig) -> None:
    found = changed(rig, [b"a"], [Create(0, Kind.FILE, PLAIN)], [Unlink(0), Create(0, Kind.FOLDER, PLAIN)])
    assert [(row.what, row.kind) for row in found] == [("removed", Kind.FILE), ("added", Kind.FOLDER)]


def test_exchanged_names_are_two_renames_and_further_names_are_added(rig: ShareRig) -> None:
    first: list[Change] = [Create(0, Kind.FILE, PLAIN), Create(1, Kind.FILE, PLAIN)]
    found = changed(rig, [b"a", b"b", b"c"], first, [Rename(0, 1, True), Link(2, 0)])
    assert set(rows_of(found)) == {("renamed", b"a", b"b"), ("renamed", b"b", b"a"), ("added", None, b"c")}


def test_attributes_of_the_root_are_told(rig: ShareRig) -> None:
    assert rows_of(changed(rig, [b"a", b""], [Create(0, Kind.FILE, PLAIN)], [SetAttributes(1, OTHER)])) == [
        ("attributes", b"", b"")
    ]


def test_what_was_changed_and_changed_back_is_no_difference(rig: ShareRig) -> None:
    data, other = rig.put(b"data"), rig.put(b"other")
    rig.send([b"a", b"b"], [Create(0, Kind.FILE, PLAIN, data)])
    before = rig.snapshot()
    rig.send([b"a", b"b"], [Content(0, other), Rename(0, 1)])
    rig.snapshot()
    rig.send([b"a", b"b"], [Rename(1, 0), Content(0, data)])
    after = rig.snapshot()
    rig.fold.fold_all()
    assert all_of(rig, before.sequence, after.sequence) == []


def test_only_the_changed_chunks_of_a_large_file_count(rig: ShareRig) -> None:
    data = b"".join(digest_of(b"%d" % number) for number in range(150_000))  # 4.8 MB, no two chunks alike
    first: list[Change] = [Create(0, Kind.FILE, PLAIN, rig.put(data))]
    (found,) = changed(rig, [b"a"], first, [Write(0, 2_000_000, b"!" * 150)])
    assert (found.what, found.size_before, found.size) == ("changed", len(data), len(data))
    assert found.different_bytes is not None and 150 <= found.different_bytes <= 3 * 256 * 1024


def test_a_page_goes_on_where_the_one_before_ended(rig: ShareRig) -> None:
    paths = [b"%d" % number for number in range(12)]
    first: list[Change] = [Create(number, Kind.FILE, PLAIN) for number in range(8)]
    then: list[Change] = [Unlink(0), Unlink(1), Rename(2, 8), SetAttributes(3, OTHER), SetAttributes(4, OTHER)]
    whole = changed(rig, paths, first, [*then, *(Create(number, Kind.FILE, PLAIN) for number in (9, 10, 11))])
    early, late = (row.sequence for row in rig.reader.ledger.snapshots())
    paged: list[Difference] = []
    cursor = START
    while True:
        step = next(iter(differences(rig.reader.query, rig.store.node, early, late, cursor)), None)
        if step is None:
            break
        cursor = step[0]
        paged.append(step[1])
    assert paged == whole and len(paged) == 8


def test_the_rows_read_are_those_of_the_difference_not_of_the_tree(rig: ShareRig) -> None:
    paths = [b"d%d/%d" % (number // 100, number) for number in range(3000)] + [b"d%d" % number for number in range(30)]
    first: list[Change] = [Create(3000 + number, Kind.FOLDER, PLAIN) for number in range(30)]
    rig.send(paths, [*first, *(Create(number, Kind.FILE, PLAIN) for number in range(3000))])
    before = rig.snapshot()
    rig.send(paths, [Unlink(5), SetAttributes(700, OTHER), Rename(3004, 3005 - 1), Unlink(1500)])
    after = rig.snapshot()
    rig.fold.fold_all()
    read = 0

    def counted(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        nonlocal read
        rows = rig.reader.query(statement, parameters)
        read += len(rows)
        return rows

    assert len(list(differences(counted, rig.store.node, before.sequence, after.sequence))) == 3
    assert read < 30


@pytest.mark.parametrize("verb", ["names_gone", "names_come", "states_changed"])
def test_the_indexes_by_birth_and_death_are_used(rig: ShareRig, verb: str) -> None:
    asked: list[tuple[str, Sequence[Any]]] = []

    def noted(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        asked.append((statement, parameters))
        return rig.reader.query(statement, parameters)

    list(getattr(DifferenceReader(noted, 3, 9), verb)((-1, -1, b"")))
    plan = " ".join(row[3] for row in rig.reader.query("EXPLAIN QUERY PLAN " + asked[0][0], asked[0][1]))
    assert "_by_" in plan and "SCAN" not in plan.replace("SCAN CONSTANT ROW", "") and "TEMP B-TREE" not in plan


PIECES = st.lists(st.tuples(st.integers(1, 5), st.integers(0, 400)), max_size=1500)


def pieces_of(numbers: list[tuple[int, int]]) -> list[Piece]:
    return [Piece(length, digest_of(b"%d %d" % (length, number)) if number else ZERO_DIGEST) for length, number in numbers]


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(PIECES, PIECES, PIECES)
def test_different_bytes_are_those_of_chunks_that_the_old_content_has_not(
    shared: list[tuple[int, int]], old: list[tuple[int, int]], new: list[tuple[int, int]]
) -> None:
    before, after = pieces_of(shared + old), pieces_of(shared + new)
    nodes: dict[Digest, bytes] = {}
    contents = []
    for pieces in (before, after):
        content, made = build_recipe(pieces)
        contents.append(content)
        nodes |= {chunk.digest: _unpacked(chunk) for chunk in made}
    told = different_bytes(contents[0], contents[1], nodes.__getitem__)
    had = {piece.digest for piece in before}
    exact = sum(piece.length for piece in {p.digest: p for p in after}.values() if piece.digest not in had and not piece.is_hole)
    size = sum(piece.length for piece in {p.digest: p for p in after}.values() if not piece.is_hole)
    assert exact <= told <= size
    if len(before) < 32 or not shared:  # one node each: nothing is skipped
        assert told == exact


def _unpacked(chunk: PackedChunk) -> bytes:
    return bytes(unpack_chunk(chunk.form, chunk.size, chunk.data))
