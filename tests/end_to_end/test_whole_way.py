"""From a changed file on a branch server to an earlier version in a folder and on a cartridge, with the installed commands."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end import sample
from tests.end_to_end.rig import Rig, run, until
from tests.tree_compare import differences

TAR = ["tar", "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*", "-xMpf"]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    assert os.geteuid() == 0, "these tests set owners and trusted attributes: run them as root"
    rig = Rig(tmp_path)
    rig.init()
    yield rig
    rig.close()
    subprocess.run(["rm", "-rf", tmp_path], check=True)  # trees may be deeper than shutil can remove


def keep_copy(share: Path, target: Path) -> Path:
    subprocess.run(["cp", "-a", "--sparse=always", share, target], check=True)
    return target


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.long)])
def test_every_snapshot_comes_back_as_it_was_from_store_and_cartridge(rig: Rig, tmp_path: Path, count: int) -> None:
    sample.fill(rig.share, count)
    rig.serve()
    rig.enroll()
    library = tmp_path / "library"
    library.mkdir()
    copies: dict[int, Path] = {}
    for number in range(4):
        if number:
            sample.edit(rig.share, number)
        rig.look()
        taken = rig.appliance("snapshot", "create", "leeds/data", "--label", f"round {number}").json
        copies[taken["id"]] = keep_copy(rig.share, tmp_path / f"copy-{number}")
    status = rig.appliance("share", "status", "leeds/data").json
    assert (status["state"], status["reason"]) == ("good", "")
    for snapshot, copy in copies.items():
        target = tmp_path / f"restored-{snapshot}"
        report = rig.appliance("restore", f"leeds/data@{snapshot}", "--to", str(target)).json
        assert report["not_applied"] == []
        assert differences(copy, target) == []
        sparse = (target / "links" / "sparse").stat()
        assert sparse.st_blocks * 512 < 1_000_000 < sparse.st_size
        shutil.rmtree(target)
    newest = max(copies)
    report = rig.appliance("export", "run", f"leeds/data@{newest}", "--to", str(library)).json
    assert report["verified"] is True
    (cartridge,) = report["cartridges"]
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    run([*TAR, cartridge["path"]], cwd=unpacked, stdin=subprocess.DEVNULL)
    assert differences(copies[newest], unpacked / "leeds" / "data") == []
    assert rig.stop() == 0


def test_a_change_is_durable_on_the_appliance_within_two_seconds(rig: Rig) -> None:
    rig.serve()
    rig.enroll()
    (rig.share / "first").write_bytes(b"1")
    rig.start_agent()
    until(lambda: _state(rig) == "good")
    for number in range(3):
        time.sleep(1)  # an idle machine, between writes
        (rig.share / "file").write_bytes(b"version %d" % number)
        took = until(lambda n=number: _content(rig, "file") == b"version %d" % n, 15)
        assert took < 4.0, "two seconds on an idle machine; the tests run beside others"
    assert rig.stop_agent() == 0
    assert rig.stop() == 0


def test_an_absent_appliance_costs_nothing_but_time(rig: Rig) -> None:
    rig.serve()
    rig.enroll()
    (rig.share / "a").write_bytes(b"before")
    rig.look()
    rig.stop()
    (rig.share / "a").write_bytes(b"while it was away")
    (rig.share / "b").write_bytes(os.urandom(300_000))
    outcome = rig.agent("run", "--once", "--timeout", "3", check=False)
    assert outcome.code == 7
    rig.serve()
    rig.look()
    assert _content(rig, "a") == b"while it was away"
    assert _content(rig, "b") == (rig.share / "b").read_bytes()


def test_kills_of_agent_and_appliance_lose_nothing(rig: Rig, tmp_path: Path) -> None:
    rig.serve()
    rig.enroll()
    for number in range(4):
        rig.start_agent()
        for name in range(40):
            (rig.share / f"file-{number}-{name}").write_bytes(os.urandom(20_000))
        time.sleep(0.3 + 0.2 * number)
        if number % 2:
            rig.stop_agent(9)
            rig.stop(9)
            rig.serve()
        else:
            rig.stop(9)
            rig.serve()
            rig.stop_agent(9)
    rig.look()
    rig.appliance("restore", "leeds/data", "--to", str(tmp_path / "back"))
    assert differences(rig.share, tmp_path / "back") == []


def test_commands_work_with_and_without_the_service(rig: Rig, tmp_path: Path) -> None:
    rig.serve()
    rig.enroll()
    (rig.share / "folder").mkdir()
    (rig.share / "folder" / "file").write_bytes(b"one")
    rig.look()
    first = rig.appliance("snapshot", "create", "leeds/data").json
    (rig.share / "folder" / "file").write_bytes(b"two!")
    rig.look()
    with_service = _answers(rig, first["id"])
    assert rig.stop() == 0
    assert _answers(rig, first["id"]) == with_service
    listed, versions, old, new = with_service
    assert [entry["name"] for entry in listed["entries"]] == ["file"]
    assert [version["size_bytes"] for version in versions["versions"]] == [4, 3]
    assert (old, new) == (b"one", b"two!")


def test_only_protected_data_takes_space(rig: Rig, request: pytest.FixtureRequest) -> None:
    size = 100_000_000
    for number in range(10):
        (rig.share / f"random-{number}").write_bytes(os.urandom(size // 10))
    rig.serve()
    rig.enroll()
    rig.look()
    stats = rig.appliance("stats").json
    assert stats["logical_bytes"] == size
    assert stats["total_bytes"] <= 1.02 * size + 64 * 1024 * 1024
    assert stats["stored_bytes"] == stats["total_bytes"] - stats["journal_bytes"]
    assert stats["journal_bytes"] < 1_000_000 < stats["ballast_bytes"]  # contents are no journal, and room is none either


@pytest.mark.long
def test_a_gigabyte_takes_a_gigabyte(rig: Rig) -> None:
    size = 1_000_000_000
    for number in range(10):
        (rig.share / f"random-{number}").write_bytes(os.urandom(size // 10))
    rig.serve()
    rig.enroll()
    rig.look()
    allocated = int(run(["du", "-s", "--block-size=1", str(rig.root)]).out.split()[0])
    assert rig.appliance("stats").json["logical_bytes"] == size
    assert allocated <= 1.02 * size + 64 * 1024 * 1024


def _answers(rig: Rig, snapshot: int) -> list[object]:
    listed = rig.appliance("ls", "leeds/data", "folder").json
    versions = rig.appliance("versions", "leeds/data", "folder/file").json
    old = rig.appliance("cat", f"leeds/data@{snapshot}", "folder/file").out
    new = rig.appliance("cat", "leeds/data", "folder/file").out
    return [listed, versions, old, new]


def _state(rig: Rig) -> str:
    outcome = rig.appliance("share", "status", "leeds/data", check=False)
    return str(outcome.json["state"]) if outcome.code == 0 else ""


def _content(rig: Rig, path: str) -> bytes:
    return rig.appliance("cat", "leeds/data", path, check=False).out
