"""Comparing a share's folders with what the appliance has, all contents read anew and none of them sent.

Only what the memory takes for sent and unchanged is judged: what moved since the last look, or cannot be read, is neither
alike nor different yet. A name that the appliance has and the disk has not is different, unless the memory still has it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from branch.differences import is_same_node, is_unchanged
from branch.folders import OpenFolders
from branch.known import KnownRow
from branch.known_db import KnownDb
from branch.look import LookRules
from branch.node_reader import NodeReader, Unreadable, Vanished, kind_of
from core.digest import Digest
from core.relpath import ROOT, RelPath, join
from staging.changes import Kind
from staging.chunk_format import PackedChunk
from staging.comparison import FOLDER_DIGEST, OWN, Answer, AskedFolder, entry_digest, folder_digest, own_digest

_FOLDERS_AT_ONCE = 1000
_NAMES_AT_ONCE = 50_000

Ask = Callable[[list[AskedFolder]], Answer]
"""Asks the appliance which of the folders are different there."""


class Unsent:
    """Takes contents and sends nothing (a `ChunkSink`); `check` is called now and then and may end the work."""

    def __init__(self, check: Callable[[], None]) -> None:
        """Call `check` while contents are read."""
        self.check = check

    def chunk(self, digest: Digest, data: bytes | memoryview, replaces: Digest) -> None:
        """Leave a chunk."""

    def nodes(self, nodes: list[PackedChunk]) -> None:
        """Leave nodes."""


@dataclass(slots=True)
class Compared:
    """How many names were compared, and the paths of those that are different; `unsure` moved or could not be read."""

    names: int = 0
    different: list[RelPath] = field(default_factory=list)
    unsure: int = 0


@dataclass(slots=True)
class _Folder:
    """The digests of a folder's names, and the names that are not judged."""

    digests: dict[bytes, Digest] = field(default_factory=dict)
    unsure: set[bytes] = field(default_factory=set)


class Comparison:
    """One comparison of a share; made for each."""

    def __init__(self, rules: LookRules, folders: OpenFolders, reader: NodeReader, known: KnownDb, ask: Ask) -> None:
        """Read below `folders` with a reader whose contents go nowhere, and ask with `ask`."""
        self._rules, self._folders, self._reader, self._known, self._ask = rules, folders, reader, known, ask
        self._device = os.fstat(folders.root).st_dev
        self._waiting: dict[RelPath, _Folder] = {}
        self._names = 0
        self._result = Compared()

    def run(self) -> Compared:
        """Compare everything."""
        todo: list[RelPath] = [ROOT]
        while todo:
            path = todo.pop()
            folder = self._waiting[path] = _Folder()
            todo += self._read(path, folder)
            self._names += len(folder.digests)
            if len(self._waiting) >= _FOLDERS_AT_ONCE or self._names >= _NAMES_AT_ONCE:
                self._compare()
        self._compare()
        return self._result

    def _read(self, path: RelPath, folder: _Folder) -> list[RelPath]:
        """Read a folder's names and return the folders in it."""
        rows = self._known.children(path)
        below: list[RelPath] = []
        try:
            descriptor = self._folders.open(path)
            self._own(path, descriptor, folder)
            names = sorted(map(os.fsencode, os.listdir(descriptor)))
        except OSError:
            folder.unsure |= {OWN, *rows}
            return below
        for name in names:
            found = self._folders.stat(path, name)
            row = rows.pop(name, None)
            if found is None or self._rules.is_left_out(join(path, name), name, found):
                continue
            if row is None and self._rules.is_not_taken_up(found, self._known):
                continue
            kind = kind_of(found)
            if row is None or found.st_dev != self._device or not is_same_node(row, found, kind):
                folder.unsure.add(name)
            elif kind is Kind.FOLDER:
                folder.digests[name] = FOLDER_DIGEST
                below.append(join(path, name))
            else:
                self._name(path, name, found, row, folder)
        folder.unsure |= rows.keys()  # gone since
        return below

    def _own(self, path: RelPath, descriptor: int, folder: _Folder) -> None:
        found, row = os.fstat(descriptor), self._known.row_at(path)
        try:
            digest = own_digest(self._reader.folder(descriptor, found).attributes)
        except Unreadable:
            row = None
        if row is not None and is_unchanged(row, found):
            folder.digests[OWN] = digest
        else:
            folder.unsure.add(OWN)

    def _name(self, path: RelPath, name: bytes, found: os.stat_result, row: KnownRow, folder: _Folder) -> None:
        try:
            read = self._reader.read(self._folders.open(path), name, found)
        except (Vanished, Unreadable, OSError):
            folder.unsure.add(name)
            return
        if read.is_settled and is_unchanged(row, read.found):
            folder.digests[name] = entry_digest(read.kind, read.attributes, read.content, read.target, read.device)
        else:
            folder.unsure.add(name)

    def _compare(self) -> None:
        """Ask about the folders that wait, and judge the names of those that are different."""
        if not self._waiting:
            return
        asked = [AskedFolder(path, folder_digest(folder.digests)) for path, folder in self._waiting.items()]
        for other in self._ask(asked):
            folder = self._waiting[RelPath(other.path)]
            theirs = {name: Digest(digest) for name, digest in other.names or ()}
            for name in sorted(folder.digests.keys() | theirs.keys() - folder.unsure):
                if folder.digests.get(name) != theirs.get(name):
                    self._result.different.append(join(RelPath(other.path), name) if name != OWN else RelPath(other.path))
        for folder in self._waiting.values():
            self._result.names += len(folder.digests)
            self._result.unsure += len(folder.unsure)
        self._waiting.clear()
        self._names = 0
