"""Finding out how a node came to a path: renamed, linked, or new; and what became of what stood there before.

The memory is the model on which every change is tried: a node remembered elsewhere that is no longer there was renamed;
what stands in the way is parked under a name of its own in the root until its new place is found, so that swaps, chains
and folders turned inside out need no special order. What nobody claimed is removed in the end.
"""

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass

from branch.batch import Batch
from branch.differences import may_be_renamed
from branch.folders import OpenFolders
from branch.known import KnownRow
from branch.node_reader import inode_of
from branch.recorder import Recorder, path_of
from core.relpath import ROOT, RelPath, is_within
from staging.changes import Kind

PARKED_NAME = b".stagekeeper-parked-%d"
_CHILDREN_COMPARED = 16  # enough to know a folder again whose own times changed since it was sent


@dataclass(frozen=True, slots=True)
class _Gone:
    """A remembered name that is not there; `is_certain` when it may be there but is left out."""

    folder: RelPath
    row: KnownRow
    is_certain: bool


@dataclass(slots=True)
class _Parked:
    """A node moved out of the way: where it came from, and where that change stands."""

    path: RelPath
    place: tuple[Batch, int]
    gave_nodes: bool = False


class Placing:
    """Places nodes for one look. In a baseline nothing is renamed: the appliance marks what is stated, path by path."""

    def __init__(self, recorder: Recorder, folders: OpenFolders, is_mirroring: bool) -> None:
        """Record through `recorder`."""
        self._recorder, self._folders, self._is_mirroring = recorder, folders, is_mirroring
        self._known = recorder.known
        self._is_new_share = self._known.is_empty()
        self._gone: list[_Gone] = []
        self._parked: dict[bytes, _Parked] = {}
        self.has_moved = False

    def source(self, path: RelPath, found: os.stat_result, kind: Kind) -> tuple[KnownRow | None, bool]:
        """Return (where the node is remembered, whether it is still there too).

        A row of another node that had the same inode number is removed at once: from here on, rows with one number are
        names of one node. Folders have one name only, and what was in them may have moved: they wait for the end.
        """
        has_links = found.st_nlink > 1 and kind is not Kind.FOLDER
        if (self._is_new_share or self._is_mirroring) and not has_links:
            return None, False
        alive: KnownRow | None = None
        for row in self._known.by_inode(inode_of(found)):
            if is_within(path, path_of(row)):
                continue
            if row.kind == kind and self._is_there(row):
                alive = row
            elif row.kind == kind and not self._is_mirroring and self._was_renamed(row, path, found, kind):
                return row, False
            elif row.kind != Kind.FOLDER:
                self._note_moved(path_of(row))
                self._recorder.unlink(RelPath(row.folder), row.name)
        return (alive, True) if alive is not None and has_links else (None, False)

    def may_overwrite(self, occupant: KnownRow, kind: Kind, is_here: Callable[[int], bool]) -> bool:
        """Tell whether a new file takes over the node of the file before it (an atomic save), versions and all.

        Not when that one has other names, or stands under another name in the same folder now (`is_here`).
        """
        if kind is not Kind.FILE or occupant.kind != Kind.FILE:
            return False
        if occupant.links > 1 and len(self._known.by_inode(occupant.inode)) > 1:
            return False
        return self._is_mirroring or not is_here(occupant.inode)

    def clear(self, folder: RelPath, occupant: KnownRow) -> None:
        """Free a path for another node."""
        if self._is_mirroring:
            self._recorder.unlink(folder, occupant.name)
            return
        name = self._parking_name()
        parked = self._recorder.rename(occupant, ROOT, name)
        self._parked[name] = _Parked(path_of(occupant), self._recorder.last_change())
        self._gone.append(_Gone(ROOT, parked, False))
        self.has_moved = True

    def rename(self, row: KnownRow, folder: RelPath, name: bytes) -> KnownRow:
        """Move a remembered node to a free path."""
        self._note_moved(path_of(row))
        return self._recorder.rename(row, folder, name)

    def note_gone(self, folder: RelPath, row: KnownRow, is_certain: bool = False) -> None:
        """Take note that a remembered name is not there any more; it is removed in the end if nothing claimed it."""
        self._gone.append(_Gone(folder, row, is_certain))

    def finish(self) -> None:
        """Remove what was gone and nobody claimed."""
        for gone in self._gone:
            row = self._known.row(gone.folder, gone.row.name)
            if row is None or row.inode != gone.row.inode:
                continue
            if not gone.is_certain and self._is_there(row):
                self._recorder.again.add(gone.folder, row.name)
                continue
            parked = self._parked.get(row.name) if gone.folder == ROOT else None
            is_idle = parked is not None and not parked.gave_nodes
            if parked is None or not is_idle or not self._recorder.unlink_instead(parked.place, parked.path, row.name):
                self._recorder.unlink(gone.folder, row.name)
            self._recorder.pause()
        self._gone.clear()
        self._parked.clear()

    def _note_moved(self, path: RelPath) -> None:
        """Rows read before may be wrong now, and a parked folder that something is taken from must be parked first."""
        self.has_moved = True
        for name, parked in self._parked.items():
            if path != name and is_within(path, RelPath(name)):
                parked.gave_nodes = True

    def _is_there(self, row: KnownRow) -> bool:
        try:
            found = self._folders.stat(RelPath(row.folder), row.name)
        except OSError:  # not to be seen is not gone
            return True
        return found is not None and inode_of(found) == row.inode

    def _was_renamed(self, row: KnownRow, path: RelPath, found: os.stat_result, kind: Kind) -> bool:
        if may_be_renamed(row, found, kind):
            return True
        return kind is Kind.FOLDER and self._holds_a_child(path_of(row), path)

    def _holds_a_child(self, remembered: RelPath, path: RelPath) -> bool:
        """Tell whether a folder holds a child of the remembered one, so that it is the same, changed meanwhile."""
        children = self._known.children(remembered).values()
        for child in itertools.islice(children, _CHILDREN_COMPARED):
            try:
                found = self._folders.stat(path, child.name)
            except OSError:
                return False
            if found is not None and inode_of(found) == child.inode:
                return True
        return False

    def _parking_name(self) -> bytes:
        number = len(self._parked) + 1
        while self._known.row(ROOT, PARKED_NAME % number) is not None or self._stands(PARKED_NAME % number):
            number += 1
        return PARKED_NAME % number

    def _stands(self, name: bytes) -> bool:
        return self._folders.stat(ROOT, name) is not None
