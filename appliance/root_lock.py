"""One process at a time on an appliance's folder."""

import contextlib
import fcntl
import os
from pathlib import Path

from core.errors import TryLater


class RootLocked(TryLater):
    """Another process works on the folder; `pid` names it when it is known."""

    def __init__(self, path: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(f"{path.parent.parent} is in use by {who}", remedy="wait for it, or stop it, then try again")
        self.pid = pid


class RootLock:
    """An exclusive lock; the kernel frees it when the holder ends, however it ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock at once; raise `RootLocked` naming the holder when another has it."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._descriptor, 20, 0).strip()
            self.release()
            raise RootLocked(path, int(holder) if holder.isdigit() else None) from error
        with contextlib.suppress(OSError):  # a full disk: the lock holds, only who has it cannot be told
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
