"""What the calls of programs change, as changes of the share: in their order, with their exact bytes, before a call returns.

While the log is *live* each change goes into the open batch, with the steps by which the agent's memory follows. While it is
not (a baseline is laid, the outbox is full, a new epoch begins) places are marked instead, and a look compares them. All
methods but `await_sealed` and those for the sealing thread are called under the gate, which is held for each call of a
program: the change itself and its entry here are one step, and the order of entries is the order of calls.
"""

import errno
import os
import threading
from collections import deque
from collections.abc import Callable

from branch.attributes import AttributeReader, AttributesTooLarge, mtime_of
from branch.batch import Batch
from branch.filter.nodes import Node, NodeTable
from branch.known import UNKNOWN_ATTRIBUTES, UNKNOWN_CONTENT, UNSETTLED, DropRow, KnownRow, MoveRow
from branch.marks import Marks
from branch.node_reader import inode_of, kind_of
from core.clock import Clock
from core.database import DatabaseError
from core.errors import StagekeeperError
from core.relpath import MAX_PATH_BYTES, RelPath, join, split
from staging.changes import Create, Kind, Link, Rename, SetAttributes, Truncate, Unlink, Write

PARKED_NAME = b".stagekeeper-exchanged"
MAX_WAITING_BYTES = 16 * 1024 * 1024  # of changes not yet in the outbox: programs wait while there are more
_CHANGE_BYTES = 256  # of a change beside its bytes


class ChangeLog:
    """The changes of one mount on their way to the outbox."""

    def __init__(
        self, table: NodeTable, reader: AttributeReader, marks: Marks, mark_dirty: Callable[[int], None], clock: Clock
    ) -> None:
        """Begin not live. `mark_dirty` keeps an inode's mark durably."""
        self.gate = threading.RLock()
        self._table, self._reader, self._marks, self._clock = table, reader, marks, clock
        self._mark_dirty = mark_dirty
        self._news = threading.Condition()
        self._open = Batch(is_group=False)
        self._open_bytes = 0
        self._closed: deque[Batch] = deque()
        self._closed_bytes = 0  # of batches not yet in the outbox
        self._touched: dict[Node, None] = {}
        self._closed_count = self._sealed_count = 0
        self._turn = 0
        self._is_urgent = self._is_woken = False
        self.is_live = False
        self.lost = ""  # why the log cannot tell all, so that everything must be compared
        self.noticed_ns = 0

    # -- names ----------------------------------------------------------------------------------------------------

    def check_place(self, folder: Node, name: bytes) -> None:
        """Refuse a name that no change could carry, before anything is done."""
        path = self._table.path(folder)
        if path is None:
            raise OSError(errno.ENOENT, "removed")
        if len(path) + len(name) >= MAX_PATH_BYTES:
            raise OSError(errno.ENAMETOOLONG, "too deep")

    def made(self, folder: Node, name: bytes, node: Node, found: os.stat_result, target: bytes = b"") -> None:
        """A new node stands at a name."""
        path = self._path_in(folder, name)
        if path is None:
            return
        if not self.is_live:
            self._mark(path)
            return
        kind = kind_of(found)
        device = found.st_rdev if kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE) else 0
        attributes = self._reader.of_name(self._table.folder(folder), name, found)
        self._add(Create(self._open.index(path), kind, attributes, None, target, device))
        self._open.add_row(dirty_row(path, found, target or (b"%d" % device if device else b"")))
        node.dirtied = self._turn
        self.touched(folder)

    def linked(self, folder: Node, name: bytes, existing: RelPath | None, found: os.stat_result) -> None:
        """A node that stands at `existing` has a further name."""
        path = self._path_in(folder, name)
        if path is None:
            return
        if not self.is_live or existing is None:
            self._mark(path)
            if existing is None:
                self.lose("a file whose names are not known was linked")
            return
        self._add(Link(self._open.index(path), self._open.index(existing)))
        self._open.add_row(dirty_row(path, found))
        self.touched(folder)

    def renamed(self, folder: Node, name: bytes, new_folder: Node, new_name: bytes, exchange: bool) -> None:
        """A name was moved, over what stood at the new one or in exchange with it; told before the table follows."""
        path, target = self._path_in(folder, name), self._path_in(new_folder, new_name)
        if path is None or target is None:
            return
        if not self.is_live:
            self._mark(path)
            self._mark(target)
            return
        self._add(Rename(self._open.index(path), self._open.index(target), exchange))
        if exchange:
            parked = join(split(path)[0], PARKED_NAME)
            for source, goal in ((path, parked), (target, path), (parked, target)):
                self._open.add_step(MoveRow(*split(source), *split(goal)))
        else:
            self._open.add_step(DropRow(*split(target)))
            self._open.add_step(MoveRow(*split(path), *split(target)))
        self.touched(folder)
        self.touched(new_folder)

    def removed(self, folder: Node, name: bytes) -> None:
        """A name is gone."""
        path = self._path_in(folder, name)
        if path is None:
            return
        if not self.is_live:
            self._mark(path)
            return
        self._add(Unlink(self._open.index(path)))
        self._open.add_step(DropRow(*split(path)))
        self.touched(folder)

    # -- contents and attributes ----------------------------------------------------------------------------------

    def before_write(self, node: Node) -> None:
        """Mark a file as dirty, durably, before its bytes change."""
        if node.dirtied == self._turn or not self._is_ours(node):
            return
        found = self._table.state(node)
        try:
            self._mark_dirty(inode_of(found))
        except (StagekeeperError, DatabaseError) as error:  # the agent's disk is full: no program is to fail for that
            self.lose(f"a dirty mark cannot be kept: {error}")
            return
        if self.is_live:
            path = self._table.path(node)
            if path is not None:
                self._open.add_row(dirty_row(path, found))
        node.dirtied = self._turn

    def written(self, node: Node, offset: int, data: bytes) -> None:
        """Bytes were written."""
        path = self._changed_path(node)
        if path is not None:
            self._add(Write(self._open.index(path), offset, data), len(data))
            self._touched[node] = None

    def truncated(self, node: Node, size: int) -> None:
        """A file was cut or extended."""
        path = self._changed_path(node)
        if path is not None:
            self._add(Truncate(self._open.index(path), size))
            self._touched[node] = None

    def restated(self, node: Node) -> None:
        """A program changed attributes: mode, owner, times, extended ones."""
        path = self._changed_path(node)
        if path is None:
            return
        self._touched.pop(node, None)
        self._state(node, path)

    def touched(self, node: Node) -> None:
        """A node's times have changed by what was done to it; they are sent a little later, once for many changes."""
        if not self._is_ours(node):
            return
        if self.is_live:
            self._touched[node] = None
            return
        path = self._table.path(node)
        if path is not None:
            self._marks.mark(path, b"") if node.is_folder else self._mark(path)

    def state_touched(self) -> None:
        """Send the attributes of what was touched."""
        touched, self._touched = self._touched, {}
        for node in touched:
            path = self._table.path(node)
            if path is not None and self.is_live:
                try:
                    self._state(node, path)
                except OSError as error:
                    self.lose(f"attributes cannot be read: {error.strerror}")

    def lose(self, reason: str) -> None:
        """Something changed that cannot be written down as what it is: everything is to be compared."""
        self._marks.mark_all()
        if not self.lost:
            self.lost = reason
            with self._news:
                self._is_urgent = True
                self._news.notify_all()

    def now_ns(self) -> int:
        """Return the time."""
        return self._clock.now_ns()

    # -- live or not ----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Be live from here on: nothing differs from what was sent."""
        self._turn += 1
        self.lost = ""
        self.is_live = True

    def end(self) -> None:
        """Be live no longer: what is not in the outbox is forgotten, so everything is to be compared."""
        self.is_live = False
        self._touched.clear()
        self._open, self._open_bytes = Batch(is_group=False), 0
        with self._news:
            self._closed.clear()
            self._closed_bytes = 0
            self._sealed_count = self._closed_count
            self._news.notify_all()

    # -- sealing --------------------------------------------------------------------------------------------------

    def close_batch(self) -> int:
        """Let nothing more into the open batch; return the number to wait for, for all that was done so far."""
        if not self._open.is_empty:
            closed, self._open = self._open, Batch(is_group=False)
            closed_bytes, self._open_bytes = self._open_bytes, 0
            with self._news:
                self._closed.append(closed)
                self._closed_bytes += closed_bytes
                self._closed_count += 1
        return self._closed_count

    def take(self) -> tuple[list[Batch], int]:
        """Return all batches in order, and their bytes; the sealing thread's."""
        with self.gate:
            self.close_batch()
        with self._news:
            taken = list(self._closed)
            self._closed.clear()
            self._is_urgent = False
            return taken, self._closed_bytes

    def note_sealed(self, count: int, size_bytes: int) -> None:
        """Take note that batches that were taken are durable in the outbox."""
        with self._news:
            self._sealed_count += count
            self._closed_bytes -= size_bytes
            self._news.notify_all()

    def await_sealed(self, number: int) -> None:
        """Wait until the batch of a number is in the outbox (or given up for a comparison)."""
        with self._news:
            self._is_urgent = True
            self._news.notify_all()
            while self._sealed_count < number and not self._is_woken:
                self._news.wait()

    def await_room(self) -> None:
        """Wait while too much waits for the outbox; called without the gate."""
        with self._news:
            while self._closed_bytes > MAX_WAITING_BYTES and self.is_live and not self._is_woken:
                self._is_urgent = True
                self._news.notify_all()
                self._news.wait()

    def wait(self, idle_seconds: float, gather_seconds: float) -> None:
        """Wait for changes, then a little for more of them; the sealing thread's."""
        with self._news:
            if not self._has_changes() and not self._is_urgent and not self._is_woken:
                self._news.wait(idle_seconds)
            if self._has_changes() and not self._is_urgent and not self._is_woken:
                self._news.wait_for(lambda: self._is_urgent or self._is_woken, gather_seconds)

    def wake(self) -> None:
        """End all waiting, for good."""
        with self._news:
            self._is_woken = True
            self._news.notify_all()

    # -- inside ---------------------------------------------------------------------------------------------------

    def _has_changes(self) -> bool:
        return bool(self._closed) or not self._open.is_empty

    def _make_room(self) -> None:
        """Close a full batch: before a change, so that a change and its steps never stand in two."""
        if self._open.is_full:
            self.close_batch()

    def _is_ours(self, node: Node) -> bool:
        return node.key[0] == self._table.device

    def _path_in(self, folder: Node, name: bytes) -> RelPath | None:
        self._make_room()
        path = self._table.path(folder) if self._is_ours(folder) else None
        return join(path, name) if path is not None else None

    def _changed_path(self, node: Node) -> RelPath | None:
        """Return where a changed node stands if its change is to be written down; mark it otherwise."""
        self._make_room()
        if not self._is_ours(node):
            return None
        path = self._table.path(node)
        if path is None:
            # Without a name it is no part of the share, unless it has names that nobody asked for.
            if self._has_other_names(node):
                self.lose("a file was changed whose names are not known")
        elif not self.is_live:
            self._marks.mark(path, b"") if node.is_folder else self._mark(path)
            return None
        return path

    def _has_other_names(self, node: Node) -> bool:
        try:
            return not node.is_folder and self._table.state(node).st_nlink > 0
        except OSError:
            return False

    def _state(self, node: Node, path: RelPath) -> None:
        self._make_room()
        found = self._table.state(node)
        try:
            if node.is_folder:
                attributes = self._reader.of_descriptor(self._table.folder(node), found)
            else:
                attributes = self._reader.of_name(*self._table.place(node), found)
        except AttributesTooLarge as error:
            self.lose(str(error))
            return
        self._add(SetAttributes(self._open.index(path), attributes), sum(len(n) + len(v) for n, v in attributes.xattrs))
        if kind_of(found) in (Kind.FILE, Kind.FOLDER):
            self._open.add_row(dirty_row(path, found))

    def _mark(self, path: RelPath) -> None:
        self._marks.mark(*split(path))

    def _add(self, change: Create | Link | Write | Rename | Unlink | SetAttributes | Truncate, more_bytes: int = 0) -> None:
        is_first = self._open.is_empty
        self._open.add(change, more_bytes=more_bytes)
        self._open_bytes += _CHANGE_BYTES + more_bytes
        if is_first:
            self.noticed_ns = self._clock.now_ns()
            with self._news:
                self._news.notify_all()


def dirty_row(path: RelPath, found: os.stat_result, fixed: bytes = b"") -> KnownRow:
    """Return the memory of a node whose state is not known: a look that is to compare it finds everything different.

    `fixed` is what cannot change: a symlink's target, a device's number.
    """
    kind = kind_of(found)
    folder, name = split(path) if path else (b"", b"")
    content = UNKNOWN_CONTENT if kind is Kind.FILE else fixed
    return KnownRow(
        folder, name, int(kind), inode_of(found), found.st_nlink, found.st_size, mtime_of(found), UNSETTLED,
        UNKNOWN_ATTRIBUTES, content,
    )  # fmt: skip
