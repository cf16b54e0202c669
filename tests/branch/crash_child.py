"""Runs the agent once in forked children, each ended at a chosen durable operation; numbers come on stdin.

A process of its own, because a fork of one with threads is not to be trusted.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import cast

from branch.agent import Agent
from branch.settings import Settings, StateDirectory
from core.clock import SystemClock
from core.durable import FileLayer
from core.zones import machine_time
from tests.faulty_files import FaultyFiles, Killed

ENDED, NOT_REACHED = 9, 0


class EndingFiles:
    """The real files, until the operation at which the whole process ends as if by SIGKILL."""

    def __init__(self, at: int, fault: str) -> None:
        self._files = FaultyFiles(at, fault)

    def __getattr__(self, name: str) -> Callable[..., object]:
        files = self._files

        def operate(*values: object) -> object:
            try:
                return getattr(files, name)(*values)
            except Killed:
                os._exit(ENDED)

        return operate


def run_child(state: Path, at: int, fault: str) -> int:
    """Run the agent in a child and return how it ended."""
    child = os.fork()
    if child == 0:
        settings = Settings(settle_seconds=0.05, retry_limit_seconds=0.1)
        files = cast(FileLayer, EndingFiles(at, fault))
        agent = Agent(StateDirectory(state), settings, SystemClock(), machine_time, files, lambda: Random(7))
        agent.run_once(20.0)
        os._exit(NOT_REACHED)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    for line in sys.stdin:
        number, how = line.split()
        print(run_child(Path(sys.argv[1]), int(number), how), flush=True)
