"""A share's events from a watch on each of its folders, placed by the looks as they enter them.

A folder is watched before it is listed, so that nothing made in it meanwhile is missed. When events were lost (overflow), or
when the root itself is concerned, everything is marked; the look that follows puts every watch in its right place.
"""

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
)
from branch.marks import Marks
from branch.watch_tree import Node, WatchTree
from core.relpath import ROOT, RelPath, join

_SELF = IN_DELETE_SELF | IN_MOVE_SELF


class FolderEvents:
    """The events of one share; used under its owner's lock."""

    name = "inotify"

    def __init__(self, marks: Marks) -> None:
        """Set marks in `marks`; raise `WatchLimit` when the kernel grants no inotify."""
        self._marks = marks
        self._tree = WatchTree()
        self._moving: dict[int, Node] = {}  # by the cookie that joins the halves of a rename
        self._inotify = Inotify()

    @property
    def waits(self) -> bool:
        """Tell whether a half of a rename waits for the other, which stands beside it in the queue, perhaps in the next read."""
        return bool(self._moving)

    def descriptors(self) -> tuple[int, ...]:
        """Return what becomes readable when there are events."""
        return (self._inotify.descriptor,)

    def enter(self, path: RelPath, folder: int) -> None:
        """Watch an open folder, before it is listed; raise `WatchLimit`."""
        watch = self._inotify.add(folder)
        if watch is not None:
            self._tree.place(path, watch)

    def take(self) -> None:
        """Turn the events that are there into marks."""
        for event in self._inotify.read():
            self._take(event)

    def pause(self) -> None:
        """Nothing came for a moment: folders moved out of the share, or into one not looked at yet, are watched no longer."""
        for node in self._moving.values():
            for watch in self._tree.discard(node):
                self._inotify.remove(watch)
        self._moving.clear()

    def close(self) -> None:
        """Give all descriptors back."""
        self._inotify.close()

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
