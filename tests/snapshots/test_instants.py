"""Any instant inside the journal: replay from the nearest fence shows exactly what a naive model had then."""

import random
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from core.clock import NANOSECONDS, format_time
from core.relpath import RelPath
from snapshots import replay
from snapshots.anchors import AnchorLimits
from snapshots.change_fold import ChangeFold
from snapshots.control_format import SnapshotDropped
from snapshots.moments import NoSuchMoment
from snapshots.share_fold import ANCHORED
from staging.changes import (
    Change,
    Create,
    Group,
    Kind,
    Mirror,
    Rename,
    SetAttributes,
    Unlink,
    Write,
)
from staging.journal_scan import LoggedRecord
from tests.appliance.settable_clock import SettableClock
from tests.naive_tree import NaiveTree
from tests.share_rig import ShareRig, listing
from tests.snapshots.fold_machine import FOLDER, PATHS, PLAIN, FoldMachine, history


class InstantMachine(FoldMachine):
    """As the fold's machine, and every sequence that ever was is compared, from fences at random places."""

    @initialize(every=st.sampled_from([1, 2, 3, 7, 1000]))
    def start(self, every: int) -> None:  # type: ignore[override]
        super().start()
        self.rig.limits = replace(ANCHORED, changes=every)
        self.rig.reopen()
        self.models = {0: self.model.copy()}

    def change(self, change: Change) -> None:
        super().change(change)
        self.models[self.rig.journal.position.sequence + len(self.pending)] = self.model.copy()

    @precondition(lambda self: self.taken)
    @rule(chance=st.randoms(use_true_random=False))
    def drop_a_snapshot(self, chance: random.Random) -> None:
        shown = self.rig.reader.ledger.snapshots()
        if shown:
            dropped = chance.choice(shown)
            for row in [row for row in shown if row.sequence == dropped.sequence]:
                self.rig.fold.order(lambda number, at, row=row: SnapshotDropped(number, row.id))  # type: ignore[misc]
            del self.taken[dropped.sequence]

    @rule(chance=st.randoms(use_true_random=False))
    def look(self, chance: random.Random) -> None:
        self.compare_at(chance.randint(0, self.rig.journal.durable.sequence))

    def teardown(self) -> None:
        if hasattr(self, "rig") and self.pending:
            self.send()
        for sequence in range(1, self.rig.journal.durable.sequence + 1 if hasattr(self, "rig") else 0):
            self.compare_at(sequence)
        super().teardown()

    def compare_at(self, sequence: int) -> None:
        if not self.rig.journal.durable.sequence:
            return
        assert listing(self.rig.at(f"seq:{sequence}")) == self.models[sequence].listing(), sequence
        replayed = self.rig.instants.replayed(sequence)  # also where a fence stands, from itself
        counters = self.rig.reader.ledger.counters_at(sequence)
        if counters is not None:
            assert replayed.counters() == (counters.next_node, counters.files, counters.logical_bytes)


InstantMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestInstantsAgainstModel = InstantMachine.TestCase


@pytest.mark.parametrize("seed", range(12))
def test_an_instant_within_and_behind_mirrors_is_what_the_fold_had_then(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    once = ShareRig(tmp_path / "once", limits=replace(ANCHORED, changes=10**9))
    often = ShareRig(tmp_path / "often", limits=replace(ANCHORED, changes=chance.choice([1, 4, 9])))
    data = [b"", b"small", bytes(range(256)) * 300]
    contents: list[object] = [once.put(one) for one in data]
    assert contents == [often.put(one) for one in data]
    seen, ids = {}, {}
    changes = history(chance, contents, 120)
    for number, change in enumerate(changes, start=1):
        once.send(PATHS, [change])
        seen[number] = listing(once.live())
        ids[number] = {path: once.live().node_at(path).id for path in seen[number]}  # type: ignore[arg-type]
    while changes:
        size = chance.randint(1, 12)
        often.send(PATHS, changes[:size])
        changes = changes[size:]
        if chance.random() < 0.3:
            often.snapshot()
        if chance.random() < 0.5:
            often.fold.fold()
    for number in seen:
        view = often.at(f"seq:{number}")
        assert listing(view) == seen[number], number
        assert {path: view.node_at(path).id for path in seen[number]} == ids[number]  # type: ignore[arg-type]
    once.close()
    often.close()


def wrong_views(rig: ShareRig, models: dict[int, NaiveTree]) -> list[int]:
    wrong = []
    for sequence, model in models.items():
        try:
            if listing(rig.at(f"seq:{sequence}")) != model.listing():
                wrong.append(sequence)
        except replay.FramesMissing:
            wrong.append(sequence)
    return wrong


def directed(rig: ShareRig) -> dict[int, NaiveTree]:
    """Lay a history with a group that does not fit in its middle; return the model behind every change."""
    content = rig.put(b"0123456789")
    model = NaiveTree({content.digest: b"0123456789"} if content else {})
    models = {}
    frames: list[list[Change]] = [
        [Create(0, Kind.FILE, PLAIN, content), Create(1, Kind.FOLDER, FOLDER)],
        [Group((Write(0, 0, b"undone"), Rename(2, 0)))],
        [Write(0, 4, b"kept"), Rename(0, 4)],
        [Group((Write(4, 20, b"whole"), Rename(4, 2)))],
    ]
    number = 0
    for changes in frames:
        for change in changes:
            number += 1
            model.apply(change, PATHS)
            models[number] = model.copy()
        rig.send(PATHS, changes)
    rig.fold.fold_all()
    return models


class IgnoresGroups(ChangeFold):
    """A mutant: the changes of a group one by one."""

    def _group(self, group: Group, paths: tuple[RelPath, ...], sequence: int) -> None:
        for change in group.changes:
            self.apply(change, paths, sequence, 0)


def test_a_replay_that_ignores_groups_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ShareRig(tmp_path)
    models = directed(rig)
    assert wrong_views(rig, models) == []
    rig.instants.close()
    monkeypatch.setattr(replay, "ChangeFold", IgnoresGroups)
    assert 3 in wrong_views(rig, models)
    rig.close()


def test_a_replay_that_skips_a_frame_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ShareRig(tmp_path)
    models = directed(rig)
    read = rig.journal.read
    monkeypatch.setattr(
        rig.journal, "read", lambda cursor: (r for r in read(cursor) if not r.header or r.header.first_sequence != 4)
    )
    assert set(wrong_views(rig, models)) >= {4, 5, 6}
    rig.close()


def most_frames_read(rig: ShareRig, sequences: Iterable[int], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many frames of the journal the dearest of some replays read."""
    read: list[LoggedRecord] = []
    plain, most = rig.journal.read, 0
    monkeypatch.setattr(rig.journal, "read", lambda cursor: (read.append(r) or r for r in plain(cursor)))
    for sequence in sequences:
        read.clear()
        rig.instants.replayed(sequence)
        most = max(most, sum(record.header is not None for record in read))
    return most


def test_a_question_reads_no_more_frames_than_stand_between_two_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ShareRig(tmp_path, limits=replace(ANCHORED, changes=10))
    rig.send(PATHS, [Create(0, Kind.FILE, PLAIN)])
    for number in range(60):
        rig.send(PATHS, [Write(0, number, b"x"), Write(0, 2 * number, b"y")])
    rig.fold.fold_all()
    anchors = [sequence for sequence, _ in rig.reader.ledger.anchors()]
    assert len(anchors) >= 12
    assert 5 <= most_frames_read(rig, range(1, rig.fold.sequence), monkeypatch) <= 7  # of at most two changes each
    rig.close()


def test_pruning_snapshots_makes_no_question_dearer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ShareRig(tmp_path, limits=replace(ANCHORED, changes=10))
    rig.send(PATHS, [Create(0, Kind.FILE, PLAIN)])
    for number in range(40):
        rig.send(PATHS, [Write(0, number, b"x")])
        taken = rig.snapshot()
        rig.fold.order(lambda number, at, taken=taken: SnapshotDropped(number, taken.id))  # type: ignore[misc]
    rig.fold.fold_all()
    assert 5 <= most_frames_read(rig, range(1, 42), monkeypatch) <= 11
    rig.close()


def test_a_view_is_replayed_once_for_many_looks(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    directed(rig)
    assert rig.instants.replayed(4) is rig.instants.replayed(4)
    rig.close()


@pytest.mark.parametrize(
    "limits",
    [
        AnchorLimits(changes=3, unpacked_bytes=10**12, age_ns=10**18),
        AnchorLimits(changes=10**9, unpacked_bytes=300, age_ns=10**18),
        AnchorLimits(changes=10**9, unpacked_bytes=10**12, age_ns=3 * NANOSECONDS),
    ],
    ids=["changes", "bytes", "age"],
)
def test_an_anchor_is_left_by_each_limit_also_across_a_restart(tmp_path: Path, limits: AnchorLimits) -> None:
    clock = SettableClock(1_700_000_000 * NANOSECONDS)
    rig = ShareRig(tmp_path, limits=limits, clock=clock)
    for number in range(8):
        clock.move(1)
        rig.send(PATHS, [Create(number % 3, Kind.FILE, PLAIN) if number < 3 else Write(0, 0, bytes(range(80)))])
        rig.fold.fold_all()
        rig.reopen()
    anchors = [sequence for sequence, _ in rig.reader.ledger.anchors()]
    assert 3 <= len(anchors) <= 4
    rig.close()


def test_an_anchor_lies_between_frames_and_never_within_a_repair(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path, limits=replace(ANCHORED, changes=2))
    rig.send(PATHS, [Mirror(True), Create(0, Kind.FILE, PLAIN), Create(1, Kind.FOLDER, FOLDER), Mirror(False)])
    rig.send(PATHS, [Mirror(True), Create(0, Kind.FILE, PLAIN), Create(1, Kind.FOLDER, FOLDER)])
    rig.send(PATHS, [Mirror(False)])
    rig.fold.fold_all()
    assert [sequence for sequence, _ in rig.reader.ledger.anchors()] == [0, 4, 8]
    rig.close()


def test_a_time_is_the_last_change_received_by_then(tmp_path: Path) -> None:
    clock = SettableClock(1_700_000_000 * NANOSECONDS)
    rig = ShareRig(tmp_path, clock=clock)
    for number in range(3):
        rig.send(PATHS, [Create(number, Kind.FILE, PLAIN), SetAttributes(number, FOLDER)])
        clock.move(10)
    start = 1_700_000_000
    for second, sequence in [(0, 2), (1, 2), (9, 2), (10, 4), (19, 4), (20, 6), (30, 6)]:
        assert rig.instants.resolve(format_time((start + second) * NANOSECONDS)).sequence == sequence
    assert rig.instants.resolve("GMT-2023.11.14-22.13.35").sequence == 4
    assert rig.instants.resolve("2023-11-14T22:13:29.999999Z").sequence == 2
    for text in (format_time((start - 1) * NANOSECONDS), format_time((start + 31) * NANOSECONDS), "seq:7"):
        with pytest.raises(NoSuchMoment) as refused:
            rig.instants.resolve(text)
        assert "@seq:0 to @seq:6 (2023-11-14T22:13:20" in (refused.value.remedy or "")
    rig.close()


def test_an_instant_that_is_not_folded_yet_is_folded_first(tmp_path: Path) -> None:
    clock = SettableClock(1_700_000_000 * NANOSECONDS)
    rig = ShareRig(tmp_path, clock=clock)
    rig.send(PATHS, [Create(0, Kind.FILE, PLAIN)])
    rig.fold.fold_all()
    clock.move(10)
    rig.send(PATHS, [Unlink(0)])
    clock.move(10)
    assert set(listing(rig.at(format_time(clock.now_ns() - 11 * NANOSECONDS)))) == {b"", b"a"}
    assert set(listing(rig.at(format_time(clock.now_ns())))) == {b""}
    rig.close()


def test_a_leased_view_of_an_instant_outlives_the_pruning_of_its_fence(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send(PATHS, [Create(0, Kind.FILE, PLAIN, rig.put(b"first"))])
    fence = rig.snapshot()
    rig.send(PATHS, [Write(0, 0, b"F"), Write(0, 1, b"I")])
    with rig.instants.leased(rig.instants.resolve("seq:2")) as view:
        rig.fold.order(lambda number, at: SnapshotDropped(number, fence.id))
        rig.send(PATHS, [Unlink(0)])
        rig.fold.fold_all()
        assert fence.sequence in [row[0] for row in rig.reader.query("SELECT sequence FROM lease")]
        assert listing(view)[b"a"][2] == b"First"
    assert listing(rig.at("seq:2"))[b"a"][2] == b"First"
    rig.close()
