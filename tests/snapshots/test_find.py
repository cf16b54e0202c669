"""Finding paths by a part of their name: random histories against a naive scan of all recorded listings, and plain cases."""

import random
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from core.database import open_database, transaction
from core.relpath import RelPath
from snapshots.find import TOP, Finder, FoundPath, Moment, Work
from snapshots.ledger_db import LedgerWriter
from snapshots.name_index import NameIndex
from snapshots.search_form import search_form, wanted_form
from staging.changes import Attributes, Change, Create, Kind, Link, Rename, Unlink, Write
from tests.share_rig import ShareRig, kept_versions
from tests.snapshots.fold_machine import PATHS, FoldMachine

PLAIN = Attributes(0o644, 0, 0, 0)


def everything(path: RelPath) -> bool:
    return True


def find(
    rig: ShareRig, index: NameIndex, text: str, *, deleted: bool = True, limit: int = 1000,
    may_see: Callable[[RelPath], bool] = everything, work: int = 10**9,
) -> list[FoundPath]:  # fmt: skip
    """Ask page by page, as many as there are."""
    answered: list[FoundPath] = []
    for live in (True, False) if deleted else (True,):
        below: int | None = TOP
        while below is not None:
            finder = Finder(rig.reader, index, wanted_form(text), rig.fold.sequence, may_see)
            page, following = finder.page(live, below, limit, Work(work))
            assert following is None or following < below
            answered += page
            below = following
    return answered


def size_of(kind: Kind, data: bytes) -> int:
    return len(data) if kind is Kind.FILE else 0


class FindMachine(FoldMachine):
    """The fold's machine, with an index that is stepped, lost and taken up again at any time."""

    def index(self) -> NameIndex:
        return NameIndex(self.folder / "find" / "share.db", self.rig.reader, lines_a_block=4, lines_at_least=1)

    @rule(steps=st.integers(1, 3))
    def index_some(self, steps: int) -> None:
        index = self.index()
        for _ in range(steps):
            index.step(self.rig.fold.sequence)
        index.close()

    @rule()
    def lose_index(self) -> None:
        for part in (self.folder / "find").glob("*"):
            part.unlink()

    def compare(self) -> None:
        super().compare()
        index = self.index()
        for text in ("a", "B", "\\xff", "\\x0a", "zz"):
            self.compare_found(index, text)
        index.close()

    def compare_found(self, index: NameIndex, text: str) -> None:
        live = self.model.listing()
        rows = self.rig.reader.ledger.snapshots()
        listings = [(row.id, self.taken[row.sequence].listing()) for row in reversed(rows)]
        wanted = wanted_form(text)
        paths = {path for listing in [live, *(one for _, one in listings)] for path in listing}
        matching = {path for path in paths if wanted in search_form(path.rpartition(b"/")[2])}
        found = find(self.rig, index, text)
        assert [one.path for one in found if one.until is None] == [
            one.path for one in find(self.rig, index, text, deleted=False, limit=1)
        ]
        assert len(found) == len(matching) and {one.path for one in found} == matching
        assert find(self.rig, index, text, limit=1) == found
        liveness = [one.until is None for one in found]
        assert liveness == sorted(liveness, reverse=True)
        for one in found:
            assert (one.until is None) == (one.path in live)
            showing = [(number, listing) for number, listing in listings if one.path in listing]
            assert list(one.snapshots) == [number for number, _ in showing][:5]
            kind, _, data, *_ = live[one.path] if one.path in live else showing[0][1][one.path]
            assert (one.state.kind, one.state.size) == (kind, size_of(kind, data))  # type: ignore[arg-type]


FindMachine.TestCase.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestFindAgainstModel = FindMachine.TestCase


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_find_equals_a_scan_of_all_listings_in_dense_histories(seed: int) -> None:
    machine, chance = FindMachine(), random.Random(seed)
    machine.start()
    try:
        for path in (0, 1, 3, 4):
            machine.create_folder(path=path, attributes=PLAIN)
        for _ in range(120):
            one, other = chance.randrange(len(PATHS)), chance.randrange(len(PATHS))
            kind = chance.random()
            if kind < 0.35:
                machine.create_file(path=one, attributes=PLAIN, content=1)
            elif kind < 0.65:
                machine.rename(path=one, other=other, exchange=chance.random() < 0.1)
            elif kind < 0.8:
                machine.unlink(path=one)
            elif kind < 0.85:
                machine.link(path=one, existing=other)
            elif kind < 0.95:
                machine.barrier()
            else:
                machine.send() if machine.pending else machine.snapshot()
                machine.fold(limit=1000)
                machine.index_some(steps=chance.randrange(3))
    finally:
        machine.teardown()


def sent(rig: ShareRig, names: list[bytes], changes: list[Change]) -> int:
    rig.send(names, changes)
    rig.fold.fold_all()
    return rig.snapshot().id


def index_of(rig: ShareRig) -> NameIndex:
    return NameIndex(rig.folder / "find" / "share.db", rig.reader)


def test_a_name_deleted_and_made_again_is_one_hit_with_one_history(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    index = index_of(rig)
    first = sent(rig, [b"Report.txt"], [Create(0, Kind.FILE, PLAIN)])
    gone = sent(rig, [b"Report.txt"], [Unlink(0)])
    (deleted,) = find(rig, index, "report")
    assert (deleted.until, deleted.snapshots, deleted.first) == (2, (first,), 1)
    assert deleted.seen is not None and deleted.seen.id == first
    assert find(rig, index, "report", deleted=False) == []
    second = sent(rig, [b"Report.txt"], [Create(0, Kind.FILE, PLAIN), Write(0, 0, b"new")])
    (again,) = find(rig, index, "REPORT", deleted=False)
    assert (again.until, again.snapshots, again.first, again.state.size) == (None, (second, first), 1, 3)
    assert find(rig, index, "report") == [again]
    versions = kept_versions(rig, b"Report.txt")
    assert [(v.state is None, v.snapshots) for v in versions] == [(False, (second,)), (True, (gone,)), (False, (first,))]
    rig.close()


def test_history_follows_renames_of_a_file_and_of_the_folders_above_it(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    index = index_of(rig)
    sent(rig, [b"old", b"old/plan"], [Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FILE, PLAIN)])
    sent(rig, [b"old", b"new"], [Rename(0, 1)])
    sent(rig, [b"new/plan", b"new/plan B"], [Rename(0, 1)])
    live, *past = find(rig, index, "plan")
    assert (live.path, live.until) == (b"new/plan B", None)
    assert [(name.path, name.since, name.until) for name in live.names] == [(b"old/plan", 2, 3), (b"new/plan", 3, 4)]
    assert [(one.path, one.until) for one in past] == [(b"new/plan", 4), (b"old/plan", 3)]
    assert {name.path for name in past[0].names} == {b"old/plan", b"new/plan B"}
    assert len({one.state.node for one in (live, *past)}) == 1
    rig.close()


def test_what_may_not_be_seen_is_neither_found_nor_told_as_another_name(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    index = index_of(rig)
    paths = [b"open", b"secret", b"secret/plan", b"open/plan", b"secret/plan 2"]
    sent(rig, paths, [Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FOLDER, PLAIN), Create(2, Kind.FILE, PLAIN)])
    sent(rig, paths, [Rename(2, 3), Create(4, Kind.FILE, PLAIN)])
    found = find(rig, index, "plan", may_see=lambda path: path.startswith(b"open"))
    assert [(one.path, one.names) for one in found] == [(b"open/plan", ())]
    rig.close()


def test_hard_links_are_each_others_other_names(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    sent(rig, [b"one", b"two"], [Create(0, Kind.FILE, PLAIN), Link(1, 0)])
    (found,) = find(rig, index_of(rig), "one")
    assert [(name.path, name.until) for name in found.names] == [(b"two", None)]
    rig.close()


def test_a_page_that_may_cost_little_goes_on_where_it_ended(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    names = [b"n%d" % n for n in range(50)]
    sent(rig, names, [Create(n, Kind.FILE, PLAIN) for n in range(50)])
    index = index_of(rig)
    assert [one.path for one in find(rig, index, "n", work=30)] == names[::-1]
    finder = Finder(rig.reader, index, b"n", rig.fold.sequence, lambda path: False)
    page, following = finder.page(True, TOP, 10, Work(30))
    assert page == [] and following is not None and following > 1
    rig.close()


def test_a_name_that_only_an_anchor_keeps_is_found_and_one_that_only_a_reader_keeps_is_not(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"brief"], [Create(0, Kind.FILE, PLAIN)])
    rig.fold.fold_all()
    with rig.fold.lease():
        rig.send([b"brief"], [Unlink(0)])
        rig.fold.fold_all()
        assert find(rig, index_of(rig), "brief") == []
        connection = open_database(rig.folder / "share.db").conn
        with transaction(connection):
            LedgerWriter(connection).add_anchor(1, 77)
        connection.close()
        (found,) = find(rig, index_of(rig), "brief")
        assert (found.until, found.snapshots, found.seen) == (2, (), Moment(1, 77, None))
    rig.close()


def test_removed_rows_vanish_from_answers_though_the_index_still_names_them(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    index = NameIndex(rig.folder / "find" / "share.db", rig.reader, lines_at_least=1)
    names = [b"stays", b"stay no more"]
    rig.send(names, [Create(n, Kind.FILE, PLAIN) for n in range(2)])
    rig.fold.fold_all()
    assert index.step(rig.fold.sequence)
    rig.send(names, [Unlink(1)])
    rig.fold.fold_all()
    assert len([key for run in index.keys(b"stay", TOP) for key in run]) == 2
    assert [one.path for one in find(rig, index, "stay")] == [b"stays"]
    index.close()
    rig.close()
