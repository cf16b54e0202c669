"""The filter capture: what programs do on the mount arrives in its order with its bytes, whatever ends it."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from branch.filter.dirty_db import DirtyDb
from core.database import open_database
from staging.changes import Write
from tests.branch.filter_rig import FilterRig, needs_fuse, until

pytestmark = needs_fuse


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[FilterRig]:
    made = FilterRig(tmp_path)
    yield made
    made.close()


def test_no_instant_has_the_later_write_without_the_earlier(rig: FilterRig) -> None:
    rig.start()
    files = [os.open(rig.path(name), os.O_RDWR | os.O_CREAT) for name in ("a", "b")]
    for number in range(3000):
        for descriptor in files:
            os.pwrite(descriptor, number.to_bytes(8), 0)
    for descriptor in files:
        os.close(descriptor)
    rig.await_durable()
    values, instants = {b"a": -1, b"b": -1}, 0
    for change, paths in rig.changes():
        if isinstance(change, Write) and paths[change.path] in values:
            values[paths[change.path]] = int.from_bytes(change.data)
            assert values[b"a"] - 1 <= values[b"b"] <= values[b"a"]
            instants += 1
    assert instants == 6000
    rig.check()


def test_a_write_arrives_with_just_its_bytes(rig: FilterRig) -> None:
    (rig.tree / "large").write_bytes(os.urandom(3_000_000))
    rig.start()
    with open(rig.path("large"), "r+b") as file:
        file.seek(1_234_567)
        file.write(b"x" * 150)
    rig.await_durable()
    writes = [change for change, paths in rig.changes() if isinstance(change, Write) and paths[change.path] == b"large"]
    assert [(write.offset, write.data) for write in writes] == [(1_234_567, b"x" * 150)]
    rig.check()


def test_after_a_clean_end_nothing_is_read_or_sent_again(rig: FilterRig) -> None:
    rig.start()
    for number in range(50):
        (rig.tree / f"file-{number}").write_bytes(os.urandom(5000))
    (rig.tree / "folder").mkdir()
    os.link(rig.path("file-1"), rig.path("folder/link"))
    os.rename(rig.path("file-2"), rig.path("folder/renamed"))
    rig.await_durable()
    assert rig.stop() == 0 and not rig.is_mounted()
    rig.check()
    before = rig.acknowledged()
    asked = rig.target.store.asked
    rig.start()
    assert rig.status()["gap"]["changes"] <= 3, "hard links and what was renamed have new times, and are looked at"
    assert rig.target.store.asked == asked
    assert rig.stop() == 0
    assert rig.acknowledged() - before <= 3


def test_what_was_written_while_nothing_was_mounted_is_compared_first_and_the_gap_is_shown(rig: FilterRig) -> None:
    rig.start()
    (rig.tree / "file").write_bytes(b"first")
    rig.await_durable()
    rig.stop()
    (rig.tree / "file").write_bytes(b"past the filter")
    (rig.tree / "other").write_bytes(b"too")
    rig.start()
    gap = rig.status()["gap"]
    assert gap["changes"] >= 2 and gap["reason"] == "nothing was mounted" and gap["since"] < gap["until"]
    until(lambda: rig.status()["lag_seconds"] == 0)
    rig.check()


def test_a_file_put_back_to_what_it_was_before_the_filter_changed_it_is_sent_all_the_same(rig: FilterRig) -> None:
    (rig.tree / "file").write_bytes(b"first")
    rig.start()
    (rig.tree / "file").write_bytes(b"other")
    rig.await_durable()
    rig.stop()
    (rig.tree / "file").write_bytes(b"first")
    rig.once()
    rig.check()


def test_a_killed_agent_leaves_a_dead_mount_that_the_next_start_releases(rig: FilterRig) -> None:
    rig.start()
    for number in range(200):
        (rig.tree / f"file-{number}").write_bytes(os.urandom(3000))
    rig.stop(signal.SIGKILL)
    with pytest.raises(OSError, match="not connected"):
        os.listdir(rig.tree)
    rig.start()
    assert (rig.tree / "file-199").exists()
    rig.await_durable()
    rig.check()


def test_a_dead_mount_is_released_by_the_command_of_the_unit(rig: FilterRig) -> None:
    rig.start()
    assert rig.command("release") == 0 and rig.is_mounted(), "a running agent is left alone"
    rig.stop(signal.SIGKILL)
    assert rig.command("release") == 0
    assert not rig.is_mounted() and os.listdir(rig.tree) == []


def test_a_file_is_marked_dirty_before_its_first_write_and_compared_after_a_kill(rig: FilterRig) -> None:
    path = rig.tree / "file"
    path.write_bytes(b"a" * 1000)
    inode = path.stat().st_ino
    rig.start()
    with path.open("r+b") as file:
        file.write(b"b")
    dirty = DirtyDb(next(rig.state.shares.glob("*/dirty.db")))
    assert list(dirty.inodes()) == [inode]
    rig.await_durable()
    rig.stop(signal.SIGKILL)
    assert rig.command("release") == 0
    state = path.stat()
    memory = next(rig.state.shares.glob("*/known.db"))
    settle = "UPDATE known SET size = ?, mtime_ns = ?, ctime_ns = ? WHERE name = CAST('file' AS BLOB)"
    _sql(memory, settle, state.st_size, state.st_mtime_ns, state.st_ctime_ns)  # as times are after a power cut
    asked = rig.target.store.asked
    rig.once()
    assert rig.target.store.asked > asked, "it was read and asked about, whatever its times say"
    rig.check()
    assert list(dirty.inodes()) == []
    dirty.close()


def test_a_write_by_a_file_whose_known_name_is_gone_is_found(rig: FilterRig) -> None:
    (rig.tree / "seen").write_bytes(b"first")
    os.link(rig.path("seen"), rig.path("unseen"))
    rig.start()
    descriptor = os.open(rig.path("seen"), os.O_RDWR)
    os.unlink(rig.path("seen"))
    os.write(descriptor, b"later")
    os.close(descriptor)
    until(lambda: not rig.status()["filtering"] or rig.status()["gap"] is not None)
    until(lambda: rig.status()["filtering"])
    rig.await_durable()
    assert (rig.tree / "unseen").read_bytes() == b"later"
    rig.check()


def test_a_full_outbox_stops_no_program_and_loses_nothing(tmp_path: Path) -> None:
    rig = FilterRig(tmp_path, outbox_limit_bytes=1024 * 1024)
    try:
        rig.start()
        rig.target.stop()
        for number in range(40):
            (rig.tree / f"file-{number}").write_bytes(os.urandom(100_000))
        until(lambda: not rig.status()["filtering"])
        (rig.tree / "later").write_bytes(os.urandom(200_000))
        os.rename(rig.path("file-1"), rig.path("file-2"))
        rig.target.start()
        until(lambda: rig.status()["filtering"], 60)
        assert rig.status()["gap"]["reason"] == "the outbox is full"
        rig.await_durable()
        rig.check()
    finally:
        rig.close()


def test_programs_that_use_the_mount_when_the_agent_ends_do_not_keep_it(rig: FilterRig) -> None:
    rig.start()
    program = subprocess.Popen(["sh", "-c", "echo begun > f; exec sleep 100 > out"], cwd=rig.tree)
    until(lambda: (rig.tree / "f").exists() and (rig.tree / "out").exists())
    assert rig.stop() == 0
    program.kill()
    program.wait()
    assert not rig.is_mounted()
    rig.once()
    rig.check()


def test_an_exchange_and_a_rename_that_must_not_replace(rig: FilterRig) -> None:
    (rig.tree / "a").write_bytes(b"a")
    (rig.tree / "d").mkdir()
    (rig.tree / "d" / "in").write_bytes(b"in")
    rig.start()
    assert _renameat2(rig.path("a"), rig.path("d"), 2) == 0
    assert _renameat2(rig.path("a"), rig.path("d"), 1) == -1
    assert (rig.tree / "a" / "in").read_bytes() == b"in" and (rig.tree / "d").read_bytes() == b"a"
    (rig.tree / "a" / "in").write_bytes(b"after")
    rig.await_durable()
    rig.check()
    rig.stop()
    rig.once()
    rig.check()


def test_refusals_name_what_is_wrong(rig: FilterRig, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(rig.directory)
    for words in (["/"], ["/etc"], [folder], [str(rig.tree), "--exclude", "*.tmp"], [str(rig.tree), "--mode", "sync"]):
        assert rig.command("protect", words[0], "--as", "other", "--capture", "filter", *words[1:]) == 4
    rig.start()
    assert rig.command("protect", str(rig.tree), "--as", "data", "--capture", "filter") == 0
    assert rig.command("protect", str(rig.tree), "--as", "other") == 4
    capsys.readouterr()


def _renameat2(source: bytes, target: bytes, flags: int) -> int:
    return ctypes.CDLL(None).renameat2(-100, source, -100, target, flags)


def _sql(path: Path, statement: str, *values: int) -> None:
    database = open_database(path)
    database.conn.execute(statement, values)
    database.close()
