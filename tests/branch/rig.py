"""A protected folder, an agent's state directory and a target, driven in process or as the installed command."""

import os
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

from branch.agent import Agent
from branch.cli import execute
from branch.settings import Settings, StateDirectory
from branch.state_db import StateDb
from branch.status import ShareStatus
from core.clock import SystemClock
from core.durable import OS_FILES, FileLayer
from core.zones import machine_time
from tests.branch.replay import Replay, listing, real_listing
from tests.branch.target import Target

REPOSITORY = Path(__file__).parents[2]


class Rig:
    """One share "data" of a folder "tree"."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tree = directory / "tree"
        self.tree.mkdir()
        self.state = StateDirectory(directory / "state")
        self.target = Target(directory / "target")
        self.target.start()
        assert self.command("enroll", self.target.url, self.target.code) == 0
        self.replay = Replay(self.target.store)

    def command(self, *arguments: str) -> int:
        return execute([arguments[0], "--state", str(self.state.path), *arguments[1:]])

    def protect(self, *options: str) -> None:
        assert self.command("protect", str(self.tree), "--as", "data", *options) == 0

    def agent(self, files: FileLayer = OS_FILES, **settings: float) -> Agent:
        values = {"settle_seconds": 0.05, "settle_limit_seconds": 0.2, "retry_limit_seconds": 0.1, **settings}
        return Agent(self.state, Settings(**values), SystemClock(), machine_time, files, lambda: Random(7))  # type: ignore[arg-type]

    def once(self, timeout: float = 60.0, files: FileLayer = OS_FILES, **settings: float) -> list[ShareStatus]:
        return self.agent(files, **settings).run_once(timeout)

    def process(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start the installed agent."""
        command = [sys.executable, "-m", "branch", *arguments, "--state", str(self.state.path)]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def check(self) -> Replay:
        """Compare what the target has with the folder."""
        self.replay.take_all(self.target)
        have, want = listing(self.replay), real_listing(self.tree)
        assert have.keys() == want.keys(), f"names differ: {sorted(have.keys() ^ want.keys())[:5]}"
        differing = {path: _difference(have[path], expected) for path, expected in want.items() if have[path] != expected}
        assert not differing, f"differ: {differing}"[:1000]
        return self.replay

    def acknowledged(self) -> int:
        database = StateDb(self.state.database)
        try:
            return database.share("data").acknowledged.sequence
        finally:
            database.close()

    def path(self, name: bytes | str) -> bytes:
        return os.path.join(os.fsencode(self.tree), os.fsencode(name))

    def close(self) -> None:
        self.target.stop()


def _difference(have: tuple[Any, ...], want: tuple[Any, ...]) -> str:
    fields = ("kind", "attributes", "data", "target", "device", "first name")
    pairs = [(name, one, other) for name, one, other in zip(fields, have, want, strict=True) if one != other]
    return ", ".join(f"{name}: {str(one)[:150]} instead of {str(other)[:150]}" for name, one, other in pairs)
