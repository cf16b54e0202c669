"""Writing below one directory and nowhere else: every step is relative to an open folder and follows no link.

Folders are reached name by name from the target's own descriptor, so that trees deeper than PATH_MAX work and a
symlink put in the way leads nowhere.
"""

import errno
import os
import stat
from collections import OrderedDict
from pathlib import Path

from core.errors import Refused
from core.relpath import ROOT, RelPath, split

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FOLDERS = 64


class TargetNotEmpty(Refused):
    """A restore may not mix with what is there."""


class TargetUnusable(Refused):
    """The target is no directory that can be written."""


class TargetFolder:
    """An open target directory with the folders below it."""

    def __init__(self, path: Path, overwrite: bool) -> None:
        """Open `path`, making it when missing; raise `TargetNotEmpty` unless it is empty or `overwrite`."""
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._root = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise TargetUnusable(
                f"{path} cannot be used: {error.strerror}",
                remedy="name a directory that the service may write; with systemd, one below a ReadWritePaths= of its unit",
            ) from error
        self._open: OrderedDict[RelPath, int] = OrderedDict()
        if not overwrite and os.listdir(self._root):
            self.close()
            raise TargetNotEmpty(f"{path} is not empty", remedy="name an empty or new directory, or add --overwrite")

    def folder(self, path: RelPath) -> int:
        """Return a descriptor of a folder below the target (valid until many other folders were asked for)."""
        if path == ROOT:
            return self._root
        found = self._open.get(path)
        if found is not None:
            self._open.move_to_end(path)
            return found
        parent, name = split(path)
        chain = [name]
        while parent != ROOT and parent not in self._open:
            parent, name = split(parent)
            chain.append(name)
        return self._descend(parent, chain)

    def clear_way(self, path: RelPath, keep_folder: bool) -> bool:
        """Remove what stands at `path`, unless it is a folder to keep; return True when a kept folder stands there."""
        folder, name = split(path)
        descriptor = self.folder(folder)
        try:
            mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
        except FileNotFoundError:
            return False
        if stat.S_ISDIR(mode):
            if keep_folder:
                return True
            os.rmdir(name, dir_fd=descriptor)
        else:
            os.unlink(name, dir_fd=descriptor)
        return False

    def close(self) -> None:
        """Close all descriptors."""
        for descriptor in (*self._open.values(), self._root):
            os.close(descriptor)
        self._open.clear()

    def _descend(self, start: RelPath, chain: list[bytes]) -> int:
        path, descriptor = start, self._open[start] if start != ROOT else self._root
        for name in reversed(chain):
            descriptor = os.open(name, _FOLDER, dir_fd=descriptor)
            path = RelPath(path + b"/" + name) if path else RelPath(name)
            self._open[path] = descriptor
            if len(self._open) > _OPEN_FOLDERS:
                os.close(self._open.popitem(last=False)[1])
        return descriptor


def describe(error: OSError) -> str:
    """Return an operating system error in a few words, with its symbol."""
    symbol = errno.errorcode.get(error.errno or 0, "?")
    return f"{error.strerror} ({symbol})"
