"""Differences of any two moments, instants between fences too: equal to a naive comparison of what a model had."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from snapshots.difference import START, Cursor, Difference
from snapshots.moment_difference import MomentDifference, moment_differences
from snapshots.share_fold import ANCHORED
from staging.changes import Attributes, Change, Content, Create, Group, Kind, Mirror, Rename, SetAttributes, Unlink, Write
from tests.share_rig import ShareRig, listing
from tests.snapshots.fold_machine import PATHS, FoldMachine
from tests.snapshots.naive_difference import naive_differences, unexplained
from tests.snapshots.test_difference import OTHER, PLAIN, all_of, backwards, rows_of
from tests.snapshots.test_instants import history


def between(rig: ShareRig, before: str, after: str, cursor: Cursor = START) -> list[Difference]:
    instants = rig.instants
    with instants.trees(instants.resolve(before), instants.resolve(after)) as trees:
        return [found for _, found in moment_differences(*trees, cursor)]


def compare(rig: ShareRig, before: str, after: str) -> None:
    old, new = rig.at(before), rig.at(after)
    found = between(rig, before, after)
    rows = rows_of(found)
    assert sorted(rows, key=repr) == sorted(naive_differences(old, new), key=repr), (before, after)
    assert unexplained(found, listing(old), listing(new)) == set()
    assert sorted(map(backwards, rows_of(between(rig, after, before))), key=repr) == sorted(rows, key=repr)


class MomentDifferenceMachine(FoldMachine):
    """Drives a share through random changes and compares random pairs of all its moments."""

    @initialize(every=st.sampled_from([2, 7, 1000]))
    def start(self, every: int) -> None:  # type: ignore[override]
        super().start()
        self.rig.limits = replace(ANCHORED, changes=every)
        self.rig.reopen()

    @rule(chance=st.randoms(use_true_random=False))
    def compare_some(self, chance: random.Random) -> None:
        if self.pending:
            self.send()
        self.compare_pairs(chance, 2)

    def compare_pairs(self, chance: random.Random, count: int) -> None:
        self.rig.fold.fold_all()
        if not self.rig.fold.sequence:
            return
        moments = ["", *(f"seq:{number}" for number in range(self.rig.fold.sequence + 1))]
        for _ in range(count):
            compare(self.rig, *(chance.choice(moments) for _ in range(2)))

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            if self.pending:
                self.send()
            self.compare_pairs(random.Random(0), 8)
        super().teardown()


MomentDifferenceMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestMomentDifferencesAgainstNaiveOnes = MomentDifferenceMachine.TestCase


@pytest.mark.parametrize("seed", range(10))
def test_moments_of_histories_with_mirrors_differ_as_a_naive_comparison_tells(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rig = ShareRig(tmp_path, limits=replace(ANCHORED, changes=chance.choice([3, 9, 10**6])))
    contents: list[object] = [rig.put(data) for data in (b"", b"small", bytes(range(256)) * 300)]
    changes = history(chance, contents, 100)
    while changes:
        size = chance.randint(1, 9)
        rig.send(PATHS, changes[:size])
        changes = changes[size:]
        if chance.random() < 0.2:
            rig.snapshot()
        if chance.random() < 0.5:
            rig.fold.fold()
    rig.fold.fold_all()
    for _ in range(25):
        compare(rig, *(f"seq:{chance.randint(0, 100)}" for _ in range(2)))
    rig.close()


def test_what_came_and_went_between_two_snapshots_is_told_between_instants(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"a", b"brief", b"b"]
    rig.send(paths, [Create(0, Kind.FILE, PLAIN, rig.put(b"first"))])
    first = rig.snapshot()
    rig.send(paths, [Create(1, Kind.FILE, PLAIN, rig.put(b"passing")), Write(0, 0, b"FIRST!")])
    rig.send(paths, [Unlink(1), Rename(0, 2)])
    second = rig.snapshot()
    assert between(rig, str(first.id), "seq:2") == [Difference("added", Kind.FILE, None, b"brief", 0, 7, 7)]  # type: ignore[arg-type]
    assert between(rig, "seq:2", "seq:3") == [Difference("changed", Kind.FILE, b"a", b"a", 5, 6, 6)]  # type: ignore[arg-type]
    assert rows_of(between(rig, "seq:3", "")) == [("removed", b"brief", None), ("renamed", b"a", b"b")]
    assert rows_of(between(rig, str(first.id), "latest")) == rows_of(all_of(rig, first.sequence, second.sequence))
    rig.close()


def test_a_page_goes_on_where_the_one_before_ended(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"%d" % number for number in range(20)]
    rig.send(paths, [Create(number, Kind.FILE, PLAIN) for number in range(8)])
    rig.snapshot()
    first: list[Change] = [Unlink(0), Rename(2, 8), SetAttributes(3, OTHER), Create(9, Kind.FILE, PLAIN)]
    rig.send(paths, first)
    rig.snapshot()
    rig.send(
        paths, [Unlink(1), Rename(4, 10), SetAttributes(5, OTHER), Create(11, Kind.FILE, PLAIN), Create(12, Kind.FILE, PLAIN)]
    )
    rig.send(paths, [Unlink(6), Unlink(12)])
    whole = between(rig, "seq:8", "seq:16")
    assert len(whole) == 8
    paged: list[Difference] = []
    cursor: Cursor = START
    while True:
        with rig.instants.trees(rig.instants.resolve("seq:8"), rig.instants.resolve("seq:16")) as trees:
            step = next(moment_differences(*trees, cursor), None)
        if step is None:
            break
        cursor = step[0]
        paged.append(step[1])
    assert paged == whole
    rig.close()


def test_what_is_read_is_the_difference_and_not_the_tree(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"d%d/%d" % (number // 100, number) for number in range(3000)] + [b"d%d" % number for number in range(30)]
    folders: list[Change] = [Create(3000 + number, Kind.FOLDER, PLAIN) for number in range(30)]
    rig.send(paths, [*folders, *(Create(number, Kind.FILE, PLAIN) for number in range(3000))])
    rig.snapshot()
    rig.send(paths, [Unlink(5), SetAttributes(700, OTHER), Unlink(1500)])
    rig.send(paths, [SetAttributes(701, OTHER)])
    with rig.instants.trees(rig.instants.resolve("seq:3030"), rig.instants.resolve("seq:3032")) as (early, late):
        rows = MomentDifference(early, late)
        found = [*rows.names_gone((-1, -1, b"")), *rows.names_come((-1, -1, b"")), *rows.states_changed((-1, -1, b""))]
    assert len(found) == 2
    rig.close()


def test_no_content_is_made_for_what_both_instants_have_alike(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"%d" % number for number in range(40)]
    rig.send(paths, [Create(number, Kind.FILE, PLAIN, rig.put(b"%d" % number * 100)) for number in range(40)])
    rig.snapshot()
    rig.send(paths, [Write(number, 3, b"x") for number in range(40)])
    rig.send(paths, [Write(7, 9, b"y"), Group((Write(8, 0, b"z"), Write(8, 5, b"z")))])
    rig.send(paths, [Content(9, None)])
    with rig.instants.trees(rig.instants.resolve("seq:80"), rig.instants.resolve("seq:82")) as (before, after):
        assert [found.after for _, found in moment_differences(before, after)] == [b"7", b"8"]
        for tree in (before, after):
            assert tree.replay is not None and tree.replay.store.made == 2
    rig.close()


def test_moments_within_a_repair_are_compared(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path, limits=replace(ANCHORED, changes=1))
    rig.send([b"a", b"b"], [Create(0, Kind.FILE, PLAIN), Create(1, Kind.FILE, PLAIN)])
    rig.send([b"a", b"b"], [Mirror(True), Create(0, Kind.FILE, Attributes(0o600, 0, 0, 1))])
    rig.snapshot()
    rig.send([b"a", b"b"], [Create(1, Kind.FILE, Attributes(0o600, 0, 0, 1))])
    rig.send([b"a", b"b"], [Mirror(False)])
    rig.fold.fold_all()
    for before in range(7):
        for after in range(7):
            compare(rig, f"seq:{before}", f"seq:{after}")
    rig.close()
