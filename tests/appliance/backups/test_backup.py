"""Taking backups: what stands in them, what is kept, damage of the log, crashes at every step."""

import itertools
import shutil
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.backup import BackupBusy
from appliance.backup_archive import ArchiveReader
from appliance.backup_format import Kept
from appliance.backup_keeping import LAST, MONTHS, surplus
from appliance.backup_log import FILE
from appliance.backup_restore import restore_backup
from appliance.backup_store import backup_roots, read_archive, read_head
from appliance.recovery_key import RecoveryKey, RecoveryKeyMissing
from core.clock import NANOSECONDS
from core.database import open_database
from core.digest import Digest
from core.errors import StagekeeperError
from staging.chunk_format import ChunkKind
from tests.appliance.backups.backup_rig import BackupRig, users
from tests.appliance.settable_clock import SettableClock
from tests.faulty_files import FaultyFiles, Killed

pytestmark = pytest.mark.in_memory

DAY_NS = 86_400 * NANOSECONDS
FIRST_NIGHT = datetime(2026, 1, 1, 2, tzinfo=UTC)


def contents(rig: BackupRig, key: RecoveryKey, backup: Kept) -> dict[str, bytes]:
    archive = ArchiveReader(read_archive(rig.store, read_head(rig.store, Digest(backup.head)), key))
    return {member.name: b"".join(blocks) for member, blocks in archive.files()}


def test_a_backup_holds_the_appliances_own_files_and_none_of_them_in_the_clear(
    rig: BackupRig, folder: Path, key: RecoveryKey
) -> None:
    with closing(open_database(folder / "db" / "inventory.db")) as inventory:
        inventory.execute("CREATE TABLE cartridge (barcode)")
    found_there = contents(rig, key, rig.take())
    (segment,) = (folder / "audit").glob("*.audit")
    assert set(found_there) == {
        "db/appliance.db", "db/inventory.db", "stagekeeper.toml", "recovery-key.pub", "tls/certificate.pem", "tls/key.pem",
        f"audit/{segment.name}",
    }  # fmt: skip
    secret = (folder / "tls" / "key.pem").read_bytes()
    assert found_there["tls/key.pem"] == secret
    packed = b"".join(path.read_bytes() for path in (folder / "packs").rglob("*.skp"))
    assert secret[40:80] not in packed and b"PRIVATE" not in packed and b"account" not in packed
    assert not list((folder / "backup" / "taking").iterdir()), "the copies are gone"
    rig.close()


def test_a_database_is_backed_up_with_what_stands_in_its_log(rig: BackupRig, folder: Path, key: RecoveryKey) -> None:
    with closing(open_database(folder / "db" / "inventory.db")) as inventory:
        inventory.execute("CREATE TABLE cartridge (barcode)")
        inventory.execute("INSERT INTO cartridge VALUES ('SK0001L9')")
        copy = contents(rig, key, rig.take())["db/inventory.db"]
    (folder / "copy").write_bytes(copy)
    with closing(open_database(folder / "copy")) as copied:
        assert list(copied.query("SELECT barcode FROM cartridge")) == [{"barcode": "SK0001L9"}]
    rig.close()


def test_without_a_recovery_key_nothing_is_backed_up(rig: BackupRig, folder: Path) -> None:
    (folder / "recovery-key.pub").unlink()
    with pytest.raises(RecoveryKeyMissing) as raised:
        rig.take()
    assert "recovery-key new" in raised.value.remedy and rig.log.kept() == []
    rig.close()


def test_two_backups_at_once_are_refused(rig: BackupRig) -> None:
    refused: list[BackupBusy] = []

    def take_another(done: int, total: int) -> None:
        with pytest.raises(BackupBusy) as raised:
            rig.take()
        refused.append(raised.value)

    rig.backups.take(take_another)
    assert refused and [backup.number for backup in rig.log.kept()] == [1]
    rig.close()


def test_every_root_of_a_kept_backup_is_named_for_collect(rig: BackupRig) -> None:
    taken = [rig.take(), rig.take()]
    roots = list(backup_roots(rig.log.kept()))
    assert {digest for kind, digest in roots if kind is ChunkKind.SEAL} == {backup.head for backup in taken}
    assert {digest for kind, digest in roots if kind is not ChunkKind.SEAL} == {b.body.digest for b in taken if b.body}
    rig.close()


def kept_at(number: int, moment: datetime) -> Kept:
    return Kept(number, bytes(32), int(moment.timestamp()) * NANOSECONDS, bytes(8), None)


def nightly(count: int) -> list[Kept]:
    """Return what is kept after that many nights."""
    kept: list[Kept] = []
    for number in range(1, count + 1):
        kept.append(kept_at(number, FIRST_NIGHT + timedelta(days=number - 1)))
        dropped = surplus(kept)
        kept = [backup for backup in kept if backup not in dropped]
    return kept


def test_the_last_week_and_the_first_of_each_month_of_a_year_are_kept() -> None:
    assert [backup.number for backup in nightly(5)] == [1, 2, 3, 4, 5]
    days = [FIRST_NIGHT + timedelta(days=backup.number - 1) for backup in nightly(700)]
    assert days[-LAST:] == [FIRST_NIGHT + timedelta(days=day) for day in range(693, 700)]
    assert [(day.year, day.month, day.day) for day in days[:-LAST]] == [(2027, month, 1) for month in range(1, 12)]


def test_a_clock_that_was_wrong_for_a_night_costs_one_month_at_most() -> None:
    kept = nightly(400)
    wrong = kept_at(401, datetime(2043, 5, 5, tzinfo=UTC))
    assert len(surplus([*kept, wrong])) <= 2
    assert wrong not in surplus([*kept, wrong])


@given(st.lists(st.integers(0, 4_000_000_000), min_size=1, max_size=60))
def test_what_is_kept_is_bounded_and_never_without_the_newest(seconds: list[int]) -> None:
    taken = [Kept(n, bytes(32), when * NANOSECONDS, bytes(8), None) for n, when in enumerate(seconds, 1)]
    dropped = surplus(taken)
    staying = [backup for backup in taken if backup not in dropped]
    assert taken[-LAST:] == staying[-len(taken[-LAST:]) :] and len(staying) <= LAST + MONTHS
    assert surplus(staying) == []


def test_dropped_backups_are_gone_from_the_log_after_a_restart(rig: BackupRig, folder: Path, clock: SettableClock) -> None:
    for _ in range(LAST + 3):
        rig.take()
        clock.time_ns += DAY_NS
    kept = [backup.number for backup in rig.log.kept()]
    assert len(kept) < LAST + 3 and kept[-LAST:] == list(range(4, LAST + 4))
    rig.close()
    again = BackupRig(folder, clock)
    assert [backup.number for backup in again.log.kept()] == kept and again.log.next_number == LAST + 4
    again.close()


def test_a_log_with_any_bit_changed_is_made_again_from_the_store(rig: BackupRig, folder: Path, clock: SettableClock) -> None:
    rig.take()
    rig.take()
    rig.close()
    path = folder / "backup" / FILE
    data = path.read_bytes()
    for place in itertools.chain(range(0, len(data), 13), [len(data) - 1]):
        path.write_bytes(data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :])
        again = BackupRig(folder, clock)
        assert [backup.number for backup in again.log.kept()] == [1, 2]
        assert again.log.made_again, place
        again.close()
        assert path.read_bytes() == data


def play(folder: Path, clock: SettableClock, files: FaultyFiles) -> list[Kept]:
    """Take two backups with a change between them; return those that were answered."""
    answered: list[Kept] = []
    try:
        rig = BackupRig(folder, clock, files)
        answered.append(rig.take())
        rig.add_user("anna")
        answered.append(rig.take())
        rig.close()
    except (Killed, StagekeeperError, OSError):
        pass
    return answered


LONGER = [pytest.param(fault, marks=pytest.mark.long) for fault in ("kill_after", "EIO", "ENOSPC")]


@pytest.mark.parametrize("fault", ["kill", "torn", *LONGER])
@pytest.mark.parametrize("power_cut", [False, True], ids=["process-killed", "power-cut"])
def test_a_backup_that_was_answered_survives_a_fault_at_any_later_step(
    tmp_path: Path, key: RecoveryKey, folder: Path, clock: SettableClock, fault: str, power_cut: bool
) -> None:
    whole = FaultyFiles()
    shutil.copytree(folder, tmp_path / "whole")
    assert len(play(tmp_path / "whole", clock, whole)) == 2
    fired = 0
    for at in range(1, whole.count + 1):
        copy = tmp_path / str(at)
        shutil.copytree(folder, copy)
        files = FaultyFiles(at, fault)
        answered = play(copy, clock, files)
        if power_cut:
            files.lose_unsynced()
        fired += files.fired
        rig = BackupRig(copy, clock)
        kept = {backup.number: backup for backup in rig.log.kept()}
        assert all(kept[backup.number] == backup for backup in answered)
        for backup in kept.values():
            assert "db/appliance.db" in contents(rig, key, backup), "what the log names is whole"
        taken = rig.take()
        assert taken.number > max(kept, default=0)
        (copy / "db" / "appliance.db").unlink()
        assert restore_backup(rig.root, rig.store, key, clock).number == taken.number
        assert "admin" in users(copy)
        rig.close()
        shutil.rmtree(copy)
    assert fired >= whole.count - 5, "the sweep must really meet the operations"
