"""A file layer over the real one that fails at the N-th durable operation in a chosen way.

`Killed` derives from BaseException, so that no handler in the product can swallow it, as none can swallow SIGKILL. After
it the layer refuses every further operation. `lose_unsynced` then makes the files what a power cut would have
left: data behind the last sync of a file is cut away, names behind the last sync of a directory are undone. What a sync failed
for is lost for good unless it is written again: the next sync says OK all the same, as Linux does.
"""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from core.durable import Buffer, FileLayer, OsFileLayer


class Killed(BaseException):
    """The process is gone at this operation."""


class FaultyFiles(FileLayer):
    """Counts durable operations; at number `at` does what `fault` says: kill, kill_after, torn, or an errno name."""

    def __init__(self, at: int = 0, fault: str = "kill") -> None:
        self.at, self.fault = at, fault
        self.count = 0
        self.fired = False
        self.log: list[str] = []
        self._real = OsFileLayer()
        self._paths: dict[int, Path] = {}
        self._synced_sizes: dict[Path, int] = {}
        self._lost: dict[Path, tuple[int, int]] = {}
        self._new_names: dict[Path, list[Path]] = {}
        self._renames: list[tuple[Path, Path, bytes | None, Path]] = []

    def open_append(self, path: Path) -> int:
        is_new = not path.exists()
        self._before("open", path)
        descriptor = self._real.open_append(path)
        self._paths[descriptor] = path
        self._synced_sizes.setdefault(path, os.fstat(descriptor).st_size)
        if is_new:
            self._synced_sizes[path] = 0
            self._lost.pop(path, None)
            self._new_names.setdefault(path.parent, []).append(path)
        return descriptor

    def write(self, descriptor: int, buffers: Sequence[Buffer]) -> None:
        if self._is_due() and self.fault == "torn":
            data = b"".join(bytes(buffer) for buffer in buffers)
            self._real.write(descriptor, [data[: len(data) // 2]])
        self._before("write", self._paths[descriptor])
        self._real.write(descriptor, buffers)
        self._after()

    def sync(self, descriptor: int) -> None:
        path = self._paths[descriptor]
        try:
            self._before("sync", path)
        except OSError:
            self._lost[path] = (self._synced_sizes[path], os.fstat(descriptor).st_size)
            raise
        self._real.sync(descriptor)
        self._synced_sizes[path] = os.fstat(descriptor).st_size
        self._after()

    def truncate(self, descriptor: int, size: int) -> None:
        path = self._paths[descriptor]
        self._before("truncate", path)
        self._real.truncate(descriptor, size)
        self._synced_sizes[path] = min(self._synced_sizes[path], size)
        self._written_again(path, size, self._lost.get(path, (0, 0))[1])
        self._after()

    def allocate(self, descriptor: int, size: int) -> None:
        self._before("allocate", self._paths[descriptor])
        self._real.allocate(descriptor, size)
        self._after()

    def sync_directory(self, path: Path) -> None:
        self._before("sync_directory", path)
        self._real.sync_directory(path)
        self._new_names.pop(path, None)
        self._renames = [rename for rename in self._renames if rename[3] != path]
        self._after()

    def rename(self, source: Path, target: Path) -> None:
        self._before("rename", target)
        old = target.read_bytes() if target.exists() else None
        self._real.rename(source, target)
        self._renames.append((source, target, old, target.parent))
        self._synced_sizes.pop(target, None)
        self._lost.pop(target, None)
        if source in self._synced_sizes:  # else somebody else wrote it: SQLite
            self._synced_sizes[target] = self._synced_sizes.pop(source)
        if source in self._lost:
            self._lost[target] = self._lost.pop(source)
        self._after()

    def unlink(self, path: Path) -> None:
        self._before("unlink", path)
        self._real.unlink(path)
        self._after()

    def make_directory(self, path: Path) -> None:
        self._before("make_directory", path)
        self._real.make_directory(path)
        self._new_names.setdefault(path.parent, []).append(path)
        self._after()

    def remove_directory(self, path: Path) -> None:
        self._before("remove_directory", path)
        self._real.remove_directory(path)
        self._after()

    def lose_unsynced(self) -> None:
        """Undo everything that no sync has made durable."""
        for source, target, old, _ in reversed(self._renames):
            os.rename(target, source)
            if old is not None:
                target.write_bytes(old)
        for path, size in self._synced_sizes.items():
            if path.is_file() and path.stat().st_size > size:
                os.truncate(path, size)
        for path, (start, end) in self._lost.items():
            if path.is_file() and path.stat().st_size > start:
                with path.open("r+b") as file:
                    file.seek(start)
                    file.write(bytes(min(end, path.stat().st_size) - start))
        for names in self._new_names.values():
            for path in names:
                if path.is_dir():
                    _remove_tree(path)
                elif path.exists():
                    path.unlink()

    def _written_again(self, path: Path, start: int, end: int) -> None:
        """Note that what stood at a place was cut away, or was written once more: the next sync holds for it."""
        lost = self._lost.get(path)
        if lost is not None and start < lost[1] and end >= lost[1]:
            self._lost[path] = (lost[0], max(start, lost[0]))
            if self._lost[path][0] >= self._lost[path][1]:
                del self._lost[path]

    def _is_due(self) -> bool:
        return self.count + 1 == self.at

    def _before(self, verb: str, path: Path) -> None:
        if self.fired and self.fault in ("kill", "kill_after", "torn"):
            raise Killed
        self.count += 1
        self.log.append(f"{verb} {path.name}")
        if self.count != self.at or self.fault == "kill_after":
            return
        self.fired = True
        if self.fault in ("kill", "torn"):
            raise Killed
        number = getattr(errno, self.fault)
        raise OSError(number, os.strerror(number), str(path))

    def _after(self) -> None:
        if self.count == self.at and self.fault == "kill_after":
            self.fired = True
            raise Killed


def _remove_tree(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            _remove_tree(path)
        else:
            path.unlink()
    folder.rmdir()
