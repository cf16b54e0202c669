"""One look at a share: walk what is to be looked at, top down, and record what differs from the memory.

Folders come before what is in them, removals last, and a folder's own attributes behind those (its times move with its
entries). Nothing is crossed into that lies on another file system; nothing unreadable counts as gone. The walk is
iterative and opens one name at a time, so that depth and odd names do not matter.
"""

import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import islice

from branch.differences import earlier_content, is_same_node, is_unchanged
from branch.excludes import Excludes
from branch.file_rules import FileRules
from branch.folders import OpenFolders, is_absence
from branch.known import MIRROR_DONE, MIRROR_NEEDED, KnownRow
from branch.known_db import KnownDb
from branch.node_reader import NodeReader, Reading, Unreadable, Vanished, inode_of, kind_of
from branch.placing import Placing
from branch.recorder import Recorder
from branch.scope import Scope
from branch.shipment import Shipment
from core.relpath import ROOT, RelPath, join, split
from staging.changes import Kind
from staging.chunking import BLOCK_BYTES

OTHER_FILE_SYSTEM = "another file system is mounted here; protect it as a share of its own"
_FILES_AHEAD = 32
_NAMES_A_TURN = 4096
_Entry = tuple[bytes, os.stat_result | None]


class Depth(Enum):
    """How far a visit to a folder goes."""

    NEW = "new"  # nothing is known of it, so everything below is looked at
    DEEP = "deep"  # known folders below are visited too
    FLAT = "flat"  # only those below that changed


@dataclass(frozen=True, slots=True)
class _Visit:
    """A folder to be visited, and which of its names to look at (None: all)."""

    folder: RelPath
    names: set[bytes] | None
    depth: Depth


@dataclass(frozen=True, slots=True)
class LookRules:
    """What holds for all looks at a share; `entering` is told of each folder before its entries are listed."""

    excludes: Excludes
    file_rules: FileRules
    own_state: os.stat_result  # the agent's own state is never a part of a share
    entering: Callable[[RelPath, int], None]

    def is_left_out(self, path: RelPath, name: bytes, found: os.stat_result) -> bool:
        """Tell whether the entry `name` at `path` is no part of the share."""
        own = self.own_state
        if found.st_ino == own.st_ino and found.st_dev == own.st_dev:
            return True
        return self.excludes.match(path, name, stat.S_ISDIR(found.st_mode))

    def is_not_taken_up(self, found: os.stat_result, known: KnownDb) -> bool:
        """Tell whether a file without a row at its path is left out for its size or age; one that was taken is not."""
        return bool(self.file_rules.deciding(found)) and not known.is_taken(inode_of(found))


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
        self._todo: list[_Visit] = []
        self._links: set[int] = set()
        self._folders_changed: dict[RelPath, None] = {}
        self.findings = Findings(self._recorder.again)

    def run(self, scope: Scope) -> Findings:
        """Look at everything in `scope`, give out the changes and seal them."""
        if self._known.mirror() == MIRROR_NEEDED:
            self._recorder.mirror(True)
        if scope.is_full:
            self._todo.append(_Visit(ROOT, None, Depth.DEEP))
            self._folders_changed[ROOT] = None
        else:
            ordered = sorted(scope.folders.items(), reverse=True)  # the last is taken first: folders before their folders
            self._todo.extend(_Visit(folder, names, Depth.FLAT) for folder, names in ordered)
        while self._todo:
            self._out.check()
            self._visit(self._todo.pop())
        self._placing.finish()
        for folder in self._folders_changed:
            self._restate_folder(folder)
            self._out.pause()
        if self._is_mirroring and scope.is_full:
            self._recorder.mirror(False)
        self._out.finish()
        return self.findings

    # -- walking --------------------------------------------------------------------------------------------------

    def _visit(self, visit: _Visit) -> None:
        folder, names = visit.folder, visit.names
        try:
            descriptor = self._folders.open(folder)
            found = os.fstat(descriptor)
            if visit.depth is not Depth.NEW and not self._is_as_known(folder, found):
                self._look_above(folder)
                return
            if names is None:
                self._rules.entering(folder, descriptor)
            rows = self._rows(visit)
            if visit.depth is Depth.FLAT:
                self._visit_other_names(rows)
            self._list(visit, rows)
        except OSError as error:
            if is_absence(error):
                self._look_above(folder)
            else:
                self._note_unreadable(folder, error.strerror or str(error))
            return
        self._note_readable(folder)
        for row in rows.values():
            self._placing.note_gone(folder, row)
        if visit.depth is Depth.FLAT:
            self._folders_changed[folder] = None

    def _rows(self, visit: _Visit) -> dict[bytes, KnownRow]:
        if visit.depth is Depth.NEW:
            return {}
        if visit.names is None:
            return self._known.children(visit.folder)
        return self._known.some_children(visit.folder, visit.names)

    def _visit_other_names(self, rows: dict[bytes, KnownRow]) -> None:
        """Look at the further names of linked files too: a file is changed by one name, and that name may be gone since."""
        for row in rows.values():
            if row.links > 1 and row.kind != Kind.FOLDER and row.inode not in self._links:
                self._links.add(row.inode)
                others = self._known.by_inode(row.inode)
                self._todo.extend(_Visit(RelPath(other.folder), {other.name}, Depth.FLAT) for other in others)

    def _list(self, visit: _Visit, rows: dict[bytes, KnownRow]) -> None:
        """Look at each entry; what stays in `rows` was not there."""
        folder = visit.folder
        excludes = None if self._rules.excludes.is_empty else self._rules.excludes
        has_file_rules = not self._rules.file_rules.is_empty
        own_inode = self._rules.own_state.st_ino
        seen: set[bytes] = set()  # network file systems may list a name twice
        for name, found in self._read_ahead(folder, self._entries(folder, visit.names), rows):
            row = rows.pop(name, None)
            if found is None or name in seen:
                continue
            seen.add(name)
            may_be_left_out = excludes is not None or found.st_ino == own_inode
            if may_be_left_out and self._rules.is_left_out(join(folder, name), name, found):
                if row is not None:
                    self._placing.note_gone(folder, row, is_certain=True)
                continue
            if row is None and has_file_rules and self._rules.is_not_taken_up(found, self._known):
                continue
            if self._placing.has_moved:  # the rows were read before
                row = self._known.row(folder, name)
            if found.st_dev != self._device:
                self._other_file_system(folder, name, found, row)
            else:
                self._entry(visit, name, found, row)
            self._out.pause()

    def _read_ahead(self, folder: RelPath, entries: Iterator[_Entry], rows: dict[bytes, KnownRow]) -> Iterator[_Entry]:
        """Yield the same entries, a few later, so that the disk brings the next files while this one is packed."""
        waiting: deque[_Entry] = deque()
        for name, found in entries:
            if found is not None and stat.S_ISREG(found.st_mode) and 0 < found.st_size <= BLOCK_BYTES:
                row = rows.get(name)
                if row is None or not is_unchanged(row, found):
                    self._reader.read_soon(self._folders.open(folder), name)
            waiting.append((name, found))
            if len(waiting) > _FILES_AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _entries(self, folder: RelPath, names: set[bytes] | None) -> Iterator[_Entry]:
        """Yield (name, state); the state is None when it may not be seen."""
        if names is not None:
            for name in sorted(names):
                found = self._folders.stat(folder, name)
                if found is not None:
                    yield name, found
            return
        with os.scandir(self._folders.open(folder)) as entries:
            while some := list(islice(entries, _NAMES_A_TURN)):
                yield from self._states(folder, some)

    def _states(self, folder: RelPath, entries: list[os.DirEntry[str]]) -> Iterator[_Entry]:
        """Yield names with their states in the order of the inodes, which mostly is that of the disk."""
        for entry in sorted(entries, key=os.DirEntry.inode):
            name = os.fsencode(entry.name)
            try:
                yield name, entry.stat(follow_symlinks=False)
            except OSError as error:
                if not is_absence(error):
                    self._note_unreadable(join(folder, name), error.strerror or str(error))
                    yield name, None

    def _entry(self, visit: _Visit, name: bytes, found: os.stat_result, row: KnownRow | None) -> None:
        kind, folder = kind_of(found), visit.folder
        if row is None or not is_same_node(row, found, kind):
            self._arrived(folder, name, found, kind, row)
            return
        if is_unchanged(row, found):
            if kind is Kind.FOLDER and visit.depth is Depth.DEEP:
                self._todo.append(_Visit(join(folder, name), None, Depth.DEEP))
        elif kind is Kind.FOLDER:  # the same, or a new one that was given the number of one removed
            self._visit_changed(join(folder, name), visit.depth)
        else:
            self._kept(folder, name, found, row)

    def _visit_changed(self, path: RelPath, depth: Depth) -> None:
        self._folders_changed[path] = None
        self._todo.append(_Visit(path, None, depth))

    def _kept(self, folder: RelPath, name: bytes, found: os.stat_result, row: KnownRow) -> None:
        """Look at a node other than a folder that stands where it was, changed or perhaps changed."""
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
            self._visit_changed(path, Depth.DEEP)  # deep, because watches below were lost if it came another way
        elif not is_unchanged(row, found):
            self._kept(folder, name, found, row)

    def _create(self, folder: RelPath, name: bytes, found: os.stat_result, kind: Kind) -> None:
        reading = self._read(folder, name, found, None)
        if reading is None:
            return
        self._recorder.create(folder, name, reading)
        if kind is Kind.FOLDER:
            path = join(folder, name)
            if found.st_dev == self._device:
                self._visit_changed(path, Depth.NEW)

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

    # -- reading --------------------------------------------------------------------------------------------------

    def _read(self, folder: RelPath, name: bytes, found: os.stat_result, row: KnownRow | None) -> Reading | None:
        earlier = earlier_content(row, self._known, with_signature=not self._is_mirroring)
        try:
            reading = self._reader.read(self._folders.open(folder), name, found, earlier)
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
