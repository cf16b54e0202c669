"""The appliance's folder: made whole, found again, never replaced by an empty one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.founding import found_appliance
from appliance.root import (
    NotTheOwner,
    PartForeign,
    PartMissing,
    Root,
    RootNotFound,
    RootNotInitialised,
    RootOccupied,
    check_owner,
    init_root,
    open_root,
)
from appliance.root_lock import RootLock, RootLocked
from appliance.settings import DEFAULT_FILE, Environment, Settings, SettingsUnreadable, load_settings, read_environment
from tests.appliance.conftest import NOTHING_SET, PASSWORD
from tests.appliance.settable_clock import SettableClock

PARTS = ["journal", "packs", "db", "audit"]


def test_a_new_folder_is_private_and_opens_with_its_id(root: Root) -> None:
    assert root.path.stat().st_mode & 0o777 == 0o700
    assert root.run.stat().st_mode & 0o777 == 0o700
    assert (root.tls / "key.pem").stat().st_mode & 0o777 == 0o600
    assert open_root(root.path) == root and len(root.store_id) == 16


def test_what_does_not_exist_and_what_is_no_store_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(RootNotFound):
        open_root(tmp_path / "nothing")
    with pytest.raises(RootNotInitialised, match="marker"):
        open_root(tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RootNotFound):
        open_root(tmp_path / "file")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_whose_mount_is_missing_is_named_and_nothing_takes_its_place(root: Root, part: str) -> None:
    (root.path / part).rename(root.path / "elsewhere")
    (root.path / part).mkdir()
    with pytest.raises(PartMissing, match=part):
        open_root(root.path)
    assert list((root.path / part).iterdir()) == []


@pytest.mark.parametrize("part", PARTS)
def test_a_part_of_another_store_is_refused(root: Root, part: str) -> None:
    other = init_root(root.path.with_name("other"), b"x" * 16)
    marker = (other.path / part / ".store-id").read_bytes()
    (root.path / part / ".store-id").write_bytes(marker)
    with pytest.raises(PartForeign, match="another store"):
        open_root(root.path)


@pytest.mark.parametrize("text", ["", "x", "stagekeeper-store 1 00 00", "stagekeeper-store 1 " + "00" * 16 + " 00"])
def test_a_damaged_marker_is_refused(root: Root, text: str) -> None:
    (root.path / "store-id").write_text(text)
    with pytest.raises(PartForeign):
        open_root(root.path)


def test_a_marker_of_a_newer_release_is_refused_by_name(root: Root) -> None:
    (root.path / "store-id").write_text(f"stagekeeper-store 2 {root.store_id.hex()} 00\n")
    with pytest.raises(PartForeign, match="newer release"):
        open_root(root.path)


def test_a_store_is_never_made_over_something(root: Root, tmp_path: Path) -> None:
    for path in (root.path, tmp_path):
        with pytest.raises(RootOccupied):
            init_root(path, b"x" * 16)
    (tmp_path / "fresh" / "lost+found").mkdir(parents=True)
    init_root(tmp_path / "fresh", b"x" * 16)


def test_a_link_to_nothing_is_refused_as_that(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    with pytest.raises(RootOccupied, match="link to nothing"):
        init_root(tmp_path / "link", b"x" * 16)
    assert not (tmp_path / "nothing").exists()


def test_what_was_made_in_part_is_no_store(tmp_path: Path) -> None:
    init_root(tmp_path / "half", b"x" * 16)
    with pytest.raises(RootNotInitialised):
        open_root(tmp_path / "half")


def test_a_short_password_makes_nothing(tmp_path: Path, clock: SettableClock) -> None:
    with pytest.raises(Exception, match="characters"):
        found_appliance(tmp_path / "root", [], "short", clock, os.urandom)
    assert not (tmp_path / "root").exists()
    assert found_appliance(tmp_path / "root", [], PASSWORD, clock, os.urandom).fingerprint.isalnum()


def test_only_the_owner_works_directly_on_a_folder(root: Root) -> None:
    check_owner(root, os.geteuid())
    with pytest.raises(NotTheOwner):
        check_owner(root, os.geteuid() + 1)


def test_the_lock_names_its_holder_and_ends_with_it(root: Root) -> None:
    program = "import sys; from pathlib import Path; from appliance.root_lock import RootLock; "
    program += "lock = RootLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(root.lock_file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(RootLocked, match=str(holder.pid)) as refusal:
        RootLock(root.lock_file)
    assert refusal.value.pid == holder.pid
    holder.kill()
    holder.communicate()
    lock = RootLock(root.lock_file)
    lock.release()
    lock.release()
    RootLock(root.lock_file).release()


def test_settings_have_defaults_and_the_environment_lies_over_the_file(root: Root) -> None:
    assert root.settings_file.read_text() == DEFAULT_FILE
    assert load_settings(root.settings_file, NOTHING_SET) == Settings()
    root.settings_file.write_text('[server]\nlisten = "[::1]:1"\nthreads = 8\n[directories]\nexports = ["/mnt"]\n')
    settings = load_settings(root.settings_file, Environment(None, "127.0.0.1:2"))
    assert (settings.server.listen, settings.server.threads) == ("127.0.0.1:2", 8)
    assert settings.directories.exports == ["/mnt"]


@pytest.mark.parametrize("text", ["[server", "[server]\nlisten = 5", "[server]\nlistne = 'x'", "[server]\nthreads = 1", "\xff"])
def test_a_wrong_setting_is_named(root: Root, text: str) -> None:
    root.settings_file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsUnreadable, match=str(root.settings_file)):
        load_settings(root.settings_file, NOTHING_SET)
    root.settings_file.unlink()
    with pytest.raises(SettingsUnreadable):
        load_settings(root.settings_file, NOTHING_SET)


def test_an_empty_variable_is_none() -> None:
    assert read_environment({"STAGEKEEPER_ROOT": ""}) == Environment(None, None)
    assert read_environment({"STAGEKEEPER_ROOT": "/x", "STAGEKEEPER_LISTEN": "h:1"}) == Environment("/x", "h:1")


def test_every_file_of_a_new_appliance_is_its_owners_alone(tmp_path: Path, clock: SettableClock) -> None:
    old = os.umask(0)
    try:
        found_appliance(tmp_path / "root", [], PASSWORD, clock, os.urandom)
    finally:
        os.umask(old)
    files = [path for path in (tmp_path / "root").rglob("*") if path.is_file()]
    assert files and not [path for path in files if path.stat().st_mode & 0o077]
