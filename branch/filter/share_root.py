"""The folder of a share, opened before anything is mounted over it and reached by that handle ever after."""

import errno
import os
import threading

from branch.filter.mounting import is_mounted, release
from branch.folders import OpenFolders
from branch.root import RootGone, mark_of
from branch.state_db import ShareRecord
from core.relpath import show_path

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class ShareRoot:
    """One share's root; any thread may ask."""

    def __init__(self, record: ShareRecord) -> None:
        """Open nothing yet."""
        self._record = record
        self._lock = threading.Lock()
        self._descriptor = -1

    def descriptor(self) -> int:
        """Return the handle, opening it at first; a dead mount over it is released. Raise `RootGone`."""
        with self._lock:
            if self._descriptor < 0:
                self._descriptor = self._open()
            return self._descriptor

    def path(self) -> bytes:
        """Return a path that leads to the folder below the mount; raise `RootGone`."""
        return b"/proc/self/fd/%d/." % self.descriptor()

    def folders(self) -> OpenFolders:
        """Open the folder for a look; raise `RootGone`."""
        return OpenFolders(self.path())

    def close(self) -> None:
        """Close the handle; may be called twice."""
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _open(self) -> int:
        record = self._record
        shown = show_path(record.path)
        release_dead(record.path)
        try:
            descriptor = os.open(record.path, _FLAGS)
        except OSError as error:
            raise RootGone(f"{shown} cannot be opened: {error.strerror}", remedy="mount or restore it") from error
        if record.root is None or not record.root.is_same(mark_of(descriptor)):
            os.close(descriptor)
            raise RootGone(
                f"{shown} is not the folder that was protected",
                remedy=f"mount the right one; if this one is right, run: stagekeeper-agent protect PATH --as {record.name}",
            )
        return descriptor


def is_dead(path: bytes) -> bool:
    """Tell whether a mount of an agent that was killed lies over a path."""
    if not is_mounted(path):
        return False
    try:
        os.statvfs(path)  # asks who serves it; a stat may be answered from what the kernel remembers
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def release_dead(path: bytes) -> bool:
    """Take the mounts of agents that were killed away from a path; return whether there was one.

    Raise `RootGone` when one is alive: another agent serves it.
    """
    was_there = False
    while is_mounted(path):
        if not is_dead(path):
            raise RootGone(f"another agent serves {show_path(path)}", remedy="stop it first")
        release(path, detach=True)
        was_there = True
    return was_there
