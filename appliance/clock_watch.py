"""Whether the clock is believed enough to let go of what waits for a time.

A snapshot that can be taken back for a day must not go because somebody set the clock a year ahead. So the wall clock is compared
with one that never goes back: once it has moved by five minutes more or less than that, or the appliance was away for more than
a day, nothing that waits is removed until the appliance has run for a day: time to notice, and to set the clock right. What was
seen last stands in a file, so that a restart does not end the wait. Without that file the appliance is a new one; with one that
cannot be read the clock is one that was never seen.
"""

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from core.clock import NANOSECONDS, Clock
from core.digest import digest_of
from core.durable import OS_FILES, FileLayer, replace_file
from core.errors import StagekeeperError

_MAGIC = "stagekeeper-clock 1"
_JUMP_SECONDS = 300.0  # drift between two looks and leap seconds are far less
_AWAY_SECONDS = 86_400.0  # machines that are off at night and at weekends go on being cleaned
_WAIT_SECONDS = 86_400.0
_WRITE_SECONDS = 600.0


class ClockWatch:
    """Watches one clock. Any thread may ask."""

    def __init__(self, file: Path, clock: Clock, moved: Callable[[float], None], files: FileLayer = OS_FILES) -> None:
        """Take up what was seen before; `moved` hears by how many seconds the clock went wrong."""
        self._file, self._clock, self._moved, self._files = file, clock, moved, files
        self._lock = threading.Lock()
        self._now_ns, self._seconds = clock.now_ns(), clock.monotonic()
        self._wait = 0.0
        if file.exists():
            seen_ns, self._wait = _read(file)
            away = (self._now_ns - seen_ns) / NANOSECONDS
            if not -_JUMP_SECONDS <= away <= _AWAY_SECONDS:
                self._distrust(away if seen_ns else 0.0)
        self._write()

    def settled(self) -> bool:
        """Tell whether what waits for a time may go now."""
        with self._lock:
            now_ns, seconds = self._clock.now_ns(), self._clock.monotonic()
            passed = seconds - self._seconds
            moved = (now_ns - self._now_ns) / NANOSECONDS - passed
            self._now_ns, self._seconds = now_ns, seconds
            self._wait = max(self._wait - passed, 0.0)
            if abs(moved) > _JUMP_SECONDS:
                self._distrust(moved)
            if abs(moved) > _JUMP_SECONDS or seconds - self._written >= _WRITE_SECONDS:
                self._write()
            return self._wait == 0.0

    def _distrust(self, seconds: float) -> None:
        self._wait = _WAIT_SECONDS
        if seconds:
            self._moved(seconds)

    def _write(self) -> None:
        line = f"{_MAGIC} {self._now_ns} {int(self._wait)}"
        with suppress(StagekeeperError, OSError):  # the disk is full: an older file makes a restart wait longer, never shorter
            replace_file(self._file, f"{line} {_checksum(line)}\n".encode(), self._files)
        self._written = self._seconds


def _read(file: Path) -> tuple[int, float]:
    """Return when the clock was last seen and how long was still to wait; (0, 0) when that is not known."""
    try:
        line, _, checksum = file.read_text("ascii").strip().rpartition(" ")
        magic, seen_ns, wait = line.rsplit(" ", 2)
        if magic == _MAGIC and checksum == _checksum(line):
            return int(seen_ns), float(wait)
    except (OSError, ValueError):
        pass
    return 0, 0.0


def _checksum(line: str) -> str:
    return digest_of(line.encode())[:8].hex()
