"""One look at a share: walk what is to be looked at, top down, and record what differs from the memory.

Folders come before what is in them, removals last, and a folder's own attributes behind those (its times move with its
entries). Nothing is crossed into that lies on another file system; nothing unreadable counts as gone. The walk is
iterative and opens one name at a time, so that depth and odd names do not matter.
"""

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from branch.differences import is_same_node, is_unchanged, old_pieces
from branch.excludes import Excludes
from branch.folders import OpenFolders, is_absence
from branch.known import MIRROR_DONE, MIRROR_NEEDED, KnownRow
from branch.node_reader import NodeReader, Reading, Unreadable, Vanished, inode_of, kind_of
from branch.placing import Placing
from branch.recorder import Recorder
from branch.scope import Scope
from branch.shipment import Shipment
from core.relpath import ROOT, RelPath, join, split
from staging.changes import Kind

OTHER_FILE_SYSTEM = "another file system is mounted here; protect it as a share of its own"
_Entry = tuple[bytes, os.stat_result | None]


@dataclass(frozen=True, slots=True)
class LookRules:
    """What holds for all looks at a share; `entering` is told of each folder before its entries are listed."""

    excludes: Excludes
    own_state: os.stat_result  # the agent's own state is never a part of a share
    entering: Callable[[RelPath, int], None]


@dataclass(slots=True)
class Findings:
    """What a look could not settle: to be looked at again, and what is not protected, with the reason."""

    again: Scope = field(default_factory=Scope)
    not_protected: dict[RelPath, str] = field(default_factory=dict)
    readable: set[RelPath] = field(default_factory=set)


class Look:
    """A look in one share; made for each."""

    def __init__(self, rules: LookRules, folders: OpenFolders, reader: NodeReader, out: Shipment, troubled: set[RelPath]) -> None:
        """Look below `folders`; `troubled` are the paths that could not be read before."""
        self._rules, self._folders, self._reader, self._out = rules, folders, reader, out
        self._known = out.known
        self._recorder = Recorder(out)
        self._is_mirroring = self._known.mirror() != MIRROR_DONE
        self._placing = Placing(self._recorder, folders, self._is_mirroring)
        self._troubled = troubled
        self._device = os.fstat(folders.root).st_dev
        self._todo: list[tuple[RelPath, set[bytes] | None, bool]] = []
        self._folders_changed: dict[RelPath, None] = {}
        self._is_full = False
        self.findings = Findings(self._recorder.again)

    def run(self, scope: Scope) -> Findings:
        """Look at everything in `scope`, give out the changes and seal them."""
        self._is_full = scope.is_full
        if self._known.mirror() == MIRROR_NEEDED:
            self._recorder.mirror(True)
        if scope.is_full:
            self._todo.append((ROOT, None, False))
            self._folders_changed[ROOT] = None
        else:
            ordered = sorted(scope.folders.items(), reverse=True)  # the last is taken first: folders before their folders
            self._todo.extend((folder, names, False) for folder, names in ordered)
        while self._todo:
            self._out.check()
            self._visit(*self._todo.pop())
        self._placing.finish()
        for folder in self._folders_changed:
            self._restate_folder(folder)
            self._out.pause()
        if self._is_mirroring and scope.is_full:
            self._recorder.mirror(False)
        self._out.finish()
        return self.findings

    # -- walking --------------------------------------------------------------------------------------------------

    def _visit(self, folder: RelPath, names: set[bytes] | None, is_new: bool) -> None:
        try:
            descriptor = self._folders.open(folder)
            found = os.fstat(descriptor)
            if not is_new and not self._is_as_known(folder, found):
                self._look_above(folder)
                return
            if names is None:
                self._rules.entering(folder, descriptor)
            rows = self._rows(folder, names, is_new)
            self._list(folder, names, rows)
        except OSError as error:
            if is_absence(error):
                self._look_above(folder)
            else:
                self._note_unreadable(folder, error.strerror or str(error))
            return
        self._note_readable(folder)
        for row in rows.values():
            self._placing.note_gone(folder, row)
        if not self._is_full:
            self._folders_changed[folder] = None

    def _rows(self, folder: RelPath, names: set[bytes] | None, is_new: bool) -> dict[bytes, KnownRow]:
        if is_new:
            return {}
        return self._known.children(folder) if names is None else self._known.some_children(folder, names)

    def _list(self, folder: RelPath, names: set[bytes] | None, rows: dict[bytes, KnownRow]) -> None:
        """Look at each entry; what stays in `rows` was not there."""
        excludes = None if self._rules.excludes.is_empty else self._rules.excludes
        own_inode = self._rules.own_state.st_ino
        seen: set[bytes] = set()  # network file systems may list a name twice
        for name, found in self._entries(folder, names):
            row = rows.pop(name, None)
            if found is None or name in seen:
                continue
            seen.add(name)
            may_be_left_out = excludes is not None or found.st_ino == own_inode
            if may_be_left_out and self._is_left_out(join(folder, name), name, found):
                if row is not None:
                    self._placing.note_gone(folder, row, is_certain=True)
                continue
            if self._placing.has_moved:  # the rows were read before
                row = self._known.row(folder, name)
            if found.st_dev != self._device:
                self._other_file_system(folder, name, found, row)
            else:
                self._entry(folder, name, found, row)
            self._out.pause()

    def _entries(self, folder: RelPath, names: set[bytes] | None) -> Iterator[_Entry]:
        """Yield (name, state); the state is None when it may not be seen."""
        if names is not None:
            for name in sorted(names):
                found = self._folders.stat(folder, name)
                if found is not None:
                    yield name, found
            return
        with os.scandir(self._folders.open(folder)) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                try:
                    yield name, entry.stat(follow_symlinks=False)
                except OSError as error:
                    if not is_absence(error):
                        self._note_unreadable(join(folder, name), error.strerror or str(error))
                        yield name, None

    def _entry(self, folder: RelPath, name: bytes, found: os.stat_result, row: KnownRow | None) -> None:
        kind = kind_of(found)
        if row is None or not is_same_node(row, found, kind):
            self._arrived(folder, name, found, kind, row)
            return
        if is_unchanged(row, found):
            if kind is Kind.FOLDER and self._is_full:
                self._todo.append((join(folder, name), None, False))
            return
        self._kept(folder, name, found, kind, row)

    def _kept(self, folder: RelPath, name: bytes, found: os.stat_result, kind: Kind, row: KnownRow) -> None:
        """Look at a node that stands where it was, changed or perhaps changed."""
        if kind is Kind.FOLDER:
            path = join(folder, name)
            self._folders_changed[path] = None
            if self._is_full:
                self._todo.append((path, None, False))
            return
        if found.st_nlink > 1:  # another of its names may have been looked at just now
            row = self._known.row(folder, name) or row
            if is_unchanged(row, found):
                return
        reading = self._read(folder, name, found, row)
        if reading is not None:
            self._recorder.restate(row, reading)

    # -- arriving -------------------------------------------------------------------------------------------------

    def _arrived(self, folder: RelPath, name: bytes, found: os.stat_result, kind: Kind, occupant: KnownRow | None) -> None:
        """Look at a node that was not remembered at its path."""
        path = join(folder, name)
        source, is_alive = self._placing.source(path, found, kind)
        if occupant is not None:
            if source is None and self._placing.may_overwrite(occupant, kind, lambda inode: self._is_here(folder, inode)):
                reading = self._read(folder, name, found, occupant)
                if reading is not None:
                    self._recorder.restate(occupant, reading)
                return
            self._placing.clear(folder, occupant)
            source, is_alive = self._placing.source(path, found, kind)
        if source is None:
            self._create(folder, name, found, kind)
            return
        row = self._recorder.link(folder, name, source) if is_alive else self._placing.rename(source, folder, name)
        if kind is Kind.FOLDER:
            self._folders_changed[path] = None
            self._todo.append((path, None, False))
        elif not is_unchanged(row, found):
            self._kept(folder, name, found, kind, row)

    def _create(self, folder: RelPath, name: bytes, found: os.stat_result, kind: Kind) -> None:
        reading = self._read(folder, name, found, None)
        if reading is None:
            return
        self._recorder.create(folder, name, reading)
        if kind is Kind.FOLDER:
            path = join(folder, name)
            if found.st_dev == self._device:
                self._folders_changed[path] = None
                self._todo.append((path, None, True))

    def _is_here(self, folder: RelPath, inode: int) -> bool:
        """Tell whether an inode stands under any name in a folder."""
        descriptor = os.open(b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=self._folders.open(folder))  # one with its own offset
        try:
            with os.scandir(descriptor) as entries:
                return any(entry.inode() == inode for entry in entries)
        finally:
            os.close(descriptor)

    def _other_file_system(self, folder: RelPath, name: bytes, found: os.stat_result, row: KnownRow | None) -> None:
        """Leave what was known below a mount point as it was; take in an empty folder where nothing was known."""
        self.findings.not_protected[join(folder, name)] = OTHER_FILE_SYSTEM
        if row is None and stat.S_ISDIR(found.st_mode):
            self._create(folder, name, found, Kind.FOLDER)

    def _is_left_out(self, path: RelPath, name: bytes, found: os.stat_result) -> bool:
        own = self._rules.own_state
        if found.st_ino == own.st_ino and found.st_dev == own.st_dev:
            return True
        return self._rules.excludes.match(path, name, stat.S_ISDIR(found.st_mode))

    # -- reading --------------------------------------------------------------------------------------------------

    def _read(self, folder: RelPath, name: bytes, found: os.stat_result, row: KnownRow | None) -> Reading | None:
        pieces = old_pieces(row, self._known.pieces) if row is not None else b""
        try:
            reading = self._reader.read(self._folders.open(folder), name, found, pieces)
        except Vanished:
            self._recorder.again.add(folder, name)
            return None
        except Unreadable as error:
            self._note_unreadable(join(folder, name), str(error))
            return None
        if self._troubled:
            self._note_readable(join(folder, name))
        return reading

    def _restate_folder(self, folder: RelPath) -> None:
        """Send a folder's attributes when its entries' changes (or anything else) have moved them."""
        try:
            descriptor = self._folders.open(folder)
            found = os.fstat(descriptor)
            row = self._known.row_at(folder)
            if folder and (row is None or not is_same_node(row, found, Kind.FOLDER)):
                return
            if row is None or not is_unchanged(row, found):
                nothing = KnownRow(b"", b"", int(Kind.FOLDER), 0, 0, 0, 0, 0, b"", b"")
                self._recorder.restate(row or nothing, self._reader.folder(descriptor, found))
        except OSError as error:
            if not is_absence(error):
                self._note_unreadable(folder, error.strerror or str(error))
        except Unreadable as error:
            self._note_unreadable(folder, str(error))

    def _is_as_known(self, folder: RelPath, found: os.stat_result) -> bool:
        if not folder:
            return True
        row = self._known.row_at(folder)
        return row is not None and row.inode == inode_of(found) and row.kind == Kind.FOLDER

    def _look_above(self, folder: RelPath) -> None:
        """A folder is not what it was: its name is looked at in its own folder, now or with the next look."""
        if folder:
            self._recorder.again.add(*split(folder))

    def _note_unreadable(self, path: RelPath, reason: str) -> None:
        self.findings.not_protected[path] = reason

    def _note_readable(self, path: RelPath) -> None:
        if path in self._troubled:
            self.findings.readable.add(path)
