"""Collect and backups: what the log names stays, what it let go of goes, also when the log is made again."""

from pathlib import Path

from appliance.backup_keeping import LAST
from appliance.backup_log import FILE
from appliance.backup_restore import restore_backup
from appliance.backup_store import backup_roots, find_backups
from appliance.recovery_key import RecoveryKey
from snapshots.collect import Collector
from snapshots.mark import Roots
from tests.appliance.backups.backup_rig import BackupRig, users
from tests.appliance.settable_clock import SettableClock
from tests.snapshots.collect_rig import HOUR, ignore, place, stored


def collect_all(rig: BackupRig, clock: SettableClock) -> None:
    """Collect until what is garbage now is gone."""
    for _ in range(4):
        clock.move(73 * HOUR)
        roots = Roots([], [], [(int(kind), digest) for kind, digest in backup_roots(rig.log.kept())])
        Collector(rig.store, place(rig.root.path)).run(lambda roots=roots: roots, lambda: False, ignore)  # type: ignore[misc]


def test_kept_backups_stay_and_dropped_ones_go(folder: Path, key: RecoveryKey, clock: SettableClock) -> None:
    rig = BackupRig(folder, clock)
    taken = []
    for _ in range(LAST + 3):
        taken.append(rig.take())
        clock.move(24 * HOUR)
    rig.add_user("anna")
    taken.append(rig.take())
    kept = {backup.number for backup in rig.log.kept()}
    gone = [backup for backup in taken if backup.number not in kept]
    assert gone
    collect_all(rig, clock)
    left = stored(rig.store)
    assert not {backup.head for backup in gone} & left, "what nothing names is gone"
    assert [backup.number for backup in find_backups(rig.store)] == sorted(kept)
    (folder / "db" / "appliance.db").unlink()
    for number in sorted(kept):
        assert restore_backup(rig.root, rig.store, key, clock, number, overwrite=True).number == number
    assert users(folder) == {"admin", "anna"}
    rig.close()


def test_a_log_made_again_names_no_backup_that_was_half_collected(folder: Path, key: RecoveryKey, clock: SettableClock) -> None:
    rig = BackupRig(folder, clock)
    first, second = rig.take(), rig.take()
    rig.log.drop(first.number)
    clock.move(73 * HOUR)
    roots = Roots([], [], [(int(kind), digest) for kind, digest in backup_roots([second])])
    Collector(rig.store, place(folder)).run(lambda: roots, lambda: False, ignore)  # condemned, not removed yet
    rig.close()
    (folder / "backup" / FILE).unlink()
    again = BackupRig(folder, clock)
    assert [backup.number for backup in again.log.kept()] == [second.number]
    assert again.take().number == second.number + 1
    collect_all(again, clock)
    assert restore_backup(again.root, again.store, key, clock, overwrite=True).number == second.number + 1
    again.close()
