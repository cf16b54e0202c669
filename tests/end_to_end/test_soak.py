"""A share under random edits while agent and appliance are killed again and again: in the end both copies are one.

Large files are written into, cut, extended, punched, copied over and renamed, so that what travels are ranges. The agent's
state lies on a small disk that fills while the appliance is away.
"""

import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.rig import Rig
from tests.tree_compare import differences

STEPS = 150
LARGE_BYTES = 60_000


class Share:
    """Edits of a folder, by chance."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder, self.chance = folder, chance
        for number, size in enumerate((70_000, 300_000, 2_000_000, 9_000_000)):
            (folder / f"large{number}").write_bytes(chance.randbytes(size))
        for number in range(100):
            (folder / f"small{number}").write_bytes(chance.randbytes(chance.randrange(5000)))
        self.edits = (
            self.write, self.write, self.write, self.append, self.cut, self.extend, self.rename, self.replace, self.copy_over,
            self.punch, self.folder_comes_or_goes,
        )  # fmt: skip

    def edit(self) -> None:
        self.chance.choice(self.edits)()

    def any(self) -> Path:
        return self.chance.choice(sorted(path for path in self.folder.iterdir() if path.is_file()))

    def large(self) -> Path:
        files = sorted(p for p in self.folder.iterdir() if p.is_file() and p.stat().st_size > LARGE_BYTES)
        return self.chance.choice(files) if files else self.any()

    def write(self) -> None:
        path = self.large()
        size = path.stat().st_size
        with open(path, "r+b") as file:
            for _ in range(self.chance.choice((1, 1, 3, 40))):
                file.seek(self.chance.randrange(size + 1))
                file.write(self.chance.randbytes(self.chance.choice((1, 150, 150, 4096))))

    def append(self) -> None:
        with open(self.any(), "ab") as file:
            file.write(self.chance.randbytes(self.chance.choice((10, 1000, 400_000))))

    def cut(self) -> None:
        path = self.any()
        os.truncate(path, self.chance.randrange(path.stat().st_size + 1))

    def extend(self) -> None:
        path = self.any()
        os.truncate(path, path.stat().st_size + self.chance.choice((1, 100_000, 3_000_000)))

    def rename(self) -> None:
        self.any().rename(self.folder / f"renamed{self.chance.randrange(50)}")

    def replace(self) -> None:
        self.any().unlink()
        (self.folder / f"new{self.chance.randrange(100)}").write_bytes(self.chance.randbytes(self.chance.choice((0, 10, 80_000))))

    def copy_over(self) -> None:
        """Save as many editors do: beside it, then over it."""
        path, beside = self.large(), self.folder / "beside~"
        shutil.copyfile(path, beside)
        with open(beside, "r+b") as file:
            file.seek(self.chance.randrange(beside.stat().st_size + 1))
            file.write(self.chance.randbytes(777))
        beside.rename(path)

    def punch(self) -> None:
        path = self.large()
        offset = self.chance.randrange(path.stat().st_size + 1)
        subprocess.run(["fallocate", "-p", "-o", str(offset), "-l", "200000", str(path)], check=True)

    def folder_comes_or_goes(self) -> None:
        folder = self.folder / f"folder{self.chance.randrange(5)}"
        if folder.exists():
            shutil.rmtree(folder)
            return
        folder.mkdir()
        for number in range(20):
            (folder / f"{number}").write_bytes(self.chance.randbytes(100))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    if os.geteuid():
        pytest.skip("NOT RUN: MOUNTING A SMALL DISK TAKES ROOT")
    rig = Rig(tmp_path)
    rig.state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "none", str(rig.state)], check=True)
    try:
        yield rig
    finally:
        rig.close()
        subprocess.run(["umount", "-l", str(rig.state)], check=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_both_copies_are_one_after_any_kills(rig: Rig, seed: int) -> None:
    chance = random.Random(seed)
    share = Share(rig.share, chance)
    rig.port = free_port(chance)
    rig.init()
    rig.serve()
    rig.enroll()
    rig.start_agent()
    kills = {"agent": 0, "appliance": 0}
    snapshots: list[int] = []
    for _ in range(STEPS):
        for _ in range(chance.randrange(1, 15)):
            share.edit()
        if chance.random() < 0.15:
            rig.stop_agent(9)
            kills["agent"] += 1
            rig.start_agent()
        if chance.random() < 0.05:
            rig.stop(9)
            kills["appliance"] += 1
            for _ in range(chance.choice((0, 100, 400))):  # the agent's small disk fills
                share.edit()
            rig.serve()
        if chance.random() < 0.1:
            taken = rig.appliance("snapshot", "create", "leeds/data", check=False)
            snapshots += [taken.json["id"]] if not taken.code else []
    rig.stop_agent(9)
    assert min(kills.values()) >= 2, kills

    rig.agent("run", "--once")
    assert rig.agent("verify", "data", "--report-only", "--json").json["different"] == 0
    rig.appliance("restore", "leeds/data", "--to", str(rig.folder / "live"))
    assert differences(rig.share, rig.folder / "live") == []
    listed = [row["id"] for row in rig.appliance("snapshot", "list", "leeds/data").json["snapshots"]]
    assert set(snapshots) <= set(listed)
    for number in snapshots:
        rig.appliance("restore", f"leeds/data@{number}", "--to", str(rig.folder / f"snapshot-{number}"))
    assert rig.appliance("verify-seal", "leeds/data").json["equal"] is True
    assert rig.appliance("audit", "verify").json["intact"] is True
    assert rig.stop() == 0


def free_port(chance: random.Random) -> int:
    """Return a port that no connection going out is given: one of those could take it while the appliance is away."""
    while True:
        port = chance.randrange(20_000, 30_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return port
