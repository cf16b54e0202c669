"""A burst is told in a share's state and among the figures until somebody releases the hold, and enters the audit log."""

import errno
import itertools
from pathlib import Path

import pytest

from appliance.alerts import burst_entries
from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.ballast import Ballast
from appliance.folding import fold_step, keep_step
from appliance.health_desk import HealthDesk
from appliance.keeping_desk import KeepingDesk
from appliance.lag import lag_alerts
from appliance.rights import Rights
from appliance.root import Root
from appliance.schedules import Schedules
from appliance.share_desk import ShareDesk
from appliance.share_worker import ShareWorker
from appliance.vault import Vault
from appliance.workers import Workers
from core.clock import NANOSECONDS
from snapshots.burst import Burst
from snapshots.control_format import SnapshotTaken
from staging.changes import Attributes, Change, Create, Kind, Mirror, Unlink
from staging.frame_format import seal_frame
from staging.protocol import Open
from tests.appliance.memory_parts import SHARE
from tests.appliance.settable_clock import SettableClock
from web.operations import Actor

ADMIN = Actor("admin", "admin")
PLAIN = Attributes(0o644, 0, 0, 7)
NAMES = [b"%d" % number for number in range(200)]
FILES = [Mirror(True), *(Create(number, Kind.FILE, PLAIN) for number in range(200)), Mirror(False)]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    for part in ("journal", "packs", "db", "audit"):
        (tmp_path / part).mkdir()
    counter = itertools.count()
    return Vault(Root(tmp_path, bytes(16)), SettableClock(), lambda size: next(counter).to_bytes(size, "big"))


def send(vault: Vault, changes: list[Change], folds: bool = True) -> None:
    opened = vault.register(SHARE, b"leeds/finance---")
    session = opened.receiver.open(Open(opened.receiver.share_id, 1)).session
    position = opened.journal.position
    frame = seal_frame(opened.receiver.share_id, 1, position.sequence + 1, position.hash, NAMES, changes)
    opened.receiver.frames(session, frame)
    if folds:
        opened.fold.fold_all()


def test_an_alert_lasts_until_the_hold_is_released(vault: Vault, database: ApplianceDatabase, tmp_path: Path) -> None:
    rights, audit = Rights(lambda account: []), AuditLog(tmp_path / "audit", bytes(16), vault.clock)
    worker = ShareWorker("keep", vault.names, keep_step(vault))
    ballast = Ballast([], 0, 0)
    shares = ShareDesk(vault, worker, rights, audit, ballast)
    health = HealthDesk(vault, Workers(worker, worker, worker, worker), lambda: 0.0, ballast, lambda: iter(()))
    keeping = KeepingDesk(vault, worker, rights, audit, Schedules(database, vault.clock))

    def told() -> tuple[str, str, float]:
        status = shares.share_status(ADMIN, SHARE)
        (alerts,) = (value for name, _, _, value in health.metrics() if name == "stagekeeper_alerts")
        return status.state, status.reason, alerts

    send(vault, FILES)
    assert told() == ("good", "", 0)
    send(vault, [Unlink(number) for number in range(150)])
    (taken,) = shares.list_snapshots(ADMIN, SHARE)
    label = "before at least 150 of 200 files were deleted"
    assert (taken.trigger, taken.label) == ("burst", label)
    assert told() == ("good", f"snapshot {taken.id} is held: {label}", 1)
    keeping.release(ADMIN, SHARE, taken.id, "burst")
    assert told() == ("good", "", 0)
    audit.close()
    vault.close()


@pytest.mark.parametrize("jump_seconds", [0.0, 400 * 86_400.0, -3600.0])
def test_how_long_changes_wait_does_not_follow_the_wall_clock(vault: Vault, tmp_path: Path, jump_seconds: float) -> None:
    clock = vault.clock
    assert isinstance(clock, SettableClock)
    worker = ShareWorker("keep", vault.names, keep_step(vault))
    audit = AuditLog(tmp_path / "audit", bytes(16), clock)
    shares = ShareDesk(vault, worker, Rights(lambda account: []), audit, Ballast([], 0, 0), lag_alerts)
    told = lambda: [(row.lag_seconds, row.alerts) for row in shares.list_shares(ADMIN)]  # noqa: E731
    send(vault, FILES)
    clock.move(86_400)  # a quiet day is no lag
    clock.time_ns += int(jump_seconds * NANOSECONDS)
    send(vault, [Unlink(1)], folds=False)
    clock.time_ns -= int(jump_seconds * NANOSECONDS)  # the time in the journal stays ahead
    assert told() == [(0.0, [])]
    clock.move(1800)
    send(vault, [Unlink(2)], folds=False)
    assert told() == [(1800.0, [])]
    clock.move(1860)
    late = "changes wait for 61 minutes to be read in, longer than the 1h of the policy (thresholds.lag)"
    assert told() == [(3660.0, [late])]
    vault.share(SHARE).fold.fold_all()
    assert told() == [(0.0, [])]
    audit.close()
    vault.close()


def test_when_changes_came_takes_no_room_once_they_are_folded(vault: Vault) -> None:
    clock = vault.clock
    assert isinstance(clock, SettableClock)
    step = fold_step(vault)
    for number in range(50):
        clock.move(10)
        send(vault, [Mirror(number % 2 == 0)], folds=False)
        step(SHARE)
    assert len(vault.share(SHARE).journal.arrivals._marks) == 0  # nothing outside tells what is kept in memory
    vault.close()


def test_a_burst_enters_the_audit_log_once_with_its_counts(vault: Vault, tmp_path: Path) -> None:
    audit = AuditLog(tmp_path / "audit", bytes(16), vault.clock)
    vault.note_burst = burst_entries(audit)
    send(vault, FILES)
    send(vault, [Unlink(number) for number in range(150)])
    catalogue = vault.share(SHARE).fold.path
    vault.close()
    for path in catalogue.parent.glob(f"{catalogue.name}*"):
        path.unlink()
    vault.share(SHARE).fold.fold_all()  # made again from the journal: the burst is met once more
    (entry,), _ = audit.page(None, 10)
    (taken,) = vault.share(SHARE).reader.ledger.snapshots()
    assert (entry["account"], entry["action"], entry["what"]) == ("stagekeeper", "snapshot.burst", f"{SHARE}@{taken.id}")
    counts = {"files": 200, "deleted": 150, "rewritten": 0, "renamed": 0}
    assert entry["details"] == {"sequence": taken.sequence, "label": taken.label, **counts}
    audit.close()
    vault.close()


def test_no_burst_is_held_without_its_entry(vault: Vault) -> None:
    def full(share: str, burst: Burst, taken: SnapshotTaken) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    vault.note_burst = full
    send(vault, FILES)
    with pytest.raises(OSError, match="no space"):
        send(vault, [Unlink(number) for number in range(150)])
    assert vault.share(SHARE).reader.ledger.snapshots() == []
    noted: list[int] = []
    vault.note_burst = lambda share, burst, taken: noted.append(taken.id)
    vault.share(SHARE).fold.fold_all()
    assert [row.id for row in vault.share(SHARE).reader.ledger.snapshots()] == noted
    vault.close()
