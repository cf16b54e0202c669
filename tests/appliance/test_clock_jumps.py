"""The clock set an hour or 400 days off, while the appliance runs or is off: nothing goes early, nothing is refused for good.

Schedules: test_schedules.py; retention: tests/snapshots/test_retention.py; scrub: tests/snapshots/test_index_damage.py; collect:
tests/snapshots/test_collect.py; backups: test_backup.py; wall-clock times: test_wall_clock.py.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

import staging.journal as journal_module
from appliance.accounts import Accounts
from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.branches import Branches, CodeRefused
from appliance.clock_watch import ClockWatch
from appliance.credentials import Chance
from appliance.folding import keep_step
from appliance.removals import order_deletion
from appliance.root import Root
from appliance.sign_in import SignInDesk
from core.clock import NANOSECONDS
from snapshots.control_format import SnapshotDeleted
from staging.changes import Attributes, Content, Create, Kind, Mirror
from tests.appliance.program import SHARE, VaultRig
from tests.appliance.settable_clock import SettableClock

HOUR = 3600.0
DAY = 86_400.0
JUMPS = [-400 * DAY, -HOUR, HOUR, 400 * DAY]


class Watched:
    """A watch that can be ended and begun again, with the clock set another way meanwhile."""

    def __init__(self, folder: Path, clock: SettableClock) -> None:
        self.file, self.clock = folder / "clock", clock
        self.moved: list[float] = []
        self.start()

    def start(self) -> None:
        self.watch = ClockWatch(self.file, self.clock, self.moved.append)

    def jump(self, seconds: float) -> None:
        """Set the wall clock, and no other."""
        self.clock.time_ns += int(seconds * NANOSECONDS)

    def pass_(self, seconds: float) -> None:
        """Let time go by with the appliance looking at the clock every ten minutes."""
        while seconds > 0:
            step = min(seconds, 600.0)
            self.clock.move(step)
            self.watch.settled()
            seconds -= step


@pytest.fixture
def watched(tmp_path: Path, clock: SettableClock) -> Watched:
    return Watched(tmp_path, clock)


def test_a_clock_that_goes_as_it_should_is_believed_also_after_a_restart_and_a_night_off(watched: Watched) -> None:
    assert watched.watch.settled()
    watched.pass_(3 * DAY)
    watched.clock.move(0.9 * DAY)
    watched.start()
    assert watched.watch.settled() and watched.moved == []


@pytest.mark.parametrize("jump", JUMPS)
@pytest.mark.parametrize("while_off", [False, True])
def test_a_clock_that_jumps_is_believed_after_a_day_of_running(watched: Watched, jump: float, while_off: bool) -> None:
    watched.pass_(HOUR)
    watched.jump(jump)
    if while_off:
        watched.start()
        if abs(jump) <= DAY and jump > 0:
            return  # nobody can tell it from an hour off
    assert not watched.watch.settled() and [round(seconds / HOUR) for seconds in watched.moved] == [jump / HOUR]
    watched.pass_(DAY / 2)
    watched.start()
    watched.pass_(DAY / 2 - 601)
    assert not watched.watch.settled(), "a restart does not end the wait"
    watched.pass_(1800)
    assert watched.watch.settled()


def test_a_clock_that_is_set_right_again_waits_too(watched: Watched) -> None:
    watched.jump(400 * DAY)
    assert not watched.watch.settled()
    watched.pass_(HOUR)
    watched.jump(-400 * DAY)
    watched.pass_(DAY - HOUR)
    assert not watched.watch.settled()
    watched.pass_(2 * HOUR)
    assert watched.watch.settled()


def test_a_file_that_cannot_be_read_counts_as_a_clock_that_was_never_seen(watched: Watched) -> None:
    watched.file.write_bytes(watched.file.read_bytes()[:-5])
    watched.start()
    assert not watched.watch.settled() and watched.moved == []
    watched.pass_(DAY)
    assert watched.watch.settled()


def test_the_golden_line_is_read_and_written(tmp_path: Path, clock: SettableClock) -> None:
    page = Path(__file__).parents[2] / "docs" / "formats" / "clock.md"
    golden = page.read_text().split("```")[1].strip() + "\n"
    (tmp_path / "clock").write_text(golden)
    watched = Watched(tmp_path, clock)
    assert watched.file.read_text() == golden
    watched.pass_(HOUR - 1)
    assert not watched.watch.settled()
    watched.pass_(1)
    assert watched.watch.settled()


@pytest.fixture
def rig(root: Root, clock: SettableClock) -> Iterator[VaultRig]:
    made = VaultRig(root.path, SHARE, clock)  # type: ignore[arg-type]
    plain = Attributes(0o644, 0, 0, 0)
    made.send([b"f"], [Mirror(True), Create(0, Kind.FILE, plain, made.put(b"one")), Mirror(False)])
    made.fold.take_snapshot("first", "command", clock.now_ns())
    made.send([b"f"], [Content(0, made.put(b"two"))])
    made.fold.take_snapshot("second", "command", clock.now_ns())
    made.fold.fold_all()
    yield made
    made.close()


def labels(rig: VaultRig) -> list[str]:
    return [row.label for row in rig.reader.ledger.snapshots(deleted=True)]


def delete_first(rig: VaultRig, clock: SettableClock) -> None:
    (first, _) = rig.reader.ledger.snapshots()
    now, after = clock.now_ns(), clock.now_ns() + int(DAY) * NANOSECONDS
    rig.fold.order(lambda number, _: SnapshotDeleted(number, first.id, now, after, "not needed"))


@pytest.mark.parametrize("jump", JUMPS)
def test_a_jump_takes_nothing_before_its_delay_and_keeps_nothing_for_ever(
    rig: VaultRig, watched: Watched, clock: SettableClock, jump: float
) -> None:
    step = keep_step(rig._vault, settled=lambda: watched.watch.settled())
    delete_first(rig, clock)
    watched.jump(jump)
    step(SHARE)
    watched.pass_(DAY - 2 * HOUR)
    step(SHARE)
    assert labels(rig) == ["first", "second"]
    watched.jump(-jump)  # somebody sets it right
    watched.pass_(DAY + 2 * HOUR)
    step(SHARE)
    assert labels(rig) == ["second"]


def test_the_journal_outlives_a_clock_that_is_set_ahead(
    rig: VaultRig, watched: Watched, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1)
    for number in range(4):  # anchors are left by time: instants must have something to be replayed from
        watched.pass_(DAY / 3)
        rig.send([b"f"], [Content(0, rig.put(b"content %d" % number))])
        rig.fold.fold_all()
    rig.fold.take_snapshot("third", "command", clock.now_ns())
    rig.send([b"f"], [Content(0, rig.put(b"last"))])
    rig.fold.fold_all()
    step = keep_step(rig._vault, settled=lambda: watched.watch.settled())
    step(SHARE)
    oldest = min((rig._vault.root.journal / SHARE).glob("*.skj"))
    watched.jump(400 * DAY)
    step(SHARE)
    assert oldest.exists()
    watched.pass_(2 * DAY)
    step(SHARE)
    assert not oldest.exists()


def test_a_deleted_share_outlives_a_clock_that_is_set_ahead(rig: VaultRig, watched: Watched, clock: SettableClock) -> None:
    removed: list[str] = []
    step = keep_step(rig._vault, removed.append, lambda: watched.watch.settled())
    order_deletion(rig._vault.share(SHARE), clock.now_ns(), "moved")
    watched.jump(400 * DAY)
    step(SHARE)
    watched.pass_(HOUR)
    step(SHARE)
    assert removed == []
    watched.pass_(DAY)
    step(SHARE)
    assert removed == [SHARE], "an operator had a day to notice"


@pytest.mark.parametrize("jump", JUMPS)
def test_frames_and_snapshots_are_taken_whatever_the_clock_says_and_in_their_order(
    rig: VaultRig, clock: SettableClock, jump: float
) -> None:
    clock.time_ns += int(jump * NANOSECONDS)
    rig.send([b"f"], [Content(0, rig.put(b"three"))])
    third = rig.fold.take_snapshot("third", "command", clock.now_ns())
    clock.time_ns -= int(jump * NANOSECONDS)
    rig.send([b"f"], [Content(0, rig.put(b"four"))])
    fourth = rig.fold.take_snapshot("fourth", "command", clock.now_ns())
    rig.fold.fold_all()
    assert labels(rig) == ["first", "second", "third", "fourth"] and third.sequence < fourth.sequence
    assert rig._vault.share(SHARE).sealer.seal() is not None
    view = rig.reader.view(third.sequence)
    assert view.read(view.node_at(b"f").content, 0, 9) == b"three"  # type: ignore[arg-type]


@pytest.mark.parametrize("jump", [-400 * DAY, 400 * DAY])
def test_a_session_lasts_a_week_whatever_the_clock_does(
    database: ApplianceDatabase, audit: AuditLog, clock: SettableClock, chance: Chance, jump: float
) -> None:
    Accounts(database, clock, chance).add("anna", "admin", "correct horse battery", [])
    desk = SignInDesk(database, audit, clock, chance)
    clock.time_ns += int(jump * NANOSECONDS)
    secret = desk.sign_in("anna", "correct horse battery", "192.0.2.1")
    assert desk.actor_of_session(secret, "192.0.2.1") is not None
    clock.time_ns -= int(jump * NANOSECONDS)
    assert desk.actor_of_session(secret, "192.0.2.1") is None
    again = desk.sign_in("anna", "correct horse battery", "192.0.2.1")
    assert desk.actor_of_session(again, "192.0.2.1") is not None, "who signs in again is let in at once"


@pytest.mark.parametrize("jump", [-400 * DAY, 400 * DAY])
def test_a_code_lasts_a_day_whatever_the_clock_does(
    database: ApplianceDatabase, clock: SettableClock, chance: Chance, jump: float
) -> None:
    branches = Branches(database, clock, chance, "aa" * 32)
    clock.time_ns += int(jump * NANOSECONDS)
    code = branches.add("leeds").code
    clock.time_ns -= int(jump * NANOSECONDS)
    with pytest.raises(CodeRefused):
        branches.enroll(code)
    assert branches.enroll(branches.add("leeds").code).branch == "leeds", "a new one is given at once"
