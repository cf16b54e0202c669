"""Keeping watch over a share: the kernel's events become marks.

A folder is watched before it is listed (`entering` is called by the look), so that nothing made in it meanwhile is missed.
When events were lost (overflow), when renames cannot be followed, when the root itself is concerned: everything is marked.
Where the kernel grants no more watches, `is_limited` says so, and looking regularly must do.
"""

import os
import select
import threading

from branch.inotify import (
    IN_DELETE_SELF,
    IN_IGNORED,
    IN_ISDIR,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
    Event,
    Inotify,
    WatchLimit,
)
from branch.marks import Marks
from branch.watch_tree import WatchTree
from core.relpath import ROOT, RelPath, join

_SELF = IN_DELETE_SELF | IN_MOVE_SELF
_HALF_SECONDS = 0.05  # the halves of a rename stand side by side in the queue, but a read may end between them


class Watcher:
    """Watches one share; `run` belongs to a thread of its own."""

    def __init__(self, marks: Marks) -> None:
        """Set marks in `marks`; without inotify at all the watcher is limited from the start."""
        self._marks = marks
        self._lock = threading.Lock()
        self._tree = WatchTree()
        self._moving: dict[int, tuple[RelPath, bytes]] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.overflows = 0
        self.limit_reason = ""
        self._inotify: Inotify | None = None
        try:
            self._inotify = Inotify()
        except WatchLimit as error:
            self.limit_reason = str(error)

    @property
    def is_limited(self) -> bool:
        """Tell whether some folders are not watched."""
        return bool(self.limit_reason)

    def begin_full_look(self) -> None:
        """Try again what the kernel refused: all folders are about to be entered."""
        if self._inotify is not None:
            self.limit_reason = ""

    def entering(self, path: RelPath, folder: int) -> None:
        """Watch an open folder, before it is listed."""
        if self._inotify is None:
            return
        with self._lock:
            try:
                watch = self._inotify.add(folder)
            except WatchLimit as error:
                self.limit_reason = str(error)
                return
            if watch is not None:
                self._tree.place(path, watch)

    def run(self) -> None:
        """Turn events into marks until `stop`."""
        if self._inotify is None:
            return
        poll = select.poll()
        poll.register(self._inotify.descriptor, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while True:
            ready = poll.poll(_HALF_SECONDS * 1000 if self._moving else None)
            if any(descriptor == self._wake_read for descriptor, _ in ready):
                return
            with self._lock:
                if not ready:
                    self._forget_moved_away()
                for event in self._inotify.read():
                    self._take(event)

    def stop(self) -> None:
        """End `run`."""
        os.write(self._wake_write, b"x")

    def close(self) -> None:
        """Give all descriptors back, after `run` has ended."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)

    def _take(self, event: Event) -> None:
        mask = event.mask
        if mask & IN_Q_OVERFLOW:
            self.overflows += 1
            self._moving.clear()
            self._marks.mark_all()
            return
        path = self._tree.path_of(event.watch)
        if path is None:
            return
        if mask & (IN_IGNORED | IN_UNMOUNT):
            self._tree.forget(event.watch)
        if mask & (IN_UNMOUNT | _SELF):
            if path == ROOT:
                self._marks.mark_all()
            return
        if not event.name:
            if not mask & IN_IGNORED:  # the folder's own attributes
                self._marks.mark(path, b"")
            return
        self._marks.mark(path, event.name)
        if mask & IN_ISDIR and mask & IN_MOVED_FROM:
            self._moving[event.cookie] = (path, event.name)
        elif mask & IN_ISDIR and mask & IN_MOVED_TO:
            self._moved_to(event.cookie, path, event.name)

    def _moved_to(self, cookie: int, folder: RelPath, name: bytes) -> None:
        source = self._moving.pop(cookie, None)
        if source is None:
            return  # from outside: the look finds a new folder and watches it
        if not self._tree.move(*source, folder, name):
            self._tree.detach(join(*source))
            self._marks.mark_all()

    def _forget_moved_away(self) -> None:
        """Folders moved out of the share are watched no longer."""
        assert self._inotify is not None
        for folder, name in self._moving.values():
            for watch in self._tree.detach(join(folder, name)):
                self._inotify.remove(watch)
        self._moving.clear()
