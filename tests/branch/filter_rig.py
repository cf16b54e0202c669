"""A share under the filter capture, served by an agent of its own: the tests are the programs that use the mount."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from staging.changes import Change, Group
from tests.branch.replay import Replay
from tests.branch.rig import REPOSITORY, Rig

needs_fuse = pytest.mark.skipif(
    not os.path.exists("/dev/fuse") or os.geteuid() != 0,
    reason="NOT TESTED: the filter capture needs /dev/fuse and root, and this machine has not both",
)


class FilterRig(Rig):
    """One share "data" of a folder "tree", with the filter over it while the agent runs."""

    def __init__(self, directory: Path, **settings: float) -> None:
        super().__init__(directory)
        self.replay = Replay(self.target.store, as_programs_do=True)
        self.running: subprocess.Popen[bytes] | None = None
        values = {"settle_seconds": 0.05, "settle_limit_seconds": 0.2, "retry_limit_seconds": 0.2, **settings}
        (self.state.path / "settings.toml").write_text("".join(f"{name} = {value}\n" for name, value in values.items()))
        self.protect("--capture", "filter")

    def start(self) -> None:
        """Start the agent and wait until every change is written down."""
        self.running = self.process("run")
        until(lambda: self.status()["filtering"])

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.running is not None
        self.running.send_signal(number)
        code = self.running.wait(60)
        self.running = None
        return code

    def status(self) -> Any:
        command = [sys.executable, "-m", "branch", "status", "--json", "--state", str(self.state.path)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True)
        (share,) = json.loads(done.stdout)["shares"]
        return share

    def await_durable(self) -> None:
        """Wait until all that was done is durable: a mark at the end is, and the times of what was touched before it."""
        mark = self.tree / f".mark-{time.monotonic_ns()}"
        mark.touch()
        mark.unlink()
        removed = f"unlink {os.fsencode(mark.name)!r}"
        until(lambda: self._has(removed))
        place = self.replay.log.index(removed)
        until(lambda: self._has("setattributes b''", place))

    def _has(self, line: str, after: int = 0) -> bool:
        self.replay.take_all(self.target)
        return line in self.replay.log[after:]

    def changes(self) -> Iterator[tuple[Change, tuple[bytes, ...]]]:
        """Yield all changes that the target has, in their order, each with its paths."""
        for frame in self.target.frames("data"):
            for change in frame.changes:
                for part in change.changes if isinstance(change, Group) else (change,):
                    yield part, frame.paths

    def is_mounted(self) -> bool:
        return f" {self.tree} fuse.stagekeeper " in Path("/proc/mounts").read_text()

    def close(self) -> None:
        if self.running is not None:
            self.running.kill()
            self.running.wait()
        while self.is_mounted():
            subprocess.run(["umount", "-l", str(self.tree)], check=True)
        super().close()


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until a condition holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not so within {seconds} s"
        time.sleep(0.05)
