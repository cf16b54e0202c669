"""Restoring a tree as of a moment into a directory: contents checked, links never followed, metadata last.

What could not be applied (an owner without root, an attribute that the file system refuses, a socket) is listed, never
passed over in silence. Damage in the store leaves that file out and is listed too; the rest is restored.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.digest import Digest
from core.errors import Damaged
from core.relpath import ROOT, RelPath, join, show_path, split
from snapshots.read_ahead import ReadAhead
from snapshots.target_folder import TargetFolder, describe
from snapshots.tree import Node, TreeView
from staging.changes import Attributes, Chunk, Kind

Progress = Callable[[int, int, RelPath], None]
"""Called with (files so far, bytes so far, path)."""

_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_UNREADABLE = "stored data is damaged"


@dataclass(frozen=True, slots=True)
class NotRestored:
    """Something of the tree that was not brought back as it was. `damaged` tells that the store is at fault."""

    path: RelPath
    what: str
    why: str
    damaged: bool = False


@dataclass(slots=True)
class Restored:
    """The outcome of a restore."""

    files: int = 0
    bytes: int = 0
    not_applied: list[NotRestored] = field(default_factory=list)


def restore_tree(
    view: TreeView, path: RelPath, target: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> Restored:
    """Restore `path` and all below it so that `target` becomes it (a single file is put into `target` under its name)."""
    top = view.node_at(path)
    folder = TargetFolder(target, overwrite)
    try:
        with ReadAhead(view) as ahead:
            return _Restore(view, ahead, path, folder, progress).run(top)
    finally:
        folder.close()


class _Restore:
    def __init__(
        self, view: TreeView, ahead: ReadAhead, source: RelPath, target: TargetFolder, progress: Progress | None
    ) -> None:
        self._view, self._ahead, self._source, self._target, self._progress = view, ahead, source, target, progress
        self._shown_below = source  # where in the share the target stands
        self._report = Restored()
        self._first_names: dict[int, RelPath] = {}
        self._open_folders: list[tuple[RelPath, Node]] = []

    def run(self, top: Node) -> Restored:
        if top.kind is not Kind.FOLDER:
            self._shown_below = split(self._source)[0]
            self._restore_one(RelPath(split(self._source)[1]), top)
            return self._report
        for path, node in self._ahead.walk(self._source):
            here = self._inside(path)
            self._finish_folders(here)
            self._restore_one(here, node)
        self._finish_folders(None)
        return self._report

    def _inside(self, path: RelPath) -> RelPath:
        if path == self._source:
            return ROOT
        return RelPath(path[len(self._source) + 1 :] if self._source else path)

    def _restore_one(self, path: RelPath, node: Node) -> None:
        try:
            self._make(path, node)
        except OSError as error:
            self._miss(path, node.kind.name.lower(), describe(error))
        except (ValueError, OverflowError) as error:
            self._miss(path, node.kind.name.lower(), str(error))
        except Damaged as error:
            self._miss(path, "content", f"{_UNREADABLE}: {error.message}", damaged=True)
        if self._progress is not None:
            self._progress(self._report.files, self._report.bytes, path)

    def _make(self, path: RelPath, node: Node) -> None:
        if node.kind is Kind.FOLDER:
            self._make_folder(path, node)
            return
        self._target.clear_way(path, keep_folder=False)
        folder, name = split(path)
        descriptor = self._target.folder(folder)
        first = self._first_names.get(node.id)
        if first is not None:
            self._make_link(first, folder, name)
        elif node.kind is Kind.FILE:
            self._make_file(path, name, descriptor, node)
        elif not self._make_special(path, name, descriptor, node):
            return
        self._report.files += 1
        if node.linked and first is None:
            self._first_names[node.id] = path

    def _make_link(self, first: RelPath, folder: RelPath, name: bytes) -> None:
        first_folder, first_name = split(first)
        source = os.dup(self._target.folder(first_folder))  # asking for the other folder may close this one
        try:
            target = self._target.folder(folder)
            os.link(first_name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        finally:
            os.close(source)

    def _make_folder(self, path: RelPath, node: Node) -> None:
        if path != ROOT and not self._target.clear_way(path, keep_folder=True):
            folder, name = split(path)
            os.mkdir(name, 0o700, dir_fd=self._target.folder(folder))
        self._open_folders.append((path, node))

    def _make_file(self, path: RelPath, name: bytes, folder: int, node: Node) -> None:
        descriptor = os.open(name, _WRITE, 0o600, dir_fd=folder)
        try:
            self._fill(descriptor, node)
            self._apply(path, descriptor, node.attributes)
        except Damaged:
            os.unlink(name, dir_fd=folder)
            raise
        finally:
            os.close(descriptor)
        self._report.bytes += node.size_bytes

    def _fill(self, descriptor: int, node: Node) -> None:
        if isinstance(node.content, Chunk):
            _write(descriptor, self._ahead.chunk(Digest(node.content.digest)))
            return
        end = 0
        for extent, data in self._ahead.filled(self._view.extents(node.content)):
            if data is None:
                end = os.lseek(descriptor, extent.length, os.SEEK_CUR)
            else:
                _write(descriptor, data)
                end = 0
        if end:
            os.ftruncate(descriptor, end)

    def _make_special(self, path: RelPath, name: bytes, folder: int, node: Node) -> bool:
        if node.kind is Kind.SYMLINK:
            os.symlink(node.target, name, dir_fd=folder)
        elif node.kind is Kind.SOCKET:
            self._miss(path, "socket", "a socket lives only while its program runs")
            return False
        else:
            os.mknod(name, 0o600 | _NODE_TYPES[node.kind], node.device, dir_fd=folder)
        self._apply_by_name(path, name, folder, node)
        return True

    def _finish_folders(self, reached: RelPath | None) -> None:
        """Set the attributes of folders that are left behind (their times must come after their content)."""
        while self._open_folders:
            path, node = self._open_folders[-1]
            if reached is not None and (path == ROOT or reached.startswith(path + b"/")):
                return
            self._open_folders.pop()
            try:
                self._apply(path, self._target.folder(path), node.attributes)
            except OSError as error:
                self._miss(path, "folder attributes", describe(error))

    def _apply(self, path: RelPath, descriptor: int, wanted: Attributes) -> None:
        """Set owner, mode, xattrs and times, in the order in which none undoes another."""
        is_theirs = self._try(path, "owner", lambda: os.fchown(descriptor, wanted.uid, wanted.gid))
        mode = self._mode_for(path, wanted, is_theirs)
        self._try(path, "mode", lambda: os.fchmod(descriptor, mode))
        for name, value in wanted.xattrs:
            self._try(path, f"attribute {show_path(name)}", _setter(descriptor, name, value))
        self._try(path, "time", lambda: os.utime(descriptor, ns=(wanted.mtime_ns, wanted.mtime_ns)))

    def _apply_by_name(self, path: RelPath, name: bytes, folder: int, node: Node) -> None:
        wanted = node.attributes
        is_theirs = self._try(path, "owner", lambda: os.chown(name, wanted.uid, wanted.gid, dir_fd=folder, follow_symlinks=False))
        if node.kind is not Kind.SYMLINK:
            mode = self._mode_for(path, wanted, is_theirs)
            self._try(path, "mode", lambda: os.chmod(name, mode, dir_fd=folder))
        for attribute, value in wanted.xattrs:
            by_handle = b"/proc/self/fd/%d/%s" % (folder, name)
            self._try(path, f"attribute {show_path(attribute)}", _link_setter(by_handle, attribute, value))
        self._try(
            path, "time",
            lambda: os.utime(name, ns=(wanted.mtime_ns, wanted.mtime_ns), dir_fd=folder, follow_symlinks=False),
        )  # fmt: skip

    def _mode_for(self, path: RelPath, wanted: Attributes, is_theirs: bool) -> int:
        """Return the mode to set: a program must not run as whoever happens to own it here."""
        if is_theirs or not wanted.mode & _SET_IDS:
            return wanted.mode
        self._miss(path, "mode", "without its set-ID bits, as the owner is another")
        return wanted.mode & ~_SET_IDS

    def _try(self, path: RelPath, what: str, action: Callable[[], None]) -> bool:
        """Do it and return True, or tell what failed."""
        try:
            action()
            return True
        except OSError as error:
            self._miss(path, what, describe(error))
        except (ValueError, OverflowError) as error:  # a value that this system's calls do not take
            self._miss(path, what, str(error))
        return False

    def _miss(self, path: RelPath, what: str, why: str, damaged: bool = False) -> None:
        self._report.not_applied.append(NotRestored(join_source(self._shown_below, path), what, why, damaged))


_SET_IDS = stat.S_ISUID | stat.S_ISGID
_NODE_TYPES = {Kind.FIFO: 0o010000, Kind.CHARACTER_DEVICE: 0o020000, Kind.BLOCK_DEVICE: 0o060000}


def _write(descriptor: int, data: bytes | memoryview) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def join_source(source: RelPath, path: RelPath) -> RelPath:
    """Return the path in the share of a path in the target."""
    return join(source, path) if source and path else RelPath(source or path)


def _setter(descriptor: int, name: bytes, value: bytes) -> Callable[[], None]:
    return lambda: os.setxattr(descriptor, name, value)


def _link_setter(path: bytes, name: bytes, value: bytes) -> Callable[[], None]:
    return lambda: os.setxattr(path, name, value, follow_symlinks=False)
