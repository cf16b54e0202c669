"""Running an operator's commands: as they are given, by no shell, within a time, with what they said last when they fail."""

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from core.clock import Clock

_TOLD_BYTES = 400  # of what a command that failed has said last
_KILL_SECONDS = 5.0  # a process that waits for a frozen disk ends only when that thaws


@dataclass(frozen=True, slots=True)
class Commands:
    """Commands to be run one after the other, and how long they may take."""

    commands: tuple[tuple[str, ...], ...]
    seconds: float


def run_all(given: Commands) -> str:
    """Run all commands, each within the time, also behind one that fails; return what went wrong first, empty: nothing."""
    problems = [_run(words, given.seconds) for words in given.commands]
    return next(filter(None, problems), "")


def run_until_failure(given: Commands, clock: Clock) -> str:
    """Run commands, all within the time, up to the first that fails; return what went wrong with it, empty: nothing."""
    end = clock.monotonic() + given.seconds
    problems = (_run(words, end - clock.monotonic()) for words in given.commands)
    return next(filter(None, problems), "")


def _run(words: Sequence[str], seconds: float) -> str:
    """Run one command and return why it failed; one that is too late is killed with all that it has started."""
    told = os.memfd_create("told")  # not on a disk: that may be frozen, and a pipe would wait for every process that holds it
    try:
        process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=told, stderr=told, cwd="/", start_new_session=True
        )  # fmt: skip
        try:
            code = process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            _kill(process)
            return f"{words[0]} was not done in time"
        said = _last_words(told)
    except (OSError, ValueError) as error:
        return f"{words[0]} cannot be run: {error}"
    finally:
        os.close(told)
    return f"{words[0]} ended with {code}{f': {said}' if said else ''}" if code else ""


def _kill(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(_KILL_SECONDS)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass  # what cannot be ended now is left to end by itself; the hold goes on to its end all the same


def _last_words(told: int) -> str:
    size = os.fstat(told).st_size
    data = os.pread(told, _TOLD_BYTES, max(size - _TOLD_BYTES, 0))
    return " ".join(data.decode("utf-8", "replace").split())
