"""`verify` and `resync` with the installed commands: what the memory wrongly takes for sent is found, and sent."""

import os
import random
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.rig import BIN, Rig, until

LARGE = random.Random(3).randbytes(700_000)


@pytest.fixture
def laid(tmp_path: Path) -> Iterator[Rig]:
    """A share with files of one and of many chunks, a hole, links, odd names, and attributes."""
    rig = Rig(tmp_path)
    rig.init()
    rig.serve()
    rig.enroll()
    for folder in ("a/b/c", "empty", "many"):
        (rig.share / folder).mkdir(parents=True)
    (rig.share / "a/large").write_bytes(LARGE)
    with open(rig.share / "a/sparse", "wb") as file:
        file.truncate(3_000_000)
        file.seek(1_000_000)
        file.write(b"data in a hole")
    (rig.share / "a/b/c/small").write_bytes(b"small")
    (rig.share / "nothing").touch()
    os.symlink("a/large", rig.share / "way")
    os.link(rig.share / "a/large", rig.share / "again")
    os.mkfifo(rig.share / "pipe", 0o600)
    os.setxattr(rig.share / "nothing", "user.note", b"\x00\xff")
    Path(os.fsdecode(os.fsencode(rig.share) + b"/odd \xff\n")).write_bytes(b"odd")
    for number in range(1100):
        (rig.share / "many" / f"{number:04}").write_bytes(b"%d" % number)
    rig.agent("run", "--once")
    yield rig
    if rig.server is not None:
        rig.stop()


def verify(rig: Rig, *options: str, code: int = 0) -> Any:
    done = rig.agent("verify", "data", "--json", *options, check=False)
    assert done.code == code, done.err
    return done.json


def deceive(rig: Rig, name: str) -> None:
    """Make the agent's memory take a name for sent as it stands now, which it was not."""
    (memory,) = rig.state.glob("shares/*/known*.db")
    found = os.stat(rig.share / name, follow_symlinks=False)
    folder, _, last = name.rpartition("/")
    with sqlite3.connect(memory) as connection:
        connection.execute(
            "UPDATE known SET size=?, mtime_ns=?, ctime_ns=?, inode=?, links=? WHERE folder=? AND name=?",
            (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_nlink, folder.encode(), last.encode()),
        )
        assert connection.total_changes == 1
    connection.close()


def content(rig: Rig, path: str) -> bytes:
    return rig.appliance("cat", "leeds/data", path).out


def test_two_copies_that_are_alike_are_found_alike(laid: Rig) -> None:
    report = verify(laid)
    assert (report["different"], report["unsure"], report["paths"]) == (0, 0, [])
    assert report["compared"] > 1110


def test_what_rules_leave_out_is_neither_unsure_nor_different_and_what_was_taken_stays_when_laid_anew(laid: Rig) -> None:
    laid.agent("protect", str(laid.share), "--as", "data", "--exclude", "*.log", "--exclude-larger", "700000")
    (laid.share / "today.log").write_bytes(b"x")
    (laid.share / "huge").write_bytes(bytes(700_001))
    (laid.share / "a/large").write_bytes(LARGE + b"more")
    laid.look()
    report = verify(laid)
    assert (report["different"], report["unsure"]) == (0, 0)
    laid.agent("resync", "data")
    assert content(laid, "a/large") == LARGE + b"more"
    names = {entry["name"] for entry in laid.appliance("ls", "leeds/data").json["entries"]}
    assert not names & {"today.log", "huge"} and "nothing" in names


def test_what_the_memory_hid_is_found_named_and_sent(laid: Rig) -> None:
    with open(laid.share / "a/large", "r+b") as file:
        file.seek(300_000)
        file.write(b"changed behind the memory's back")
    os.chmod(laid.share / "many/0007", 0o600)
    (laid.share / "many/0008").write_bytes(b"other")
    for name in ("a/large", "again", "many/0007", "many/0008"):
        deceive(laid, name)
    laid.agent("run", "--once")
    assert content(laid, "a/large") == LARGE  # the memory says that nothing is to be sent
    only_told = verify(laid, "--report-only", code=5)
    assert [entry["path"] for entry in only_told["paths"]] == ["a/large", "again", "many/0007", "many/0008"]
    assert (only_told["repaired"], only_told["after"]) == (0, 4)
    report = verify(laid, code=5)
    assert (report["different"], report["repaired"], report["before"], report["after"]) == (4, 4, 4, 0)
    assert content(laid, "a/large") == (laid.share / "a/large").read_bytes() == content(laid, "again")
    assert content(laid, "many/0008") == b"other"
    assert verify(laid)["different"] == 0
    versions = laid.appliance("versions", "leeds/data", "a/large").json["versions"]
    assert len(versions) == 2  # history goes on
    assert len(laid.appliance("versions", "leeds/data", "nothing").json["versions"]) == 1  # what was alike has no new version


def test_names_that_only_one_side_has_are_different(laid: Rig) -> None:
    (memory,) = laid.state.glob("shares/*/known*.db")
    (laid.share / "many/0009").unlink()
    with sqlite3.connect(memory) as connection:  # the memory never heard of it: nothing tells the appliance that it is gone
        connection.execute("DELETE FROM known WHERE name = ?", (b"0009",))
    connection.close()
    laid.agent("run", "--once")
    report = verify(laid, code=5)
    assert [entry["path"] for entry in report["paths"]] == ["many/0009"] and report["after"] == 0
    assert laid.appliance("cat", "leeds/data", "many/0009", check=False).code == 3
    assert laid.appliance("versions", "leeds/data", "many/0009").json["versions"][0]["deleted"]


def test_a_running_agent_verifies_and_lays_anew(laid: Rig) -> None:
    (laid.state / "status.json").unlink()  # that of the look before
    process = subprocess.Popen(
        [str(BIN / "stagekeeper-agent"), "run", "--state", str(laid.state)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        until((laid.state / "status.json").exists, 30)
        assert verify(laid)["different"] == 0
        wire = laid.agent("status", "--json").json["shares"][0]["wire"]["resync_bytes"]
        assert laid.agent("resync", "data", "--json").json == {"share": "data"}
        until(lambda: laid.agent("status", "--json").json["shares"][0]["wire"]["resync_bytes"] > wire, 30)
        assert (
            laid.agent("status", "--json").json["shares"][0]["wire"]["resync_bytes"] - wire < len(LARGE) // 2
        )  # contents are there
    finally:
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    assert verify(laid)["different"] == 0


def test_a_share_that_cannot_be_reached_is_not_called_alike(laid: Rig) -> None:
    laid.stop()
    done = laid.agent("verify", "data", "--timeout", "3", check=False)
    assert done.code == 7 and done.out == b""
    assert laid.agent("verify", "other", check=False).code == 3


def test_what_cannot_be_compared_is_counted_and_not_called_different(laid: Rig) -> None:
    if os.geteuid():
        pytest.skip("NOT RUN: MOUNTING TAKES ROOT")
    subprocess.run(["mount", "-t", "tmpfs", "none", str(laid.share / "empty")], check=True)
    try:
        (laid.share / "empty" / "of another file system").touch()
        report = verify(laid)
    finally:
        subprocess.run(["umount", str(laid.share / "empty")], check=True)
    assert (report["different"], report["unsure"]) == (0, 1)
