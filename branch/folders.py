"""Folders of a share, opened one component at a time below the root's descriptor.

No symlink is followed, no path is longer than a name for the kernel, and 3000 levels need no more than a fixed number of
descriptors: the most recent folders stay open, the rest is reached again from the nearest open one above.
"""

import errno
import os

from core.relpath import RelPath, split

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_FOLDERS = 128  # far below the usual limit of 1024 descriptors


class OpenFolders:
    """Descriptors of folders below a root, used by one thread."""

    def __init__(self, root: bytes) -> None:
        """Open the root; raise `OSError` when it is no folder."""
        self._open: dict[RelPath, int] = {}
        self.root = os.open(root, _FLAGS)

    def close(self) -> None:
        """Close all descriptors; may be called twice."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        if self.root >= 0:
            os.close(self.root)
            self.root = -1

    def open(self, path: RelPath) -> int:
        """Return a folder's descriptor, valid until the next call; raise `OSError`."""
        if not path:
            return self.root
        found = self._open.pop(path, None)
        if found is not None:
            self._open[path] = found  # now the most recent
            return found
        missing: list[tuple[RelPath, bytes]] = []
        above = path
        while above and above not in self._open:
            folder, name = split(above)
            missing.append((above, name))
            above = folder
        descriptor = self._open[above] if above else self.root
        for below, name in reversed(missing):
            descriptor = os.open(name, _FLAGS, dir_fd=descriptor)
            self._keep(below, descriptor)
        return descriptor

    def stat(self, folder: RelPath, name: bytes) -> os.stat_result | None:
        """Return the state of a name without following it, None when there is none."""
        try:
            if not name:
                return os.fstat(self.open(folder))
            return os.stat(name, dir_fd=self.open(folder), follow_symlinks=False)
        except OSError as error:
            if is_absence(error):
                return None
            raise

    def _keep(self, path: RelPath, descriptor: int) -> None:
        self._open[path] = descriptor
        if len(self._open) > _OPEN_FOLDERS:
            oldest = next(iter(self._open))
            os.close(self._open.pop(oldest))


def is_absence(error: OSError) -> bool:
    """Tell whether an error says that nothing (or no folder) stands at the path."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
