"""Restoring a tree as of a moment into a directory: contents checked, links never followed, metadata last.

What could not be applied (an owner without root, an attribute that the file system refuses, a socket) is listed, never
passed over in silence. Damage in the store leaves that file out and is listed too; the rest is restored.
"""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from core.digest import Digest
from core.errors import Damaged
from core.relpath import ROOT, RelPath, join, split
from snapshots.dressing import Missed, dress, dress_by_name
from snapshots.finishing import Finished, Finishing, OpenFile, write_all
from snapshots.read_ahead import ReadAhead
from snapshots.target_folder import TargetFolder, describe
from snapshots.tree import Node, TreeView
from staging.changes import Chunk, Kind

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
        self._finishing = Finishing(self._finished)

    def run(self, top: Node) -> Restored:
        with self._finishing:
            if top.kind is not Kind.FOLDER:
                self._shown_below = split(self._source)[0]
                self._restore_one(RelPath(split(self._source)[1]), top)
            else:
                for path, node in self._ahead.walk(self._source):
                    here = self._inside(path)
                    self._leave_folders(here)
                    self._restore_one(here, node)
                self._leave_folders(None)
            self._finishing.end()
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
        self._tell_progress(path)

    def _make(self, path: RelPath, node: Node) -> None:
        if node.kind is Kind.FOLDER:
            self._make_folder(path, node)
            return
        folder, name = split(path)
        first = self._first_names.get(node.id)
        if first is None and node.kind is Kind.FILE:
            if not self._make_file(path, name, self._target.folder(folder), node):
                return
        else:
            self._target.clear_way(path, keep_folder=False)
            if first is not None:
                self._make_link(first, folder, name)
            elif not self._make_special(path, name, self._target.folder(folder), node):
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
        if path != ROOT:
            folder, name = split(path)
            try:
                os.mkdir(name, 0o700, dir_fd=self._target.folder(folder))
            except FileExistsError:
                if not self._target.clear_way(path, keep_folder=True):
                    os.mkdir(name, 0o700, dir_fd=self._target.folder(folder))
        self._open_folders.append((path, node))

    def _make_file(self, path: RelPath, name: bytes, folder: int, node: Node) -> bool:
        """Make a file; return True when it is done, False when the finishing threads tell."""
        data = None if node.linked else self._at_hand(node)
        try:
            descriptor = os.open(name, _WRITE, 0o600, dir_fd=folder)
        except FileExistsError:
            self._target.clear_way(path, keep_folder=False)
            descriptor = os.open(name, _WRITE, 0o600, dir_fd=folder)
        if data is not None:
            self._finishing.put(OpenFile(path, descriptor, data, node.attributes))
            return False
        try:
            self._fill(descriptor, node)
            self._tell_missed(path, dress(descriptor, node.attributes))
        except Damaged:
            os.unlink(name, dir_fd=folder)
            raise
        finally:
            os.close(descriptor)
        self._report.bytes += node.size_bytes
        return True

    def _at_hand(self, node: Node) -> bytes | memoryview | None:
        """Return a small content that was read already."""
        if node.content is None:
            return b""
        return self._ahead.near(Digest(node.content.digest)) if isinstance(node.content, Chunk) else None

    def _finished(self, finished: Finished) -> None:
        if finished.size is not None:
            self._report.files += 1
            self._report.bytes += finished.size
        self._tell_missed(finished.path, finished.missed)

    def _fill(self, descriptor: int, node: Node) -> None:
        if isinstance(node.content, Chunk):
            write_all(descriptor, self._ahead.chunk(Digest(node.content.digest)))
            return
        end = 0
        for extent, data in self._ahead.filled(self._view.extents(node.content)):
            if data is None:
                end = os.lseek(descriptor, extent.length, os.SEEK_CUR)
            else:
                write_all(descriptor, data)
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
        self._tell_missed(path, dress_by_name(name, folder, node.kind, node.attributes))
        return True

    def _leave_folders(self, reached: RelPath | None) -> None:
        """Have the attributes of folders that are left behind set when all in them is done (their times come last)."""
        while self._open_folders:
            path, node = self._open_folders[-1]
            if reached is not None and (path == ROOT or reached.startswith(path + b"/")):
                return
            self._open_folders.pop()
            self._finishing.then(functools.partial(self._dress_folder, path, node))

    def _dress_folder(self, path: RelPath, node: Node) -> None:
        try:
            self._tell_missed(path, dress(self._target.folder(path), node.attributes))
        except OSError as error:
            self._miss(path, "folder attributes", describe(error))

    def _tell_progress(self, path: RelPath) -> None:
        if self._progress is not None:
            self._progress(self._report.files, self._report.bytes, path)

    def _tell_missed(self, path: RelPath, missed: Missed) -> None:
        for what, why in missed:
            self._miss(path, what, why)

    def _miss(self, path: RelPath, what: str, why: str, damaged: bool = False) -> None:
        self._report.not_applied.append(NotRestored(join_source(self._shown_below, path), what, why, damaged))


_NODE_TYPES = {Kind.FIFO: 0o010000, Kind.CHARACTER_DEVICE: 0o020000, Kind.BLOCK_DEVICE: 0o060000}


def join_source(source: RelPath, path: RelPath) -> RelPath:
    """Return the path in the share of a path in the target."""
    return join(source, path) if source and path else RelPath(source or path)
