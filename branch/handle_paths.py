"""Where in a share the folder stands that a file handle means: asked of the kernel once, then remembered.

A handle stays with its folder through renames, so whoever sees a folder being renamed calls `forget`. The root is opened for
the time of some questions only: an open folder would keep its file system from being unmounted.
"""

import errno
import os
from collections.abc import Callable

from branch.fanotify import open_handle
from branch.folders import OpenFolders
from core.relpath import ROOT, RelPath

_REMEMBERED = 100_000  # folders; then it begins anew
_UP = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class HandlePaths:
    """Paths of folders below a root, used by one thread."""

    def __init__(self, open_root: Callable[[], OpenFolders], is_left_out: Callable[[RelPath], bool]) -> None:
        """Answer for the root that `open_root` gives (it raises `RootGone`), without the folders that `is_left_out` names."""
        self._open_root, self._is_left_out = open_root, is_left_out
        self._paths: dict[bytes, RelPath | None] = {}
        self._root: OpenFolders | None = None

    def path_of(self, handle: bytes) -> RelPath | None:
        """Return the folder's path; None when it is gone, outside of the share or left out. Raise `RootGone`."""
        if handle in self._paths:
            return self._paths[handle]
        if len(self._paths) >= _REMEMBERED:
            self._paths.clear()
        if self._root is None:
            self._root = self._open_root()
        path = self._look_up(self._root.root, handle)
        if path is not None and self._is_left_out(path):
            path = None
        self._paths[handle] = path
        return path

    def forget(self) -> None:
        """Forget all paths: a folder was renamed."""
        self._paths.clear()

    def rest(self) -> None:
        """Close the root until the next question."""
        if self._root is not None:
            self._root.close()
            self._root = None

    def _look_up(self, root: int, handle: bytes) -> RelPath | None:
        try:
            folder = open_handle(root, handle)
        except OSError as error:
            if error.errno in (errno.ESTALE, errno.ENOENT, errno.ENOTDIR):
                return None
            raise
        try:
            if not os.fstat(folder).st_nlink:  # removed: what the kernel calls its path is none
                return None
            return _below(_path(root), _path(folder))
        finally:
            os.close(folder)


def _path(folder: int) -> bytes:
    """Return the absolute path of an open folder, however long it is."""
    names: list[bytes] = []
    descriptor = os.dup(folder)
    try:
        while True:
            try:
                above = os.readlink(b"/proc/self/fd/%d" % descriptor)
                return b"/".join([above.rstrip(b"/"), *reversed(names)]) or b"/"
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
            upper = os.open(b"..", _UP, dir_fd=descriptor)
            names.append(_name_in(upper, os.fstat(descriptor).st_ino))
            os.close(descriptor)
            descriptor = upper
    finally:
        os.close(descriptor)


def _name_in(folder: int, inode: int) -> bytes:
    listed = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        with os.scandir(listed) as entries:
            return next((os.fsencode(entry.name) for entry in entries if entry.inode() == inode), b"")
    finally:
        os.close(listed)


def _below(root: bytes, path: bytes) -> RelPath | None:
    if path == root:
        return ROOT
    above = root.rstrip(b"/") + b"/"
    return RelPath(path[len(above) :]) if path.startswith(above) else None
