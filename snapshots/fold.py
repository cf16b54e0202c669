"""The rules by which one change alters a share's tree: POSIX exactly, whole or not at all.

A change that does not fit raises `DoesNotFit` before it has touched anything (a group is undone by the caller: change_fold).
Nothing here opens, commits or reads a journal; see share_fold for that.
"""

from dataclasses import replace

from core.relpath import ROOT, RelPath, split
from snapshots.catalogue_db import Name, State
from snapshots.edits import Edits
from snapshots.known_folders import KnownFolders
from snapshots.live_catalogue import LiveCatalogue
from snapshots.pending_edits import PendingEdits
from snapshots.schema_db import ROOT_NODE
from staging.changes import (
    MAX_SIZE,
    Content,
    ContentRef,
    Create,
    Kind,
    Rename,
    SetAttributes,
    SimpleChange,
    Truncate,
    Unlink,
    Write,
)


class DoesNotFit(Exception):
    """A change cannot be applied to the tree as it is; the text says why."""


class TreeFold:
    """Applies changes to one share's live tree through the verbs of a `LiveCatalogue`.

    Writes and truncations are collected in `edits` until the caller applies them; every rule that needs a file's size looks
    there first. `touched` tells which changes of the frame altered which node; what a mirror lays first is
    left out, as everything is touched there.
    """

    def __init__(self, catalogue: LiveCatalogue, edits: PendingEdits) -> None:
        """Begin with what the catalogue holds, and collect in `edits`."""
        self._catalogue = catalogue
        self._folders = KnownFolders()
        self.edits = edits
        self._written: tuple[RelPath, int, Edits] | None = None  # by the last change; good while `edits` holds the same ones
        self.touched: dict[tuple[int, bool], list[int]] = {}  # (node, lost a name) → first, last, first, last … of `ordinal`
        self.ordinal = 0  # of the change in its frame, those within groups counted one by one
        self.next_node = max(catalogue.number("next_node"), ROOT_NODE + 1)
        self.files = catalogue.number("files")
        self.logical_bytes = catalogue.number("logical_bytes")
        self.mirroring = catalogue.number("mirroring")  # 0 no, 1 first baseline, 2 repair over an existing tree

    def begin_frame(self, ordinal: int = 0) -> None:
        """Count changes from `ordinal`, behind those of the frame that were applied before; forget what was touched before."""
        self.touched.clear()
        self.ordinal = ordinal

    def forget_touches(self, ordinal: int) -> None:
        """Forget what the changes from `ordinal` on have touched: they are undone."""
        for runs in self.touched.values():
            while runs and runs[-2] >= ordinal:
                del runs[-2:]
            if runs and runs[-1] >= ordinal:
                runs[-1] = ordinal - 1

    def _touch(self, node: int, is_gone: bool = False) -> None:
        runs = self.touched.setdefault((node, is_gone), [])
        if runs and runs[-1] >= self.ordinal - 1:
            runs[-1] = self.ordinal
        else:
            runs += (self.ordinal, self.ordinal)

    def keep_counters(self) -> None:
        """Write the counters into the catalogue."""
        self._catalogue.set(
            next_node=self.next_node, files=self.files, logical_bytes=self.logical_bytes, mirroring=self.mirroring
        )

    def forget_folders(self) -> None:
        """Drop the cache of folders, when names may have changed under it."""
        self._folders.forget()

    def forget_purged(self, files: int, logical_bytes: int) -> None:
        """Count less, after live files were purged; where folders are may have changed too."""
        self.files -= files
        self.logical_bytes -= logical_bytes
        self.forget_folders()

    def apply(self, change: SimpleChange, paths: tuple[RelPath, ...], sequence: int) -> None:
        """Apply one change; raise `DoesNotFit` with nothing done."""
        if isinstance(change, Write):
            self._write(change, paths[change.path], sequence)
            return
        if isinstance(change, Truncate):
            self._truncate(change, paths[change.path], sequence)
            return
        self._written = None  # what stands at a path may change
        if isinstance(change, Create):
            self._create(change, paths[change.path], sequence)
        elif isinstance(change, Content):
            self._content(change, paths[change.path], sequence)
        elif isinstance(change, SetAttributes):
            self._set_attributes(change, paths[change.path], sequence)
        elif isinstance(change, Unlink):
            self._unlink(self._name_at(paths[change.path]), sequence)
        elif isinstance(change, Rename):
            self._rename(change, paths[change.path], paths[change.target], sequence)
        else:
            self._link(paths[change.path], paths[change.existing], sequence)

    def begin_mirror(self) -> None:
        """From here creates state what is there, also over what stands there."""
        self._catalogue.end_mirror()  # a mirror that was begun and not ended states nothing
        self.mirroring = 1 if self._catalogue.is_empty_folder(ROOT_NODE) else 2

    def end_mirror(self, sequence: int) -> None:
        """Remove what the mirror did not state; without a begun mirror nothing happens."""
        if self.mirroring == 2:
            for name in self._catalogue.unmirrored_names():
                if self._catalogue.live_name(name.parent, name.name) == name:
                    self._unlink(name, sequence)
            self._catalogue.end_mirror()
        self.mirroring = 0

    def set_content(self, state: State, content: ContentRef, size: int, sequence: int) -> None:
        """Give a file another content, by writes up to `sequence`; what was changed behind them meanwhile came later."""
        self.logical_bytes += size - state.size
        self._catalogue.change_state(state, replace(state, content=content, size=size), max(sequence, state.changed))

    # -- creating -------------------------------------------------------------------------------------------------

    def _create(self, change: Create, path: RelPath, sequence: int) -> None:
        if path == ROOT:
            raise DoesNotFit("the root of a share cannot be created")
        _check_create(change)
        folder, name = split(path)
        parent = self._folder(folder)
        existing = self._catalogue.live_name(parent, name)
        if existing is not None:
            if not self.mirroring:
                raise DoesNotFit("create: the name is taken")
            if self._restate(existing, change, sequence):
                return
            self._unlink(existing, sequence)
        node = self.next_node
        self.next_node += 1
        size = change.content.size if change.content is not None else 0
        self._catalogue.add_name(parent, name, node, sequence)
        self._catalogue.add_state(
            State(node, sequence, sequence, change.kind, size, change.attributes, change.content, change.target, change.device)
        )
        self._count(change.kind, 1, size)
        if not self.mirroring:
            self._touch(node)
        if change.kind is Kind.FOLDER:
            self._folders.put(path, node)
        self._mark(parent, name)

    def _restate(self, existing: Name, change: Create, sequence: int) -> bool:
        """Bring the node that stands there to the stated one, if it can be the same; return False when it cannot."""
        state = self._state(existing.node)
        if state.kind is not change.kind or (state.linked and self._catalogue.has_mirrored_name(existing.node)):
            return False  # two names stated one by one are two nodes; what is still one comes as a link
        size = change.content.size if change.content is not None else 0
        new = replace(
            state, attributes=change.attributes, content=change.content, size=size, target=change.target, device=change.device
        )
        overruled = self.edits.get(existing.node)  # writes that are not laid yet: the state was another meanwhile
        self.edits.forget(existing.node)
        if new != state or overruled is not None:
            self._catalogue.change_state(state, new, sequence)
            self.logical_bytes += size - state.size
            self._touch(state.node)
        self._mark(existing.parent, existing.name)
        return True

    def _mark(self, parent: int, name: bytes) -> None:
        if self.mirroring == 2:
            self._catalogue.mark_mirrored(parent, name)

    def _link(self, path: RelPath, existing: RelPath, sequence: int) -> None:
        source = self._name_at(existing)
        state = self._state(source.node)
        if state.kind is Kind.FOLDER:
            raise DoesNotFit("link: a folder has only one name")
        folder, name = split(path)
        if not name:
            raise DoesNotFit("link: the root cannot be a link")
        parent = self._folder(folder)
        taken = self._catalogue.live_name(parent, name)
        if taken is not None and not self.mirroring:
            raise DoesNotFit("link: the name is taken")
        self._mark(parent, name)
        if taken is not None:
            if taken.node == source.node:
                return
            self._unlink(taken, sequence)
        self._catalogue.add_name(parent, name, source.node, sequence)
        self._touch(source.node)
        if not state.linked:
            self._catalogue.mark_linked(source.node)

    # -- contents and attributes ----------------------------------------------------------------------------------

    def _write(self, change: Write, path: RelPath, sequence: int) -> None:
        if change.offset + len(change.data) > MAX_SIZE:  # looked at first: edits once begun are laid, even with no write in them
            raise DoesNotFit("write: the file would be too large")
        node, edits = self._edits(path)
        edits.write(change.offset, change.data)
        self.edits.note(len(change.data))
        edits.sequence = sequence
        self._touch(node)

    def _truncate(self, change: Truncate, path: RelPath, sequence: int) -> None:
        node, edits = self._edits(path)
        edits.truncate(change.size)
        self.edits.note(0)
        edits.sequence = sequence
        self._touch(node)

    def _content(self, change: Content, path: RelPath, sequence: int) -> None:
        node = self._name_at(path).node
        state = self._state(node)
        if state.kind is not Kind.FILE:
            raise DoesNotFit("content: not a file")
        self.edits.forget(node)
        size = change.content.size if change.content is not None else 0
        attributes = change.attributes or state.attributes
        self.logical_bytes += size - state.size
        self._catalogue.change_state(state, replace(state, content=change.content, size=size, attributes=attributes), sequence)
        self._touch(node)

    def _set_attributes(self, change: SetAttributes, path: RelPath, sequence: int) -> None:
        node = self._name_at(path).node if path else ROOT_NODE
        state = self._state(node)
        self._catalogue.change_state(state, replace(state, attributes=change.attributes), sequence)
        self._touch(node)

    # -- removing and renaming ------------------------------------------------------------------------------------

    def _unlink(self, name: Name, sequence: int) -> None:
        """Remove a name; a folder goes with all below it (without recursion: trees of 3000 levels exist)."""
        todo = [name]
        while todo:
            current = todo.pop()
            state = self._state(current.node)
            if state.kind is Kind.FOLDER:
                self.forget_folders()
                todo += self._catalogue.live_names_in(current.node)
            self._drop_name(current, state, sequence)

    def _drop_name(self, name: Name, state: State, sequence: int) -> None:
        self._catalogue.end_name(name, sequence)
        self._touch(name.node, is_gone=True)
        if state.linked and self._catalogue.has_live_name(name.node):
            return
        self.edits.forget(name.node)
        self._catalogue.end_state(state, sequence)
        self._count(state.kind, -1, -state.size)

    def _rename(self, change: Rename, path: RelPath, target: RelPath, sequence: int) -> None:
        source = self._name_at(path)
        folder, name = split(target)
        if not name:
            raise DoesNotFit("rename: the root cannot be replaced")
        line: list[int] = []
        parent = self._folder(folder, line)
        moved = self._state(source.node)
        taken = self._catalogue.live_name(parent, name)
        if moved.kind is Kind.FOLDER and source.node in line:
            raise DoesNotFit("rename: a folder cannot move below itself")
        if change.exchange:
            self._exchange(source, taken, path, sequence)
        elif taken is None or taken.node != source.node:
            if taken is not None:
                self._make_way(moved, taken, sequence)
            self._catalogue.end_name(source, sequence)
            self._catalogue.add_name(parent, name, source.node, sequence)
            self._touch(source.node)
        self._mark(parent, name)
        self.forget_folders()

    def _exchange(self, source: Name, taken: Name | None, path: RelPath, sequence: int) -> None:
        if taken is None:
            raise DoesNotFit("rename: nothing stands at the name to exchange with")
        line: list[int] = []
        self._folder(split(path)[0], line)
        if taken.node in line:
            raise DoesNotFit("rename: a folder cannot move below itself")
        for name, node in ((source, taken.node), (taken, source.node)):
            if source.node != taken.node:
                self._catalogue.end_name(name, sequence)
                self._catalogue.add_name(name.parent, name.name, node, sequence)
                self._touch(node)
                self._mark(name.parent, name.name)

    def _make_way(self, moved: State, taken: Name, sequence: int) -> None:
        there = self._state(taken.node)
        if there.kind is Kind.FOLDER:
            if moved.kind is not Kind.FOLDER:
                raise DoesNotFit("rename: a folder stands at the new name")
            if not self._catalogue.is_empty_folder(taken.node):
                raise DoesNotFit("rename: the folder at the new name is not empty")
        elif moved.kind is Kind.FOLDER:
            raise DoesNotFit("rename: a file stands at the new name of a folder")
        self._drop_name(taken, there, sequence)

    # -- finding --------------------------------------------------------------------------------------------------

    def _folder(self, path: RelPath, line: list[int] | None = None) -> int:
        """Return the node of a folder; `line` collects the nodes on the way, the folder's own too."""
        if line is None:
            known = self._folders.get(path)
            if known is not None:
                return known
        node, here = ROOT_NODE, b""
        if line is not None:
            line.append(node)
        for name in path.split(b"/") if path else ():
            here = here + b"/" + name if here else name
            cached = self._folders.get(RelPath(here))
            node = cached if cached is not None else self._child_folder(node, name, RelPath(here))
            if line is not None:
                line.append(node)
        return node

    def _child_folder(self, parent: int, name: bytes, path: RelPath) -> int:
        found = self._catalogue.live_name(parent, name)
        if found is None:
            raise DoesNotFit("a folder on the way does not exist")
        if self._state(found.node).kind is not Kind.FOLDER:
            raise DoesNotFit("something on the way is not a folder")
        self._folders.put(path, found.node)
        return found.node

    def _name_at(self, path: RelPath) -> Name:
        if path == ROOT:
            raise DoesNotFit("the root has no name")
        folder, name = split(path)
        found = self._catalogue.live_name(self._folder(folder), name)
        if found is None:
            raise DoesNotFit("no such file or folder")
        return found

    def _state(self, node: int) -> State:
        state = self._catalogue.live_state(node)
        if state is None:
            raise DoesNotFit(f"node {node} has no state")
        return state

    def _edits(self, path: RelPath) -> tuple[int, Edits]:
        if self._written is not None and self._written[0] == path and self.edits.get(self._written[1]) is self._written[2]:
            return self._written[1:]
        node = self._name_at(path).node
        edits = self.edits.get(node)
        if edits is None:
            state = self._state(node)
            if state.kind is not Kind.FILE:
                raise DoesNotFit("not a file")
            edits = self.edits.begin(node, state.size)
        self._written = (path, node, edits)
        return node, edits

    def _count(self, kind: Kind, files: int, size: int) -> None:
        if kind is not Kind.FOLDER:
            self.files += files
        self.logical_bytes += size


def _check_create(change: Create) -> None:
    if change.content is not None and change.kind is not Kind.FILE:
        raise DoesNotFit("create: only a file has a content")
    if bool(change.target) != (change.kind is Kind.SYMLINK):
        raise DoesNotFit("create: a symlink, and nothing else, has a target")
