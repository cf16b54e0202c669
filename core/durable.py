"""The only module that syncs, renames and removes files.

Every such step goes through a `FileLayer`, so that tests can kill, fail or tear the work at each of them. Promises:
what `AppendFile.sync` returned for survives a power cut together with the file's name; a file written by `replace_file`
is there whole or not at all; after a failed write or sync a file takes no more data (a second fsync answers OK while
the data is gone: reproduced on Linux), and what the sync failed for is cut away, so that nobody finds it and syncs it again.
What the operating system refuses comes out as `NoSpace` or `WriteFailed`; that there is no such file stays `FileNotFoundError`.
"""

import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from core.errors import Stopped, TryLater

Buffer = bytes | bytearray | memoryview
_MAX_BUFFERS = 512  # below IOV_MAX (1024)


class WriteFailed(Stopped):
    """A write or sync failed; the file takes no more data until it is recovered."""


class NoSpace(TryLater):
    """The disk (or the table of open files) is full; nothing of the write was kept."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})


@contextlib.contextmanager
def _told(act: str, path: Path) -> Iterator[None]:
    """Raise what the operating system refuses inside as one of our errors."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _failure_of(f"cannot {act} {path}", error) from error


def _failure_of(what: str, error: OSError) -> NoSpace | WriteFailed:
    if error.errno in _FULL:
        return NoSpace(f"{what}: {error.strerror}", remedy="free disk space")
    if error.errno in _NO_DESCRIPTORS:
        return NoSpace(f"{what}: {error.strerror}", remedy="allow the process more open files")
    return WriteFailed(f"{what}: {error.strerror}", remedy="check the disk and who may write there, then try again")


class FileLayer(Protocol):
    """The durable operations of a file system, one method each."""

    def open_append(self, path: Path) -> int:
        """Open for appending, made if missing, and return a descriptor."""

    def write(self, descriptor: int, buffers: Sequence[Buffer]) -> None:
        """Append all bytes of all buffers."""

    def sync(self, descriptor: int) -> None:
        """Return when the file's data and length are on the medium."""

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to `size` bytes."""

    def allocate(self, descriptor: int, size: int) -> None:
        """Let the file take `size` bytes of the disk, whatever it holds."""

    def sync_directory(self, path: Path) -> None:
        """Return when the names in a directory are on the medium."""

    def rename(self, source: Path, target: Path) -> None:
        """Rename, replacing `target`."""

    def unlink(self, path: Path) -> None:
        """Remove a file's name."""

    def make_directory(self, path: Path) -> None:
        """Make one directory; its parent exists."""

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""


class OsFileLayer:
    """The operating system itself."""

    def open_append(self, path: Path) -> int:
        """Open for appending, made if missing, and return a descriptor."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, buffers: Sequence[Buffer]) -> None:
        """Append all bytes of all buffers."""
        rest = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
        while rest:
            written = os.writev(descriptor, rest[:_MAX_BUFFERS])
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if written:
                rest[0] = rest[0][written:]

    def sync(self, descriptor: int) -> None:
        """Return when the file's data and length are on the medium."""
        os.fdatasync(descriptor)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file to `size` bytes."""
        os.ftruncate(descriptor, size)

    def allocate(self, descriptor: int, size: int) -> None:
        """Let the file take `size` bytes of the disk, whatever it holds."""
        os.posix_fallocate(descriptor, 0, size)

    def sync_directory(self, path: Path) -> None:
        """Return when the names in a directory are on the medium."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Rename, replacing `target`."""
        os.rename(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a file's name."""
        os.unlink(path)

    def make_directory(self, path: Path) -> None:
        """Make one directory; its parent exists."""
        os.mkdir(path, 0o700)

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        os.rmdir(path)


OS_FILES: FileLayer = OsFileLayer()


class AppendFile:
    """A file that only grows. One thread at a time appends; `sync` may run beside it."""

    def __init__(self, path: Path, files: FileLayer = OS_FILES) -> None:
        """Open `path`, making it (and its name durable) when missing."""
        self.path = path
        self._files = files
        self._descriptor = -1
        self._lock = threading.Lock()  # no append may land behind what a failed sync cuts away
        self._failure: str | None = None
        try:
            with _told("open", path):
                self._descriptor = files.open_append(path)
                self.size = self._synced_size = os.fstat(self._descriptor).st_size
                if self.size == 0:  # new, or made just before a crash: its name may not be durable yet
                    files.sync_directory(path.parent)
        except BaseException:
            self.close()
            raise

    def append(self, buffers: Sequence[Buffer]) -> int:
        """Append and return the offset of the first byte; not durable before `sync` returned."""
        with self._lock:
            self._check()
            offset = self.size
            try:
                self._files.write(self._descriptor, buffers)
            except OSError as error:
                self._undo_append(offset, error)
                raise NoSpace(f"cannot write {self.path}: {error.strerror}", remedy="free disk space") from error
            self.size = offset + sum(len(buffer) for buffer in buffers)
            return offset

    def sync(self) -> None:
        """Return when all that was appended before the call is durable; a failure is final for this file."""
        self._check()
        size = self.size
        try:
            self._files.sync(self._descriptor)
        except OSError as error:
            self._undo_unsynced(error)
            raise self._failed() from error
        self._synced_size = max(self._synced_size, size)

    def truncate(self, size: int) -> None:
        """Cut a torn tail off and make that durable; used while opening only."""
        with _told("cut", self.path):
            self._files.truncate(self._descriptor, size)
        self.size = size
        self._synced_size = min(self._synced_size, size)
        self.sync()

    def read_at(self, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        """Close the descriptor; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _undo_append(self, offset: int, cause: OSError) -> None:
        """Cut a partial append away, so that no torn record stands before later ones; else the file is done for."""
        try:
            self._files.truncate(self._descriptor, offset)
        except OSError as error:
            self._failure = f"write failed ({cause.strerror}) and could not be cut away ({error.strerror})"
            raise self._failed() from error
        if cause.errno not in _FULL:
            self._failure = f"write failed: {cause.strerror}"
            raise self._failed() from cause

    def _undo_unsynced(self, cause: OSError) -> None:
        """Take no more data, and cut away what no sync holds: it can be read still, and the next sync would say OK to it."""
        with self._lock:
            self._failure = self._failure or f"sync failed: {cause.strerror}"
            with contextlib.suppress(OSError):  # a disk that refuses this too takes nothing when it is opened again either
                self._files.truncate(self._descriptor, self._synced_size)
                self.size = self._synced_size

    def _check(self) -> None:
        if self._failure:
            raise self._failed()

    def _failed(self) -> WriteFailed:
        return WriteFailed(
            f"{self.path} takes no more data: {self._failure}",
            remedy="check the disk, then restart the service: it recovers from the journal",
        )


def replace_file(path: Path, data: bytes, files: FileLayer = OS_FILES) -> None:
    """Write `path` anew, whole or not at all, and make it durable."""
    temporary = path.with_name(path.name + ".new")
    with _told("write", path):
        if temporary.exists():
            files.unlink(temporary)
        descriptor = files.open_append(temporary)
        try:
            files.write(descriptor, [data])
            files.sync(descriptor)
        finally:
            os.close(descriptor)
        files.rename(temporary, path)
        files.sync_directory(path.parent)


def reserve_file(path: Path, size: int, files: FileLayer = OS_FILES) -> bool:
    """Make (or lengthen) a file that only takes up `size` bytes; without that much room there is none, and False is returned."""
    try:
        descriptor = files.open_append(path)
        try:
            files.allocate(descriptor, size)
            files.sync(descriptor)
        finally:
            os.close(descriptor)
        files.sync_directory(path.parent)
    except OSError:
        with contextlib.suppress(OSError):
            files.unlink(path)
        return False
    return True


def move_file(source: Path, target: Path, files: FileLayer = OS_FILES) -> None:
    """Give a file that is durable already another name in the same file system, and make that durable."""
    with _told("move", source):
        files.rename(source, target)
        files.sync_directory(target.parent)
        if source.parent != target.parent:
            files.sync_directory(source.parent)


def remove_file(path: Path, files: FileLayer = OS_FILES) -> None:
    """Remove a file and make its absence durable."""
    with _told("remove", path):
        files.unlink(path)
        files.sync_directory(path.parent)


def remove_folder(path: Path, files: FileLayer = OS_FILES) -> None:
    """Remove a directory with the files in it and make its absence durable; what a crash leaves is removed by the next call."""
    with _told("remove", path):
        for file in sorted(path.iterdir()):
            files.unlink(file)
        files.remove_directory(path)
        files.sync_directory(path.parent)


def make_directories(path: Path, files: FileLayer = OS_FILES) -> None:
    """Make a directory and its missing parents, each name durable in its parent."""
    if path.is_dir():
        return
    make_directories(path.parent, files)
    try:
        with _told("make", path):
            files.make_directory(path)
            files.sync_directory(path.parent)
    except Exception:
        with contextlib.suppress(OSError):
            os.rmdir(path)  # else the next call would take its name for durable
        raise
