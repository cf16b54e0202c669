"""A full disk under the agent's state: what waits in the outbox is sent all the same, and then the share goes on."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from branch.agent import TimedOut
from branch.reserve import Reserve
from core.durable import OS_FILES
from tests.branch.rig import Rig

DISK_BYTES = 16 * 1024 * 1024


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Rig]:
    """A share whose agent keeps its state on a small disk."""
    if os.geteuid():
        pytest.skip("NOT RUN: MOUNTING A SMALL DISK TAKES ROOT")
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "none", str(state)], check=True)
    try:
        rig = Rig(tmp_path)
        (rig.tree / "first").write_bytes(b"first")
        rig.protect()
        rig.once()
        yield rig
        rig.close()
    finally:
        subprocess.run(["umount", "-l", str(state)], check=True)


def fill_up(rig: Rig) -> Path:
    """Let something else take what is left of the disk."""
    junk = rig.state.path / "junk"
    with pytest.raises(OSError), open(junk, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return junk


def test_what_waits_is_sent_from_a_full_disk_and_the_share_goes_on(small: Rig) -> None:
    small.target.stop()
    (small.tree / "waits").write_bytes(os.urandom(4_000_000))
    with pytest.raises(TimedOut):
        small.once(timeout=0.5)
    fill_up(small)
    small.target.start()
    (small.tree / "later").write_bytes(os.urandom(100_000))
    small.once()
    small.check()
    assert small.state.reserve.stat().st_size == DISK_BYTES // 16


def test_nothing_is_looked_for_while_the_reserve_cannot_be_held(small: Rig) -> None:
    junk = fill_up(small)
    small.state.reserve.unlink()
    (small.tree / "later").write_bytes(os.urandom(100_000))
    with pytest.raises(TimedOut, match="is full"):
        small.once(timeout=0.5)
    junk.unlink()
    small.once()
    small.check()


def test_a_running_agent_outlives_a_full_disk(small: Rig) -> None:
    process = small.process("run")
    try:
        small.target.stop()
        junk = fill_up(small)
        (small.tree / "later").write_bytes(os.urandom(100_000))
        time.sleep(3)
        assert process.poll() is None, process.communicate()
        junk.unlink()
        small.target.start()
    finally:
        process.terminate()
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    small.once()
    small.check()


def test_the_reserve_leaves_room_for_others(tmp_path: Path) -> None:
    reserve = Reserve(tmp_path / "reserve", OS_FILES)
    assert not reserve.give_up()
    assert reserve.hold() and reserve.hold()
    assert (tmp_path / "reserve").stat().st_size == 8 * 1024 * 1024
    assert reserve.give_up() and not (tmp_path / "reserve").exists()
