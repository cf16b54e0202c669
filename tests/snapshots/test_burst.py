"""Bursts of losses: when they are recognised, and that the state before them is kept however they come."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NANOSECONDS
from core.errors import StagekeeperError
from snapshots.burst import PARTS, WINDOW_NS, Burst, BurstLimits, Losses, Part, Window, read_window, write_window
from snapshots.control_format import HoldReleased, PolicySet
from snapshots.ledger_db import BURST_HOLD_NS, Hold, SnapshotRow
from staging.changes import Attributes, Barrier, Change, Content, Create, Group, Kind, Mirror, Rename, Truncate, Unlink, Write
from tests.appliance.settable_clock import SettableClock
from tests.faulty_files import FaultyFiles, Killed
from tests.share_rig import ShareRig, listing

PLAIN = Attributes(0o644, 0, 0, 7)
LIMITS = BurstLimits(25, 25, 100)
FILES = 1000
NAMES = [b"f%03d.txt" % number for number in range(FILES)]

losses = st.builds(Losses, st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
pauses = st.integers(0, WINDOW_NS // 2)


def run(window: Window, steps: list[tuple[int, Losses]], files: int = FILES) -> list[tuple[int, Burst]]:
    """Return (number of the step, burst) for each burst that is told while steps (pause, losses) pass."""
    now, told = 0, []
    for number, (pause, lost) in enumerate(steps):
        now += pause
        window = window.moved_to(now, LIMITS)
        if window.wants_checkpoint(now):
            window = window.begun(Part(number, now, files, 1))
        burst = window.judge(lost, LIMITS)
        if burst is not None:
            told.append((number, burst))
            window = read_window(write_window(window))
            window = type(window)(window.parts, True)
        window = window.with_losses(lost)
    return told


@given(st.lists(st.tuples(pauses, losses), max_size=60))
def test_a_burst_is_told_only_when_so_much_was_lost_within_the_window(steps: list[tuple[int, Losses]]) -> None:
    for number, burst in run(Window(), steps):
        since = sum((lost for _, lost in steps[burst.sequence : number + 1]), Losses())
        passed = sum(pause for pause, _ in steps[burst.sequence + 1 : number + 1])
        assert max(since.deleted, since.rewritten, since.renamed) >= 250 and passed < WINDOW_NS


@given(st.lists(st.tuples(st.integers(0, WINDOW_NS // 40), losses), max_size=30))
def test_what_is_lost_within_three_quarters_of_the_window_is_told_with_the_state_before_all_of_it(
    steps: list[tuple[int, Losses]],
) -> None:
    total = sum((lost for _, lost in steps), Losses())
    told = run(Window(), steps)
    if max(total.deleted, total.rewritten, total.renamed) >= 250:
        assert [burst.sequence for _, burst in told] == [0]
    else:
        assert told == []


@given(st.lists(st.tuples(pauses, st.builds(Losses, st.integers(0, 7))), max_size=80))
def test_few_losses_at_a_time_are_no_burst_however_long_they_go_on(steps: list[tuple[int, Losses]]) -> None:
    spaced = [(max(pause, WINDOW_NS // 30), lost) for pause, lost in steps]
    assert run(Window(), spaced) == []


def test_one_burst_is_told_once_and_the_next_after_it_has_ended() -> None:
    minute = 60 * NANOSECONDS
    lasting = [(minute, Losses(deleted=100)) for _ in range(60)]
    assert len(run(Window(), lasting)) == 1
    again = [*lasting, (2 * WINDOW_NS, Losses(deleted=1)), *lasting]
    assert [number for number, _ in run(Window(), again)] == [2, 63]


@pytest.mark.parametrize(
    ("lost", "files", "what"),
    [
        (Losses(deleted=1204), 5000, "at least 1 204 of 5 000 files were deleted"),  # 25 % are 1 250
        (Losses(deleted=1250), 5000, "at least 1 250 of 5 000 files were deleted"),
        (Losses(rewritten=100), 100, "all 100 files were rewritten"),
        (Losses(renamed=99, deleted=99, rewritten=99), 100, None),
    ],
)
def test_the_sentence_says_what_came(lost: Losses, files: int, what: str | None) -> None:
    burst = Window().begun(Part(0, 0, files, 1)).judge(lost, BurstLimits(20, 25, 100))
    assert (burst.what if burst else None) == what


def test_thresholds_that_are_off_tell_nothing() -> None:
    assert Window().begun(Part(0, 0, 100, 1)).judge(Losses(100, 100, 100), BurstLimits(None, None, 1)) is None


# -- the fold -------------------------------------------------------------------------------------------------------------


class Clocked(ShareRig):
    """A share whose server time the test sets, with a thousand files in it."""

    def __init__(self, folder: Path) -> None:
        self.time = SettableClock()
        super().__init__(folder, clock=self.time)
        self.old = self.put(b"old")
        self.send(NAMES, [Mirror(True), *(Create(number, Kind.FILE, PLAIN, self.old) for number in range(FILES)), Mirror(False)])
        self.fold.fold_all()

    def in_frames(self, changes: list[Change], frames: int, then: Callable[[], object] = lambda: None) -> None:
        size = -(-len(changes) // frames)
        for start in range(0, len(changes), size):
            self.send([*NAMES, *(name + b".locked" for name in NAMES)], changes[start : start + size])
            then()
        self.fold.fold_all()

    def held(self) -> list[tuple[SnapshotRow, Hold]]:
        holds = self.reader.ledger.holds()
        return [(row, hold) for row in self.reader.ledger.snapshots() for hold in holds.get(row.id, [])]

    def the_one_held(self) -> SnapshotRow:
        ((row, hold),) = self.held()
        assert (hold.name, hold.owner, hold.expires_ns) == ("burst", "stagekeeper", row.taken_ns + BURST_HOLD_NS)
        assert (row.trigger, hold.reason, row.good) == ("burst", row.label, 1)
        return row


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Clocked]:
    made = Clocked(tmp_path)
    yield made
    made.close()


def names_of(rig: Clocked, row: SnapshotRow) -> set[bytes]:
    return set(listing(rig.reader.view(row.sequence))) - {b""}


ALL_GONE: list[Change] = [Unlink(number) for number in range(FILES)]


def test_all_files_gone_in_one_frame_are_in_a_held_snapshot(rig: Clocked) -> None:
    rig.in_frames(ALL_GONE, 1)
    row = rig.the_one_held()
    assert names_of(rig, row) == set(NAMES) and set(listing(rig.live())) == {b""}
    assert row.label == "before all 1 000 files were deleted"


@pytest.mark.parametrize("restarts", [False, True])
def test_a_frame_that_is_folded_in_parts_is_counted_once(rig: Clocked, restarts: bool) -> None:
    rig.send(NAMES, ALL_GONE[:200])  # of a thousand: less than a quarter, unless each part counts what is left again
    while rig.fold.sequence < rig.journal.durable.sequence:
        rig.fold.fold(20)
        if restarts:
            rig.reopen()
    assert rig.held() == []
    rig.send(NAMES, ALL_GONE[200:])
    while rig.fold.sequence < rig.journal.durable.sequence:
        rig.fold.fold(100)
        if restarts:
            rig.reopen()
    assert names_of(rig, rig.the_one_held()) == set(NAMES) and set(listing(rig.live())) == {b""}


@pytest.mark.parametrize("way", ["at once", "one by one", "slowly", "restarted"])
def test_all_files_gone_in_fifty_frames_are_in_a_held_snapshot(rig: Clocked, way: str) -> None:
    def then() -> None:
        if way != "at once":
            rig.fold.fold_all()
        if way == "slowly":
            rig.time.move(13)
        if way == "restarted":
            rig.reopen()

    rig.in_frames(ALL_GONE, 50, then)
    row = rig.the_one_held()
    assert names_of(rig, row) == set(NAMES) and set(listing(rig.live())) == {b""}
    assert row.label == "before at least 260 of 1 000 files were deleted"


def test_a_folder_that_goes_with_all_below_it_is_a_burst(rig: Clocked) -> None:
    paths = [b"d", b"d/e", *(b"d/e/%d" % number for number in range(400)), b"x"]
    rig.send(paths, [Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FOLDER, PLAIN)])
    rig.send(paths, [Create(2 + number, Kind.FILE, PLAIN) for number in range(400)])
    rig.time.move(3600)
    rig.send(paths, [Rename(0, 402), Unlink(402)])
    rig.fold.fold_all()
    row = rig.the_one_held()
    assert names_of(rig, row) == {*NAMES, *paths[:-1]}
    assert row.label == "before at least 400 of 1 400 files were deleted"


@pytest.mark.parametrize("what", ["content", "truncate", "shorter", "write", "overlapping", "beside", "locked", "group"])
def test_rewritten_files_are_a_burst(rig: Clocked, what: str) -> None:
    new = rig.put(b"new")
    some = range(300)
    changes: dict[str, list[Change]] = {
        "content": [Content(number, new) for number in some],
        "truncate": [Truncate(number, 0) for number in some],
        "shorter": [Truncate(number, 2) for number in some],
        "write": [Write(number, at, b"x") for at in (2, 1, 0) for number in some],
        "overlapping": [change for number in some for change in (Write(number, 3, b"more"), Write(number, 2, b"xyz"))],
        "beside": [
            change
            for number in some
            for change in (Create(FILES + number, Kind.FILE, PLAIN, new), Rename(FILES + number, number))
        ],
        "locked": [Rename(number, FILES + number) for number in some],
        "group": [Group(tuple(Content(number, new) for number in some))],
    }
    rig.in_frames(changes[what], 3)
    assert listing(rig.reader.view(rig.the_one_held().sequence)).keys() == {b"", *NAMES}
    assert {row[2] for path, row in listing(rig.reader.view(rig.the_one_held().sequence)).items() if path} == {b"old"}


@pytest.mark.parametrize("change", [Unlink(0), Write(0, 0, b"x"), Truncate(0, 1), Content(0, None)])
@pytest.mark.parametrize("percent", [12, 25, 30])
def test_a_burst_begins_with_exactly_the_file_that_the_policy_names(rig: Clocked, change: Change, percent: int) -> None:
    document = b'{"thresholds":{"deleted_percent":%d,"rewritten_percent":%d}}' % (percent, percent)
    rig.fold.order(lambda number, _: PolicySet(number, document))
    limit = FILES * percent // 100
    rig.in_frames([msgspec.structs.replace(change, path=number) for number in range(limit - 1)], 3)
    assert rig.held() == []
    rig.in_frames([msgspec.structs.replace(change, path=limit - 1)], 1)
    assert f"{limit} of 1 000 files" in rig.the_one_held().label


def test_what_a_repair_removes_is_a_burst(rig: Clocked) -> None:
    stated: list[Change] = [Create(number, Kind.FILE, PLAIN, rig.old) for number in range(500)]
    rig.in_frames([Mirror(True), *stated, Mirror(False)], 7, lambda: rig.time.move(3600))
    assert names_of(rig, rig.the_one_held()) == set(NAMES)
    assert len(listing(rig.live())) == 501


def test_ordinary_work_is_no_burst(rig: Clocked) -> None:
    new = rig.put(b"new")
    rig.in_frames(ALL_GONE[:50], 1)  # 5 %
    rig.in_frames([Content(900, new if number % 2 else rig.old) for number in range(2000)], 40)
    beside: list[Change] = []
    for _ in range(300):  # one file saved again and again
        beside += [Create(FILES, Kind.FILE, PLAIN, new), Rename(FILES, 901)]
    rig.in_frames(beside, 10)
    rig.in_frames([Write(902, 1, b"%d" % number) for number in range(2000)], 40)
    rig.in_frames([change for number in range(FILES - 1) for change in (Write(number, 3, b"+"), Write(number, 4, b"+"))], 1)
    rig.in_frames([change for number in range(FILES - 1) for change in (Truncate(number, 9), Write(number, 9, b"+"))], 9)
    temporary: list[Change] = [Create(FILES + number, Kind.FILE, PLAIN, new) for number in range(FILES)]
    rig.in_frames([*temporary, *(Unlink(FILES + number) for number in range(FILES))], 4)
    assert rig.held() == []


def test_files_lost_over_a_day_are_no_burst_and_no_anchor_stays(rig: Clocked) -> None:
    rig.in_frames(ALL_GONE, 100, lambda: rig.time.move(900))
    assert rig.held() == []
    assert len(rig.reader.ledger.anchors()) <= PARTS + 28  # those for instants, one an hour


def test_one_burst_leaves_one_snapshot_and_a_later_one_another(rig: Clocked) -> None:
    rig.in_frames(ALL_GONE[:400], 8)
    rig.in_frames(ALL_GONE[400:500], 8, lambda: rig.time.move(30))
    assert len(rig.held()) == 1
    rig.time.move(24 * 3600)
    rig.in_frames(ALL_GONE[500:], 8)
    first, second = (row for row, _ in rig.held())
    assert names_of(rig, first) == set(NAMES) and names_of(rig, second) == set(NAMES[500:])


def test_a_lost_catalogue_comes_to_the_same_held_snapshot_and_to_no_other(rig: Clocked) -> None:
    rig.in_frames(ALL_GONE[:200], 4)
    rig.send([], [Barrier("between")])
    rig.in_frames(ALL_GONE[200:], 20, lambda: rig.time.move(10))
    rig.send([], [Barrier("after")])
    rig.snapshot("last")
    rig.fold.fold_all()
    held, rows = rig.held(), rig.reader.ledger.snapshots()
    shown = listing(rig.reader.view(rig.the_one_held().sequence))
    rig.lose_catalogue()
    rig.fold.fold_all()
    assert rig.held() == held and rig.reader.ledger.snapshots() == rows
    assert listing(rig.reader.view(rig.the_one_held().sequence)) == shown
    assert rig.journal.position.sequence == rig.fold.sequence


def test_ids_are_the_same_when_barriers_stand_in_the_backlog_of_a_burst(rig: Clocked) -> None:
    changes: list[Change] = []
    for number in range(FILES):
        changes += [Unlink(number)] if number % 100 else [Unlink(number), Barrier(f"{number}")]
    rig.in_frames(changes, 50)  # folded only when all is journaled
    rig.send([], [Barrier("later")])
    rig.snapshot("last")
    rig.fold.fold_all()
    rows = rig.reader.ledger.snapshots()
    assert len({row.id for row in rows}) == len(rows) == 13
    rig.lose_catalogue()
    rig.fold.fold_all()
    assert rig.reader.ledger.snapshots() == rows


def test_a_released_hold_stays_released(rig: Clocked) -> None:
    rig.in_frames(ALL_GONE, 10)
    taken = rig.the_one_held().id
    rig.fold.order(lambda number, _: HoldReleased(number, taken, "burst"))
    rig.lose_catalogue()
    rig.fold.fold_all()
    assert rig.held() == [] and [row.id for row in rig.reader.ledger.snapshots()] == [taken]


def test_the_policy_says_what_a_burst_is(rig: Clocked) -> None:
    rig.fold.order(lambda number, _: PolicySet(number, b'{"thresholds":{"deleted_percent":null}}'))
    rig.in_frames(ALL_GONE[:600], 2)
    assert rig.held() == []
    rig.fold.order(lambda number, _: PolicySet(number, b'{"thresholds":{"deleted_percent":90}}'))
    rig.in_frames(ALL_GONE[600:], 2)
    assert names_of(rig, rig.the_one_held()) == set(NAMES)


def play_burst(folder: Path, files: FaultyFiles) -> int:
    """Play a burst in small frames, folded one by one, until the fault ends it; return how far it was acknowledged."""
    acknowledged = 0
    try:
        rig = ShareRig(folder, files, clock=SettableClock())
        changes: list[Change] = [Create(number, Kind.FILE, PLAIN) for number in range(120)]
        for batch in (changes, *([Unlink(number) for number in range(start, start + 30)] for start in (0, 30, 60, 90))):
            acknowledged = rig.send(NAMES, batch)
            rig.fold.fold_all()
        rig.close()
    except (Killed, StagekeeperError, OSError):
        pass
    return acknowledged


@pytest.mark.parametrize("fault", ["kill", "kill_after", "torn", "EIO"])
def test_the_state_before_a_burst_is_held_wherever_the_fold_was_killed(tmp_path: Path, fault: str) -> None:
    (tmp_path / "whole").mkdir()
    files = FaultyFiles()
    assert play_burst(tmp_path / "whole", files) == 240
    for at in range(1, files.count + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        faulty = FaultyFiles(at, fault)
        play_burst(folder, faulty)
        faulty.lose_unsynced()
        rig = ShareRig(folder, clock=SettableClock())
        rig.fold.fold_all()
        gone = rig.journal.durable.sequence - 120
        if gone >= 120:  # all four frames
            ((taken,), holds) = (rig.reader.ledger.snapshots(), rig.reader.ledger.holds())
            assert list(holds) == [taken.id] and len(listing(rig.reader.view(taken.sequence))) == 121, at
        elif gone < 90:
            assert rig.reader.ledger.snapshots() == []
        rig.close()


def test_what_is_rebuilt_from_seals_shows_the_state_before_a_burst(rig: Clocked) -> None:
    rig.in_frames(ALL_GONE[:100], 2)  # not yet a burst, and sealed with its checkpoint
    rig.snapshot("in between")
    rig.sealer.seal()
    rig.in_frames(ALL_GONE[100:], 9)
    shown = listing(rig.reader.view(rig.the_one_held().sequence))
    held, rows = rig.held(), rig.reader.ledger.snapshots()
    assert shown.keys() == {b"", *NAMES}
    rig.lose_catalogue()
    rig.fold.fold_all()
    assert rig.held() == held and rig.reader.ledger.snapshots() == rows
    assert listing(rig.reader.view(rig.the_one_held().sequence)) == shown
