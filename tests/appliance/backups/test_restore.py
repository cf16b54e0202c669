"""The appliance's own files lost or damaged, and put back from the store with the recovery key."""

import random
import shutil
from contextlib import closing
from pathlib import Path

import pytest

from appliance.accounts import Accounts
from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.backup_format import BackupDamaged, Kept
from appliance.backup_log import FILE
from appliance.backup_restore import BackupNotFound, Restored, restore_backup
from appliance.rebuilding import Recovery, rebuild
from appliance.recovery_key import RecoveryKey, RecoveryKeyWrong
from appliance.root import open_root
from appliance.sessions_db import SessionTable
from snapshots.chunk_store import ChunkStore
from staging.recipe_format import read_pieces
from tests.appliance.backups.backup_rig import BackupRig, users
from tests.appliance.settable_clock import SettableClock
from tests.faulty_files import FaultyFiles, Killed

LOST = ("db", "tls", "audit", "backup", "run", "stagekeeper.toml", "recovery-key.pub")


def own_files(folder: Path) -> dict[str, bytes]:
    paths = [*folder.glob("tls/*"), *folder.glob("*.*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def lose(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def restore(folder: Path, key: RecoveryKey, clock: SettableClock, number: int | None = None) -> Restored:
    own = rebuild(folder, lambda step: None, Recovery(key, number), clock).own_files
    assert own is not None
    return own


def put_back(rig: BackupRig, key: RecoveryKey, number: int | None = None, overwrite: bool = False) -> Restored:
    return restore_backup(rig.root, rig.store, key, rig.clock, number, overwrite)


def test_everything_but_packs_and_journal_comes_back(
    rig: BackupRig, folder: Path, key: RecoveryKey, clock: SettableClock
) -> None:
    rig.add_user("anna")
    rig.take()
    before, entries = own_files(folder), rig.audit.head()
    rig.close()
    lose(folder, *LOST)
    report = restore(folder, key, clock)
    assert (report.number, report.kept) == (1, [])
    assert own_files(folder) == before and users(folder) == {"admin", "anna"}
    with closing(AuditLog(folder / "audit", open_root(folder).store_id, clock)) as audit:
        verdict = audit.verify()
        ((last, *_), _) = audit.page(None, 10)
    assert verdict["intact"] and verdict["entries"] == entries[0] + 1
    assert last["action"] == "appliance.restored" and last["details"]["backup"] == 1
    again = BackupRig(folder, clock)
    assert [backup.number for backup in again.log.kept()] == [1], "the log is made again from the packs"
    assert again.take().number == 2
    again.close()


def test_an_index_and_a_log_that_are_lost_are_not_needed(
    rig: BackupRig, folder: Path, key: RecoveryKey, clock: SettableClock, tmp_path: Path
) -> None:
    rig.add_user("anna")
    rig.take()
    rig.close()
    shutil.copytree(folder / "packs", tmp_path / "copied")
    store = ChunkStore(tmp_path / "copied", tmp_path / "index.db", rig.root.store_id)
    lose(folder, "db", "tls", "backup")
    (folder / "db").mkdir()
    assert restore_backup(rig.root, store, key, clock).number == 1
    store.close()
    assert users(folder) == {"admin", "anna"}


def test_what_is_sound_stays_unless_all_is_asked_for(rig: BackupRig, folder: Path, key: RecoveryKey) -> None:
    rig.take()
    rig.add_user("later")
    (folder / "tls" / "key.pem").write_bytes(b"no key")
    settings = folder / "stagekeeper.toml"
    settings.write_text("[server]\nthreads = 8\n")
    report = put_back(rig, key)
    assert sorted(report.restored) == ["tls/certificate.pem", "tls/key.pem"]
    assert users(folder) == {"admin", "later"} and "threads = 8" in settings.read_text()
    assert (folder / "tls" / "key.pem.before-restore-1").read_bytes() == b"no key"
    rig.take()
    assert len(put_back(rig, key, 2).kept) == len(report.kept) + 2, "what was moved aside is not backed up"
    report = put_back(rig, key, 1, overwrite=True)
    assert report.kept == [] and users(folder) == {"admin"} and "threads = 8\n[" not in settings.read_text()
    rig.close()


def log_of_a_later_change(folder: Path) -> bytes:
    """Return the WAL of a database in which anna is renamed; the file itself stays as it was."""
    path = folder / "db" / "appliance.db"
    before = path.read_bytes()
    with closing(ApplianceDatabase(path)) as database, database.write():
        database.change("UPDATE account SET name = 'ghost' WHERE name = 'anna'")
    with closing(ApplianceDatabase(path)) as database:
        with database.write():
            database.change("UPDATE account SET created_at = 1")
        log = path.with_name(path.name + "-wal").read_bytes()
    path.write_bytes(before)
    assert log
    return log


@pytest.mark.parametrize("damage", ["missing", "empty", "torn", "one bit"])
def test_a_damaged_database_is_put_back_without_its_old_log(rig: BackupRig, folder: Path, key: RecoveryKey, damage: str) -> None:
    rig.add_user("anna")
    rig.take()
    rig.close()
    path = folder / "db" / "appliance.db"
    data = path.read_bytes()
    log = log_of_a_later_change(folder)
    wrong = {"missing": b"", "empty": b"", "torn": data[: len(data) // 2], "one bit": data[:100] + b"\xff" + data[101:]}
    path.write_bytes(wrong[damage])
    if damage == "missing":
        path.unlink()
    (folder / "db" / "appliance.db-wal").write_bytes(log)  # SQLite would play it into whatever stands there
    again = BackupRig(folder, rig.clock)
    assert "db/appliance.db" in put_back(again, key).restored
    assert users(folder) == {"admin", "anna"}
    again.close()


def test_a_segment_that_grew_stays_and_one_that_was_cut_comes_back(rig: BackupRig, folder: Path, key: RecoveryKey) -> None:
    rig.take()
    rig.add_user("later")
    grown = rig.audit.head()
    put_back(rig, key)
    rig.close()
    with closing(AuditLog(folder / "audit", rig.root.store_id, rig.clock)) as audit:
        assert audit.verify()["intact"] and audit.head()[0] == grown[0] + 1
    (segment,) = (folder / "audit").glob("*.audit")
    data = segment.read_bytes()
    segment.write_bytes(data[:80])
    again = BackupRig(folder, rig.clock)
    again.audit.close()
    assert put_back(again, key).restored == [f"audit/{segment.name}"]
    with closing(AuditLog(folder / "audit", rig.root.store_id, rig.clock)) as audit:
        assert audit.verify()["intact"]
    again.close()


def test_a_wrong_key_is_named_and_touches_nothing(rig: BackupRig, folder: Path, key: RecoveryKey) -> None:
    rig.take()
    lose(folder, "tls")
    with pytest.raises(RecoveryKeyWrong, match=key.public.id.hex()):
        put_back(rig, RecoveryKey(bytes(range(32))))
    assert not (folder / "tls").exists()
    rig.close()


def test_sessions_are_not_put_back(rig: BackupRig, folder: Path, key: RecoveryKey) -> None:
    with closing(ApplianceDatabase(folder / "db" / "appliance.db")) as database, database.write():
        SessionTable(database).add_session(b"digest", "admin", "192.0.2.1", 1)
    rig.take()
    put_back(rig, key, overwrite=True)
    with closing(ApplianceDatabase(folder / "db" / "appliance.db")) as database:
        assert database.rows("SELECT * FROM session") == []
        assert Accounts(database, rig.clock, bytes).all()[0].name == "admin"
    rig.close()


def flip(rig: BackupRig, digest: bytes, place: int = -1) -> None:
    """Change one bit of a chunk's packed bytes where they stand in a pack."""
    location = rig.store._index.locations([digest])[digest]  # type: ignore[list-item,index]
    path = rig.store._packs.path(location.pack)
    data = bytearray(path.read_bytes())
    data[location.end - 1 if place < 0 else location.end - location.stored_bytes + place] ^= 1
    path.write_bytes(data)


def take_two(rig: BackupRig) -> tuple[Kept, Kept]:
    first = rig.take()
    rig.add_user("anna")
    return first, rig.take()


@pytest.mark.parametrize("part", ["head", "body"])
@pytest.mark.parametrize("log", ["log", "no log"])
def test_damage_is_named_and_an_older_backup_is_used_when_asked(
    rig: BackupRig, folder: Path, key: RecoveryKey, part: str, log: str
) -> None:
    (folder / "tls" / "chain.pem").write_bytes(random.Random(1).randbytes(3_000_000))
    _, second = take_two(rig)
    *_, last = read_pieces(second.body, rig.store.node)
    flip(rig, second.head if part == "head" else last.digest)
    if log == "no log":
        (folder / "backup" / FILE).unlink()
    lose(folder, "tls")
    (folder / "db" / "appliance.db").unlink()
    if (part, log) == ("head", "no log"):  # nobody knows of it any more
        assert put_back(rig, key).number == 1
    else:
        with pytest.raises(BackupDamaged, match="backup 2 cannot be restored") as raised:
            put_back(rig, key)
        assert "--backup 1" in raised.value.remedy
        assert not (folder / "db" / "appliance.db").exists(), "nothing is touched before all of it was read"
        assert put_back(rig, key, 1).number == 1
    assert users(folder) == {"admin"}
    rig.close()


def test_a_backup_that_does_not_exist_is_named(rig: BackupRig, key: RecoveryKey) -> None:
    with pytest.raises(BackupNotFound, match="no backup"):
        put_back(rig, key)
    take_two(rig)
    with pytest.raises(BackupNotFound) as raised:
        put_back(rig, key, 7)
    assert "1, 2" in raised.value.remedy
    rig.close()


def test_a_restore_that_is_cut_off_anywhere_goes_on(
    rig: BackupRig, folder: Path, key: RecoveryKey, clock: SettableClock, tmp_path: Path
) -> None:
    rig.add_user("anna")
    rig.take()
    before, audited = own_files(folder), {path.name: path.read_bytes() for path in (folder / "audit").iterdir()}
    rig.close()
    lose(folder, *LOST)
    for at in range(1, 200):
        copy = tmp_path / str(at)
        shutil.copytree(folder, copy)
        files = FaultyFiles(at, "kill")
        try:
            rebuild(copy, lambda step: None, Recovery(key), clock, files)
        except Killed:
            files.lose_unsynced()
        assert all(own_files(copy).get(name, data) == data for name, data in before.items()), "whole or not at all"
        rebuild(copy, lambda step: None, Recovery(key), clock)
        assert {name: data for name, data in own_files(copy).items() if name in before} == before
        assert users(copy) == {"admin", "anna"}
        assert all((copy / "audit" / name).read_bytes().startswith(data) for name, data in audited.items())
        shutil.rmtree(copy)
        if not files.fired:
            break
    assert at > 20, "the sweep must meet the operations of a restore"
