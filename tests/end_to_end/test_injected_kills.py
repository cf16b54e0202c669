"""The installed `serve`, killed by the kernel at its own syncs, writes and renames (SQLite's too), while an agent works."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.rig import Rig
from tests.tree_compare import differences

FEW = [("fdatasync", 9), ("pwrite64", 9)]
MANY = [
    (call, when) for call in ("fdatasync", "fsync", "pwrite64", "writev") for when in (1, 2, 3, 4, 5, 6, 7, 8, 11, 14, 18, 25, 40)
]
SURE = 9  # every scenario makes that many calls of each kind in one thread


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    assert shutil.which("strace"), "strace is missing: apt-get install strace"
    rig = Rig(tmp_path)
    rig.init()
    yield rig
    rig.close()


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


def sweep(rig: Rig, call: str, when: int) -> bool:
    """One run: the service is killed at the `when`-th `call` of any of its threads; return whether it was."""
    rig.serve()
    rig.enroll()
    rig.stop()
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={when}"]
    copies: dict[int, Path] = {}
    if rig.serve(wrapper=strace).startswith("listening on "):
        worker = threading.Thread(target=work_until_dead, args=(rig, copies))
        worker.start()
        worker.join()
    assert rig.server is not None
    fired = rig.server.poll() is not None
    rig.stop(9)
    subprocess.run(["pkill", "-9", "-f", str(rig.root)], check=False)
    check_after(rig, copies)
    return fired


@pytest.mark.parametrize(("call", "when"), FEW)
def test_a_kill_at_a_system_call_loses_nothing_acknowledged(rig: Rig, call: str, when: int) -> None:
    assert sweep(rig, call, when), "the service was not killed"


@pytest.mark.long
@pytest.mark.parametrize(("call", "when"), MANY)
def test_a_kill_at_many_system_calls_loses_nothing_acknowledged(rig: Rig, call: str, when: int) -> None:
    fired = sweep(rig, call, when)
    assert fired or when > SURE, "the service was not killed"
