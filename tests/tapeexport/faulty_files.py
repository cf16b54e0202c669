"""A file layer that does one thing wrong, at a step that the test chooses."""

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from core.durable import Buffer, OsFileLayer

Fault = Callable[[], None]


def fail_with(number: int) -> Fault:
    """Return a fault that raises the error `number`."""

    def fault() -> None:
        raise OSError(number, os.strerror(number))

    return fault


def kill() -> None:
    """End this process as a power cut would: nothing runs any more."""
    os.kill(os.getpid(), signal.SIGKILL)


class FaultyFiles(OsFileLayer):
    """Counts its steps and runs `fault` before the one numbered `at` (from 1)."""

    def __init__(self, at: int = 0, fault: Fault = kill) -> None:
        self.steps = 0
        self._at = at
        self._fault = fault

    @property
    def has_fired(self) -> bool:
        return self.steps >= self._at

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self._at:
            self._fault()

    def open_append(self, path: Path) -> int:
        self._step()
        return super().open_append(path)

    def write(self, descriptor: int, buffers: Sequence[Buffer]) -> None:
        self._step()
        super().write(descriptor, buffers)

    def sync(self, descriptor: int) -> None:
        self._step()
        super().sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        self._step()
        super().sync_directory(path)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._step()
        super().unlink(path)


class TornFiles(OsFileLayer):
    """Writes half of the first large write, then reports a full disk."""

    def write(self, descriptor: int, buffers: Sequence[Buffer]) -> None:
        data = b"".join(buffers)
        if len(data) > 1000:
            os.write(descriptor, data[: len(data) // 2])
            fail_with(28)()
        super().write(descriptor, buffers)


class FlippingFiles(OsFileLayer):
    """Stores one wrong bit in the first large write, as bad memory or a bad disk would."""

    def write(self, descriptor: int, buffers: Sequence[Buffer]) -> None:
        data = bytearray(b"".join(buffers))
        if len(data) > 5000:
            data[5000] ^= 16
        super().write(descriptor, [data])
