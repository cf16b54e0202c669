"""Keeping watch over a share: the kernel's events become marks, in a thread of its own.

Where the kernel allows it, the file system is watched as a whole, otherwise each folder; which, is found out when the root is
entered first. Where neither goes, or not for all folders, `is_limited` says so, and looking regularly must do. Events cannot
tell of writes through a memory mapping before it ends, nor of those by a further name of a file that was made and removed
between two looks; the regular full look finds them.
"""

import logging
import os
import select
import threading
from collections.abc import Callable
from typing import Protocol

from branch.excludes import Excludes
from branch.fanotify import MarkRefused
from branch.file_system_events import FileSystemEvents
from branch.folder_events import FolderEvents
from branch.folders import OpenFolders
from branch.inotify import WatchLimit
from branch.marks import Marks
from core.relpath import ROOT, RelPath, is_within, split

_log = logging.getLogger("stagekeeper.agent")
_PAUSE_SECONDS = 0.05


class Events(Protocol):
    """What tells of changes in one share; used under a lock."""

    name: str

    @property
    def waits(self) -> bool:
        """Tell whether `pause` is to be called when nothing comes for a moment."""

    def descriptors(self) -> tuple[int, ...]:
        """Return what becomes readable when there are events."""

    def enter(self, path: RelPath, folder: int) -> None:
        """An open folder is about to be listed; raise `WatchLimit` when it is not watched."""

    def take(self) -> None:
        """Turn the events that are there into marks."""

    def pause(self) -> None:
        """Nothing came for a moment."""

    def close(self) -> None:
        """Give all descriptors back."""


class Watcher:
    """Watches one share; `run` belongs to a thread of its own."""

    def __init__(self, marks: Marks, open_root: Callable[[], OpenFolders], is_left_out: Callable[[RelPath], bool]) -> None:
        """Set marks in `marks` for changes below the root, except in folders that `is_left_out` names."""
        self._marks, self._open_root, self._is_left_out = marks, open_root, is_left_out
        self._lock = threading.Lock()
        self._events: Events | None = None
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_stopping = False
        self.limit_reason = ""

    @property
    def is_limited(self) -> bool:
        """Tell whether some folders are not watched."""
        return bool(self.limit_reason)

    @property
    def by(self) -> str:
        """Return what tells of changes: `fanotify` or `inotify`; nothing before the first look, or where neither goes."""
        return self._events.name if self._events is not None else ""

    def begin_full_look(self) -> None:
        """Try again what the kernel refused: all folders are about to be entered."""
        self.limit_reason = ""

    def entering(self, path: RelPath, folder: int) -> None:
        """Watch an open folder, before it is listed."""
        try:
            with self._lock:
                if self._events is None and path == ROOT:
                    self._events = self._choose(folder)
                    self._wake()
                if self._events is not None:
                    self._events.enter(path, folder)
        except WatchLimit as error:
            self.limit_reason = str(error)

    def run(self) -> None:
        """Turn events into marks until `stop`."""
        while not self._is_stopping:
            events = self._events
            poll = select.poll()
            for descriptor in (self._wake_read, *(events.descriptors() if events is not None else ())):
                poll.register(descriptor, select.POLLIN)
            self._follow(poll, events)

    def stop(self) -> None:
        """End `run`."""
        self._is_stopping = True
        self._wake()

    def close(self) -> None:
        """Give all descriptors back, after `run` has ended."""
        if self._events is not None:
            self._events.close()
            self._events = None
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)

    def _follow(self, poll: select.poll, events: Events | None) -> None:
        """Turn events into marks until woken."""
        while True:
            waits = events is not None and events.waits
            ready = poll.poll(_PAUSE_SECONDS * 1000 if waits else None)
            if any(descriptor == self._wake_read for descriptor, _ in ready):
                os.read(self._wake_read, 16)
                return
            assert events is not None
            with self._lock:
                if ready:
                    events.take()
                else:
                    events.pause()

    def _choose(self, folder: int) -> Events:
        try:
            return FileSystemEvents(self._marks, self._open_root, self._is_left_out, folder)
        except MarkRefused as error:
            _log.info("the file system is not watched as a whole (%s), but folder by folder", error)
            return FolderEvents(self._marks)

    def _wake(self) -> None:
        os.write(self._wake_write, b"x")


def left_out(excludes: Excludes, root: bytes, own_state: bytes) -> Callable[[RelPath], bool]:
    """Return what tells whether a folder of the share at `root` is left out, by its own name or a folder's above it.

    The agent's own state, at `own_state`, is never a part of a share.
    """
    below_root = os.path.relpath(os.path.realpath(own_state), os.path.realpath(root))
    own = None if below_root.split(b"/", 1)[0] == b".." else RelPath(below_root)

    def is_left_out(path: RelPath) -> bool:
        if own is not None and is_within(path, own):
            return True
        while path:
            above, name = split(path)
            if excludes.match(path, name, True):
                return True
            path = above
        return False

    return is_left_out
