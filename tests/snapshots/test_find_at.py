"""Finding as of a moment: equal to a scan of what a model had then, for random histories."""

import random
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from core.relpath import RelPath
from snapshots.find import TOP, FoundPath, Work
from snapshots.find_at import MomentFinder
from snapshots.name_index import NameIndex
from snapshots.search_form import search_form, wanted_form
from snapshots.share_fold import ANCHORED
from staging.changes import Attributes, Change, Create, Kind, Rename, Unlink, Write
from tests.naive_tree import NaiveTree
from tests.share_rig import ShareRig
from tests.snapshots.fold_machine import FoldMachine
from tests.snapshots.test_find import everything, index_of, size_of

PLAIN = Attributes(0o644, 0, 0, 0)


def find_at(rig: ShareRig, index: NameIndex, text: str, moment: str, limit: int = 1000, work: int = 10**9) -> list[FoundPath]:
    """Ask page by page, as many as there are."""
    found: list[FoundPath] = []
    below: int | None = TOP
    while below is not None:
        with rig.instants.tree(rig.instants.resolve(moment)) as tree:
            finder = MomentFinder(tree, 5, index, wanted_form(text), rig.fold.sequence, everything)
            page, following = finder.page(True, below, limit, Work(work))
        assert following is None or following < below
        found, below = found + page, following
    return found


class FindAtMachine(FoldMachine):
    """The fold's machine, with anchors at random places and an index that is stepped and lost at any time."""

    @initialize(every=st.sampled_from([2, 5, 1000]))
    def start(self, every: int) -> None:  # type: ignore[override]
        super().start()
        self.rig.limits = replace(ANCHORED, changes=every)
        self.rig.reopen()
        self.models: dict[int, NaiveTree] = {0: self.model.copy()}

    def index(self) -> NameIndex:
        return NameIndex(self.folder / "find" / "share.db", self.rig.reader, lines_a_block=4, lines_at_least=1)

    def change(self, change: Change) -> None:
        super().change(change)
        self.models[self.rig.journal.position.sequence + len(self.pending)] = self.model.copy()

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

    @rule(chance=st.randoms(use_true_random=False), text=st.sampled_from(["a", "B", "\\xff"]))
    def look(self, chance: random.Random, text: str) -> None:
        if self.rig.journal.durable.sequence:
            self.compare_at(chance.randint(0, self.rig.journal.durable.sequence), text)

    def teardown(self) -> None:
        if hasattr(self, "rig") and self.pending:
            self.send()
        for sequence in range(1, self.rig.journal.durable.sequence + 1 if hasattr(self, "rig") else 0):
            self.compare_at(sequence, "a")
        super().teardown()

    def compare_at(self, sequence: int, text: str) -> None:
        index, there = self.index(), self.models[sequence].listing()
        found = find_at(self.rig, index, text, f"seq:{sequence}")
        wanted = wanted_form(text)
        matching = {path for path in there if path and wanted in search_form(path.rpartition(b"/")[2])}
        assert len(found) == len(matching) and {one.path for one in found} == matching, sequence
        assert find_at(self.rig, index, text, f"seq:{sequence}", limit=1) == found
        for one in found:
            kind, _, data, *_ = there[one.path]
            assert (one.state.kind, one.state.size) == (kind, size_of(kind, data))  # type: ignore[arg-type]
            assert one.sequence <= sequence and one.until is None
        index.close()


FindAtMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestFindAtAgainstModel = FindAtMachine.TestCase


def test_a_name_that_no_snapshot_shows_is_found_where_it_stood(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"d", b"d/plan", b"e", b"d/plan brief"]
    rig.send(paths, [Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FILE, PLAIN)])
    first = rig.snapshot()
    rig.send(paths, [Create(3, Kind.FILE, PLAIN), Write(3, 0, b"12345")])
    rig.send(paths, [Rename(0, 2)])
    rig.send([b"e/plan brief"], [Unlink(0)])
    rig.snapshot()
    rig.fold.fold_all()
    index = index_of(rig)
    for moment, paths_then in [
        ("seq:2", [b"d/plan"]), ("seq:4", [b"d/plan brief", b"d/plan"]), ("seq:5", [b"e/plan brief", b"e/plan"]),
        ("latest", [b"e/plan"]), ("", [b"e/plan"]),
    ]:  # fmt: skip
        assert [one.path for one in find_at(rig, index, "PLAN", moment)] == paths_then
    brief, plan = find_at(rig, index, "plan", "seq:4")
    assert (brief.snapshots, brief.first, brief.sequence, brief.state.size) == ((), 3, 4, 5)
    assert (plan.snapshots, plan.first, [name.path for name in plan.names]) == ((first.id,), 2, [RelPath(b"e/plan")])
    rig.close()


def test_a_page_that_may_cost_little_goes_on_where_it_ended(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    names = [b"n%d" % number for number in range(40)]
    rig.send(names, [Create(number, Kind.FILE, PLAIN) for number in range(30)])
    rig.snapshot()
    rig.send(names, [*(Create(number, Kind.FILE, PLAIN) for number in range(30, 40)), Unlink(4)])
    rig.send(names, [Unlink(number) for number in range(40) if number != 4])
    there = [name for name in names[::-1] if name != b"n4"]
    assert [one.path for one in find_at(rig, index_of(rig), "n", "seq:41", work=30)] == there
    rig.close()
