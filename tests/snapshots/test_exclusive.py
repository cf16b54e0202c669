"""What deleting snapshots frees: exact against a naive count over all views, and never more than the cheap bound says."""

import random
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.digest import Digest
from snapshots.content_difference import named_digests
from snapshots.control_format import SnapshotDropped
from snapshots.exclusive import Removal
from snapshots.exclusive_db import ExclusiveReader
from snapshots.tree import TreeView
from staging.changes import Attributes, Change, Content, Create, Kind, Rename, Unlink, Write
from tests.share_rig import ShareRig

PLAIN = Attributes(0o644, 0, 0, 7)
PATHS = [b"a", b"b", b"c"]
CONTENTS = [random.Random(number).randbytes(size) for number, size in enumerate((10, 3000, 90_000, 400_000))]
places = st.integers(0, len(PATHS) - 1)
changes = st.one_of(
    st.builds(lambda place, number: ("content", place, number), places, st.integers(0, len(CONTENTS) - 1)),
    st.builds(lambda place, offset: ("write", place, offset), places, st.integers(0, 400_000)),
    st.builds(lambda place, number: ("unlink", place, number), places, st.just(0)),
    st.builds(lambda place, number: ("rename", place, number), places, places),
    st.just(("snapshot", 0, 0)),
    st.just(("snapshot", 0, 0)),
)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ShareRig]:
    made = ShareRig(tmp_path)
    yield made
    made.close()


def removal(rig: ShareRig) -> Removal:
    return Removal(rig.reader, [rig.reader], rig.store)


def play(rig: ShareRig, steps: list[tuple[str, int, int]]) -> None:
    refs = [rig.put(data) for data in CONTENTS]
    rig.send(PATHS, [Create(place, Kind.FILE, PLAIN, refs[place]) for place in range(len(PATHS))])
    for what, place, number in steps:
        if what == "snapshot":
            rig.snapshot()
            continue
        change: dict[str, Change] = {
            "content": Content(place, refs[number % len(refs)]),
            "write": Write(place, number, b"written"),
            "unlink": Unlink(place),
            "rename": Rename(place, number % len(PATHS)),
        }
        rig.send(PATHS, [change[what]])
    rig.fold.fold_all()


def named_in(rig: ShareRig, views: Iterable[TreeView]) -> set[Digest]:
    """Return every chunk and node that views name."""
    contents = [node.content for view in views for _, node in view.walk(b"")]  # type: ignore[arg-type]
    return {digest for content in contents for digest in named_digests(content, rig.store.node, set())}


def naive(rig: ShareRig, ids: Sequence[int]) -> int:
    going, staying = [], [rig.reader.view(rig.fold.sequence)]
    for row in rig.reader.ledger.snapshots():
        (going if row.id in ids else staying).append(rig.reader.view(row.sequence))
    named, gone = named_in(rig, staying), named_in(rig, going)
    located = rig.store.locations(named | gone)
    with_bases = {base for digest in gone - named if (base := located[digest].base) is not None}
    needed = {base for digest in named if (base := located[digest].base) is not None}
    return sum(at.stored_bytes for at in rig.store.locations((gone | with_bases) - named - needed).values())


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(changes, min_size=3, max_size=20), st.data())
def test_what_is_freed_is_what_nothing_else_shows(steps: list[tuple[str, int, int]], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rig = ShareRig(Path(folder))
        play(rig, steps)
        ids = [row.id for row in rig.reader.ledger.snapshots()]
        chosen = data.draw(st.lists(st.sampled_from(ids), unique=True)) if ids else []
        weighing = removal(rig)
        exact = weighing.frees(chosen)
        assert exact == naive(rig, chosen)
        assert weighing.frees_at_most(chosen) >= exact
        for snapshot in ids[:1]:  # what a deletion left behind weighs nothing
            rig.fold.order(lambda number, _, snapshot=snapshot: SnapshotDropped(number, snapshot))  # type: ignore[misc]
        left = [snapshot for snapshot in chosen if snapshot not in ids[:1]]
        assert removal(rig).frees(left) == naive(rig, left)
        rig.close()


def test_a_large_file_that_was_edited_frees_its_old_chunks_only(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN, rig.put(random.Random(1).randbytes(3_000_000)))])
    taken = rig.snapshot()
    rig.send([b"a"], [Write(0, 1_000_000, random.Random(2).randbytes(500_000))])
    edited = rig.snapshot()
    rig.send([b"a"], [Write(0, 1_000_000, b"x" * 100)])
    rig.fold.fold_all()
    freed = removal(rig).frees([taken.id])
    assert 400_000 < freed < 900_000
    assert removal(rig).frees_at_most([taken.id]) == freed
    assert removal(rig).frees([edited.id]) == naive(rig, [edited.id])


def test_a_content_that_another_file_or_share_has_too_is_not_freed(rig: ShareRig, tmp_path: Path) -> None:
    one, two = rig.put(b"one" * 100), rig.put(b"two" * 100)
    rig.send([b"a", b"b"], [Create(0, Kind.FILE, PLAIN, one), Create(1, Kind.FILE, PLAIN, two)])
    taken = rig.snapshot()
    rig.send([b"a", b"b", b"c"], [Unlink(0), Unlink(1), Create(2, Kind.FILE, PLAIN, two)])
    rig.fold.fold_all()
    both = removal(rig).frees_at_most([taken.id])
    only_one = removal(rig).frees([taken.id])
    assert 0 < only_one < both
    (tmp_path / "other").mkdir()
    other = ShareRig(tmp_path / "other")
    other.send([b"x"], [Create(0, Kind.FILE, PLAIN, other.put(b"one" * 100))])
    other.fold.fold_all()
    assert Removal(rig.reader, [rig.reader, other.reader], rig.store).frees([taken.id]) == 0
    other.close()


def test_the_bound_reads_only_what_the_snapshots_show_alone(rig: ShareRig) -> None:
    paths = [b"%d" % number for number in range(2000)]
    content = rig.put(b"content")
    rig.send(paths, [Create(number, Kind.FILE, PLAIN, content) for number in range(2000)])
    taken = rig.snapshot()
    rig.send(paths, [Content(7, rig.put(b"other")), Unlink(9)])
    rig.snapshot()
    rig.fold.fold_all()
    read = 0

    def counted(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        nonlocal read
        rows = rig.reader.query(statement, parameters)
        read += len(rows)
        return rows

    weighing = removal(rig)
    weighing._rows = ExclusiveReader(counted)
    assert weighing.frees_at_most([taken.id]) > 0
    assert read < 15
