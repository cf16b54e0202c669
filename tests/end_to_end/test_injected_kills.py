"""The installed `serve`, killed by the kernel at its own syncs, writes and renames (SQLite's too), while an agent works."""

import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from tests.end_to_end.rig import Rig
from tests.tree_compare import differences

FEW = (("pwrite64", 9), ("fdatasync", 2), ("writev", 3))
CALLS = ("fdatasync", "fsync", "pwrite64", "writev")
NUMBERS = (1, 2, 3, 4, 6, 8, 11, 15)  # strace counts each thread's calls by themselves


def work_until_dead(rig: Rig, copies: dict[int, Path]) -> None:
    """Send rounds of changes and take snapshots; remember those that were answered. Ends when the service is gone."""
    for number in range(6):
        for name in ("a", "b", "c"):
            (rig.share / name).write_bytes(os.urandom(2_000 + 30_000 * number))
        (rig.share / f"new-{number}").write_bytes(b"new")
        if rig.agent("run", "--once", "--timeout", "4", check=False).code:
            return
        taken = rig.appliance("snapshot", "create", "leeds/data", check=False)
        if taken.code:
            return
        copies[json.loads(taken.out)["id"]] = Path(shutil.copytree(rig.share, rig.folder / f"copy-{number}"))


def is_dead(rig: Rig) -> bool:
    """Tell whether the service was killed; its tracer ends a moment after it."""
    assert rig.server is not None
    try:
        rig.server.wait(2)
    except subprocess.TimeoutExpired:
        return False
    return True


def check_after(rig: Rig, copies: dict[int, Path]) -> None:
    """A sound service over the same folder: everything acknowledged is there, and the agent goes on."""
    assert rig.serve().startswith("listening on ")
    shown = {row["id"] for row in rig.appliance("snapshot", "list", "leeds/data").json["snapshots"]} if copies else set()
    assert set(copies) <= shown, "an answered snapshot is lost"
    rig.look()
    for snapshot, copy in copies.items():
        target = rig.folder / f"restored-{snapshot}"
        rig.appliance("restore", f"leeds/data@{snapshot}", "--to", str(target))
        for path in copy.iterdir():
            assert (target / path.name).read_bytes() == path.read_bytes()
    rig.appliance("restore", "leeds/data", "--to", str(rig.folder / "live"))
    assert differences(rig.share, rig.folder / "live") == []
    assert rig.appliance("audit", "verify").code == 0
    assert rig.stop() == 0


def sweep(folder: Path, call: str, when: int) -> bool:
    """One run: the service is killed at the `when`-th `call` of any of its threads; return whether it was."""
    assert shutil.which("strace"), "strace is missing: apt-get install strace"
    folder.mkdir()
    rig = Rig(folder)
    try:
        return _sweep(rig, call, when)
    finally:
        rig.close()


def _sweep(rig: Rig, call: str, when: int) -> bool:
    rig.init()
    rig.serve()
    rig.enroll()
    rig.stop()
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={when}"]
    copies: dict[int, Path] = {}
    if rig.serve(wrapper=strace).startswith("listening on "):
        worker = threading.Thread(target=work_until_dead, args=(rig, copies))
        worker.start()
        worker.join()
    fired = is_dead(rig)
    rig.stop(9)
    subprocess.run(["pkill", "-9", "-f", str(rig.root)], check=False)
    check_after(rig, copies)
    return fired


def test_kills_at_system_calls_lose_nothing_acknowledged(tmp_path: Path) -> None:
    fired = [sweep(tmp_path / f"{call}-{when}", call, when) for call, when in FEW]
    assert any(fired), "the service was never killed"


@pytest.mark.long
@pytest.mark.parametrize("call", CALLS)
def test_kills_at_many_system_calls_lose_nothing_acknowledged(tmp_path: Path, call: str) -> None:
    fired = 0
    for when in NUMBERS:
        if not sweep(tmp_path / str(when), call, when):
            break  # no thread makes that many
        fired += 1
    assert fired or call == "fsync", "the service was never killed"  # whether SQLite calls fsync is its build's choice
