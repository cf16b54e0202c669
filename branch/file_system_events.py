"""A share's events from one mark on its whole file system: nothing is placed in each folder, and no folder is too new.

Events of everything else on that file system come too and are passed over. The mark keeps no file system mounted and
does not tell of its end; a watch on the root folder does.
"""

import os
from collections.abc import Callable

from branch.fanotify import (
    FAN_MOVED_FROM,
    FAN_MOVED_TO,
    FAN_ONDIR,
    FAN_Q_OVERFLOW,
    ITSELF,
    Fanotify,
    FolderEvent,
    MarkRefused,
    handle_of,
    open_handle,
)
from branch.folders import OpenFolders
from branch.handle_paths import HandlePaths
from branch.inotify import OF_ITSELF, Inotify, WatchLimit
from branch.marks import Marks
from branch.root import RootGone
from core.relpath import ROOT, RelPath

_MOVED = FAN_MOVED_FROM | FAN_MOVED_TO


class FileSystemEvents:
    """The events of one share; used under its owner's lock."""

    name = "fanotify"
    waits = False  # nothing is left over between two reads

    def __init__(
        self, marks: Marks, open_root: Callable[[], OpenFolders], is_left_out: Callable[[RelPath], bool], folder: int
    ) -> None:
        """Set marks in `marks`; `folder` is the open root. Raise `MarkRefused` where its file system cannot be watched so."""
        self._marks, self._paths = marks, HandlePaths(open_root, is_left_out)
        self._fanotify = Fanotify()
        try:
            self._fanotify.mark_file_system(folder)
            os.close(open_handle(folder, handle_of(folder)))
            self._inotify = Inotify()
        except (OSError, WatchLimit) as error:
            self._fanotify.close()
            raise MarkRefused(str(error)) from error
        except MarkRefused:
            self._fanotify.close()
            raise

    def descriptors(self) -> tuple[int, ...]:
        """Return what becomes readable when there are events."""
        return self._fanotify.descriptor, self._inotify.descriptor

    def enter(self, path: RelPath, folder: int) -> None:
        """Mark the root's file system again: it may have been mounted anew. Raise `WatchLimit`."""
        if path != ROOT:
            return
        try:
            self._fanotify.mark_file_system(folder)
        except MarkRefused as error:
            raise WatchLimit(str(error)) from error
        self._inotify.add(folder, OF_ITSELF)

    def take(self) -> None:
        """Turn the events that are there into marks."""
        if any(event.mask & OF_ITSELF for event in self._inotify.read()):
            self._marks.mark_all()
        try:
            for event in self._fanotify.read():
                self._take(event)
        except (RootGone, OSError):  # what the events are about cannot be found out: the look finds what is wrong
            self._marks.mark_all()
        finally:
            self._paths.rest()

    def pause(self) -> None:
        """Nothing came for a moment."""

    def close(self) -> None:
        """Give all descriptors back."""
        self._fanotify.close()
        self._inotify.close()

    def _take(self, event: FolderEvent) -> None:
        if event.mask & FAN_Q_OVERFLOW:
            self._marks.mark_all()
            return
        if event.mask & FAN_ONDIR and event.mask & _MOVED:
            self._paths.forget()
        path = self._paths.path_of(event.handle)
        if path is not None:
            self._marks.mark(path, b"" if event.name == ITSELF else event.name)
