"""Backups as people and the night ask for them: commands, rights, audit, the built-in schedule, the figure."""

import shutil
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from appliance.backup_restore import restore_backup
from appliance.cli.main import main
from appliance.founding import found_appliance
from appliance.parts import make_parts
from appliance.recovery_key import RecoveryKeyMissing, load_public_key, read_recovery_key
from appliance.root import Root, open_root
from appliance.schedules import ScheduleBuiltIn
from appliance.settings import DEFAULT_FILE
from appliance.wiring import NIGHTLY_BACKUP, AccountsLost, Appliance, Machine, open_appliance
from core.errors import Refused
from snapshots.chunk_store import ChunkStore
from tests.appliance.conftest import NOTHING_SET, PASSWORD, Terminal
from tests.appliance.memory_parts import MemoryParts
from tests.appliance.settable_clock import SettableClock
from tests.faulty_files import FaultyFiles
from web.errors import AccessDenied
from web.operations import Actor

ADMIN, OPERATOR, AUDITOR, USER = (Actor(role, role) for role in ("admin", "operator", "auditor", "user"))
OWNER = Actor("owner", "owner")


def audited(appliance: Appliance) -> list[tuple[str, str, str]]:
    entries, _ = appliance.plumbing.audit.page(None, 100)
    return [(entry["account"], entry["action"], entry["outcome"]) for entry in reversed(entries)]


def test_init_shows_the_recovery_key_once_and_keeps_only_its_public_part(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    words = ["init", str(tmp_path / "new"), "--admin-password-file", str(tmp_path / "password")]
    assert main([*words, "--json"]) == 0
    shown = msgspec.json.decode(capfd.readouterr().out)["recovery_key"]
    key = read_recovery_key(shown)
    assert load_public_key(tmp_path / "new" / "recovery-key.pub") == key.public
    for path in (tmp_path / "new").rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert key.data not in data and key.data.hex().encode() not in data and shown.encode() not in data
    words[1] = str(tmp_path / "other")
    assert main(words) == 0
    out = capfd.readouterr().out
    lines = [line.strip() for line in out.splitlines() if line.startswith("    ")]
    assert read_recovery_key("".join(lines)).public == load_public_key(tmp_path / "other" / "recovery-key.pub")


def test_commands(terminal: Terminal, root: Root) -> None:
    assert terminal.json("backup", "list") == {"backups": [], "next": None}
    taken = terminal.json("backup", "run")
    assert set(taken) == {"number", "taken_at", "size_bytes", "key", "digest"} and taken["number"] == 1
    assert terminal.json("backup", "list")["backups"] == [taken]
    made = terminal.json("recovery-key", "new")
    assert load_public_key(root.recovery_key_file) == read_recovery_key(made["recovery_key"]).public
    again = terminal.json("backup", "run")
    assert (again["number"], again["key"]) == (2, made["key"]) != (2, taken["key"])
    assert [row["number"] for row in terminal.json("backup", "list")["backups"]] == [2, 1]
    _, out, _ = terminal.run("backup", "list")
    assert made["key"].encode() in out


def test_an_older_appliance_without_a_key_gets_one_by_command(terminal: Terminal, root: Root) -> None:
    root.recovery_key_file.unlink()
    code, error = terminal.fail("backup", "run")
    assert (code, error["type"]) == (3, "recovery_key_missing") and "recovery-key new" in error["remedy"]
    _, out, _ = terminal.run("recovery-key", "new")
    assert b"shown this once" in out
    assert terminal.json("backup", "run")["number"] == 1


def test_who_may_do_what_and_all_of_it_is_audited(appliance: Appliance) -> None:
    desk = appliance.operations.backups
    with pytest.raises(AccessDenied):
        next(desk.run(AUDITOR))
    with pytest.raises(AccessDenied):
        desk.list(USER)
    with pytest.raises(AccessDenied):
        desk.new_recovery_key(ADMIN)
    with pytest.raises(AccessDenied):
        desk.drop(OPERATOR, 1)
    *steps, taken = desk.run(OPERATOR)
    assert steps and steps[-1].done_bytes == steps[-1].total_bytes
    assert desk.list(AUDITOR) == [taken]
    made = desk.new_recovery_key(OWNER)
    assert audited(appliance)[1:] == [
        ("auditor", "backup.begin", "refused"),
        ("admin", "recovery_key.new", "refused"),
        ("operator", "backup.drop", "refused"),
        ("operator", "backup.begin", "done"),
        ("operator", "backup.end", "done"),
        ("owner", "recovery_key.new", "done"),
    ]
    entries, _ = appliance.plumbing.audit.page(None, 1)
    assert made.recovery_key not in str(entries) and entries[0]["what"] == made.key


def test_the_night_backs_up_once_a_date_and_catches_up(appliance: Appliance, clock: SettableClock) -> None:
    schedules = appliance.scheduler._schedules
    row = schedules.get(NIGHTLY_BACKUP)
    assert schedules.shown(row).next_run_at == "2026-11-23T02:00:00.000000Z"
    assert schedules.claim(NIGHTLY_BACKUP) is None
    clock.set("2026-11-26T01:00:00Z")
    claimed = schedules.claim(NIGHTLY_BACKUP)
    assert claimed is not None, "three nights were missed"
    assert schedules.claim(NIGHTLY_BACKUP) is None, "they are one run"
    appliance.operations.administration.run_schedule(OPERATOR, NIGHTLY_BACKUP)
    (taken,) = appliance.operations.backups.list(ADMIN)
    assert taken.taken_at.startswith("2026-11-26T01:00:00")
    assert ("schedule:@backup", "backup.end", "done") in audited(appliance)


def test_a_night_without_a_key_says_so_in_its_schedule(appliance: Appliance, root: Root) -> None:
    root.recovery_key_file.unlink()
    administration = appliance.operations.administration
    with pytest.raises(RecoveryKeyMissing):
        administration.run_schedule(OPERATOR, NIGHTLY_BACKUP)
    shown, *_ = administration.list_schedules(OPERATOR)
    assert shown["last_outcome"] == "failed" and "no recovery key" in shown["last_message"]


def test_the_nightly_schedule_can_be_switched_off_but_neither_removed_nor_replaced(terminal: Terminal) -> None:
    code, error = terminal.fail("schedule", "delete", NIGHTLY_BACKUP)
    assert (code, error["type"]) == (4, "schedule_built_in")
    assert terminal.fail("schedule", "add", NIGHTLY_BACKUP, "--cron", "hourly", "--action", "snapshot", "--share", "a/b")[0] == 4
    assert terminal.json("schedule", "disable", NIGHTLY_BACKUP)["enabled"] is False
    assert terminal.json("schedule", "list")["schedules"][0]["enabled"] is False, "and stays so when opened again"
    assert terminal.json("schedule", "enable", NIGHTLY_BACKUP)["enabled"] is True


def test_the_zone_of_the_night_is_a_setting(terminal: Terminal, root: Root) -> None:
    text = DEFAULT_FILE.replace('# time_zone = "UTC"  ', 'time_zone = "Asia/Tokyo"  #')
    root.settings_file.write_text(text)
    assert terminal.json("schedule", "list")["schedules"][0]["tz"] == "Asia/Tokyo"
    root.settings_file.write_text(text.replace("Asia/Tokyo", "Asia/Nowhere"))
    code, error = terminal.fail("schedule", "list")
    assert (code, error["type"]) == (4, "zone_unknown")


def test_nothing_of_the_administration_deletes_it(appliance: Appliance) -> None:
    with pytest.raises(ScheduleBuiltIn):
        appliance.operations.administration.delete_schedule(ADMIN, NIGHTLY_BACKUP)
    assert issubclass(ScheduleBuiltIn, Refused)


def test_the_age_of_the_newest_backup_is_a_figure_and_no_reason_to_refuse_data(
    root: Root, clock: SettableClock, chance: object
) -> None:
    with ExitStack() as stack:
        machine = Machine(clock, chance, FaultyFiles())  # type: ignore[arg-type]
        appliance = open_appliance(root.path, NOTHING_SET, make_parts, stack, machine=machine)

        def answered() -> str:
            return appliance.app.test_client().get("/metrics").get_data(as_text=True)

        assert "stagekeeper_backup_age_seconds +Inf\n" in answered()
        list(appliance.operations.backups.run(OWNER))
        clock.move(90)
        assert "stagekeeper_backup_age_seconds 90\n" in answered()
        assert appliance.app.test_client().get("/readyz").status_code == 200


def test_a_damaged_log_is_told_in_the_audit_log(root: Root, terminal: Terminal) -> None:
    terminal.json("backup", "run")
    log = root.backup / "backups.skl"
    log.write_bytes(log.read_bytes()[:-1])
    assert [row["number"] for row in terminal.json("backup", "list")["backups"]] == [1]
    (entry,) = [row for row in terminal.json("audit", "list")["audit"] if row["action"] == "backup.log_made_again"]
    assert "does not check from byte" in entry["what"] and entry["details"] == {"backups": 1}


def test_without_its_database_an_appliance_does_not_begin_anew(root: Root, parts: MemoryParts, terminal: Terminal) -> None:
    (root.db / "appliance.db").unlink()
    with ExitStack() as stack, pytest.raises(AccountsLost, match="missing"):
        open_appliance(root.path, NOTHING_SET, parts, stack)
    code, error = terminal.fail("user", "list")
    assert (code, error["type"]) == (6, "accounts_lost") and "--recovery-key-file" in error["remedy"]
    assert not (root.db / "appliance.db").exists()


def test_without_the_key_accounts_begin_anew_from_another_appliance(
    tmp_path: Path, terminal: Terminal, root: Root, clock: SettableClock
) -> None:
    other = found_appliance(tmp_path / "other", [], PASSWORD, clock).root
    for lost in (root.db / "appliance.db", root.tls / "certificate.pem", root.tls / "key.pem"):
        lost.unlink()
    for name in ("tls/certificate.pem", "tls/key.pem", "stagekeeper.toml", "recovery-key.pub", "db/appliance.db"):
        shutil.copy(other.path / name, root.path / name)
    assert [row["name"] for row in terminal.json("user", "list")["users"]] == ["admin"]
    assert terminal.json("backup", "run")["number"] == 1


def test_what_a_command_backed_up_can_be_put_back(terminal: Terminal, root: Root, clock: SettableClock) -> None:
    key = read_recovery_key(terminal.json("recovery-key", "new")["recovery_key"])
    terminal.json("branch", "add", "leeds")
    terminal.json("backup", "run")
    (root.db / "appliance.db").unlink()
    store = ChunkStore(root.packs, root.db / "index.db", root.store_id)
    assert restore_backup(open_root(root.path), store, key, clock).restored == ["db/appliance.db"]
    store.close()
    assert [row["name"] for row in terminal.json("branch", "list")["branches"]] == ["leeds"]
