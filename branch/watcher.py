"""Keeping watch over a share: the kernel's events become marks.

A folder is watched before it is listed (`entering` is called by the look), so that nothing made in it meanwhile is missed.
When events were lost (overflow), or when the root itself is concerned, everything is marked; the look that follows puts
every watch in its right place. Where the kernel grants no more watches, `is_limited` says so, and looking regularly must
do. Events cannot tell of writes through a memory mapping, nor of those by a further name of a file that was made and
removed between two looks; the regular full look finds them.
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
    IN_Q_OVERFLOW,
    IN_UNMOUNT,
    Event,
    Inotify,
    WatchLimit,
)
from branch.marks import Marks
from branch.watch_tree import Node, WatchTree
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
        self._moving: dict[int, Node] = {}  # by the cookie that joins the halves of a rename
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
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
            node = self._tree.take_out(join(path, event.name))
            if node is not None:
                self._moving[event.cookie] = node
        elif event.cookie in self._moving:
            self._tree.put_in(self._moving.pop(event.cookie), path, event.name)

    def _forget_moved_away(self) -> None:
        """Folders moved out of the share, or into one not looked at yet, are watched no longer until they are found."""
        assert self._inotify is not None
        for node in self._moving.values():
            for watch in self._tree.discard(node):
                self._inotify.remove(watch)
        self._moving.clear()
