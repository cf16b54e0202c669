"""Counting what a frame is about to destroy, before it is applied.

Only files count that existed at the oldest checkpoint: what was made and removed since is no loss. A file counts once however
often it is rewritten: from then on its content is not the checkpoint's any more. A write counts like another content when it
begins inside the file, and a truncation when it takes something away; what is only appended destroys nothing. What lies below
a folder that is unlinked is counted by a walk that ends when there is enough of it.
"""

from collections.abc import Iterable, Iterator

from core.digest import ZERO_DIGEST
from core.relpath import ROOT, RelPath, split
from snapshots.burst import Losses
from snapshots.burst_db import LossReader
from snapshots.schema_db import ROOT_NODE
from staging.changes import Change, Chunk, Content, ContentRef, Create, Group, Kind, Link, Mirror, Rename, Truncate, Unlink, Write

_DESTROYING = frozenset({Unlink, Content, Write, Truncate, Rename, Group, Mirror})
_DESTROYING_IN_A_REPAIR = _DESTROYING | {Create, Link}
_SOMETHING_ELSE = Chunk(ZERO_DIGEST, 1)  # a content that no file has: what a write leaves is not known before it is applied
_MOST_MOVES = 16  # how often a path is followed back through renames of its own frame


class LossCounter:
    """Counts one frame; `counted` holds the files that earlier frames of the same transaction destroyed already."""

    def __init__(
        self, reader: LossReader, paths: tuple[RelPath, ...], fence: int, next_node: int, enough: int, counted: set[int]
    ) -> None:
        """Count files with nodes below `next_node`, with the contents that they had at `fence`."""
        self._reader, self._paths = reader, paths
        self._fence, self._next_node, self._enough = fence, next_node, enough
        self._counted = counted
        self._folders: dict[RelPath, int | None] = {ROOT: ROOT_NODE}
        self._moved: dict[RelPath, RelPath] = {}
        self._made: set[RelPath] = set()
        self._intact: dict[int, int] = {}  # by the place of a path that was written: the length that a write destroys, 0 for none
        self._deleted = self._rewritten = self._renamed = self._stated = 0

    def count(self, changes: Iterable[Change], repairs: bool) -> Losses:
        """Return what the changes would destroy; `repairs` tells that a mirror over an existing tree is running."""
        for change in _simple(changes):
            if isinstance(change, Write):
                self._write(change.path, change.offset)
            elif isinstance(change, Unlink):
                self._delete(self._find(self._paths[change.path]))
            elif isinstance(change, Rename):
                self._rename(change)
            elif isinstance(change, Content):
                self._rewrite(self._paths[change.path], change.content)
            elif isinstance(change, Truncate):
                self._write(change.path, change.size)
            elif isinstance(change, Create | Link):
                self._create(change, repairs)
            elif isinstance(change, Mirror) and change.begin:
                repairs = True
            elif repairs and isinstance(change, Mirror):
                self._deleted += max(self._reader.unmirrored_files(self._enough + self._stated) - self._stated, 0)
        return Losses(self._deleted, self._rewritten, self._renamed)

    def _delete(self, found: tuple[int, Kind] | None) -> None:
        """Count what goes with a name."""
        todo = [] if found is None else [found]
        while todo:
            node, kind = todo.pop()
            if kind is not Kind.FOLDER:
                self._deleted += self._is_new_loss(node)
                continue
            for child in self._reader.live_children(node):
                if child[1] is Kind.FOLDER:
                    todo.append(child)
                else:
                    self._deleted += self._is_new_loss(child[0])
                if self._deleted >= self._enough:
                    return

    def _rewrite(self, path: RelPath, content: ContentRef) -> None:
        found = self._find(path)
        if found is None or found[1] is not Kind.FILE or found[0] >= self._next_node:
            return
        live, before = self._reader.contents(found[0], self._fence)
        if before is not None and live == before and content != live:
            self._rewritten += self._is_new_loss(found[0])

    def _write(self, place: int, offset: int) -> None:
        """Count a file of which all behind an offset may not be what it was: at its first write, which is one of many."""
        if place not in self._intact:
            self._intact[place] = self._length(self._paths[place])
        if offset < self._intact[place]:
            self._intact[place] = 0
            self._rewrite(self._paths[place], _SOMETHING_ELSE)

    def _length(self, path: RelPath) -> int:
        found = self._find(path) if path not in self._made else None
        if found is None or found[1] is not Kind.FILE or found[0] >= self._next_node or found[0] in self._counted:
            return 0
        live, _ = self._reader.contents(found[0], self._fence)
        return 0 if live is None else live.size

    def _create(self, change: Create | Link, repairs: bool) -> None:
        path = self._paths[change.path]
        self._made.add(path)
        if not repairs:
            return
        self._stated += 1
        found = self._find(path)
        if isinstance(change, Create) and found is not None and found[1] is not change.kind:
            self._delete(found)
        elif isinstance(change, Create):
            self._rewrite(path, change.content)

    def _rename(self, change: Rename) -> None:
        path, target = self._paths[change.path], self._paths[change.target]
        source, taken = self._find(path), self._find(target)
        if source is None and path not in self._made:
            return
        if not change.exchange:
            if taken is not None and taken[1] is Kind.FILE and taken != source:
                self._rewritten += self._is_new_loss(taken[0])  # as an editor saves: written beside, renamed over
            if source is not None and self._gets_another_ending(*source, path, target):
                self._renamed += 1
        if source is not None:
            self._moved[target] = path

    def _gets_another_ending(self, node: int, kind: Kind, path: RelPath, target: RelPath) -> bool:
        return kind is Kind.FILE and node < self._next_node and _ending(path) != _ending(target)

    def _is_new_loss(self, node: int) -> bool:
        if node >= self._next_node or node in self._counted:
            return False
        self._counted.add(node)
        return True

    def _find(self, path: RelPath) -> tuple[int, Kind] | None:
        """Return what stands at a path, as the tree is before the frame; renames of the frame itself are followed back."""
        path = self._before(path)
        if path == ROOT:
            return None
        folder, name = split(path)
        parent = self._folder(folder)
        return self._reader.live_node(parent, name) if parent is not None else None

    def _folder(self, path: RelPath) -> int | None:
        way: list[RelPath] = []
        while path not in self._folders:
            way.append(path)
            path = split(path)[0]
        node = self._folders[path]
        for folder in reversed(way):
            found = self._reader.live_node(node, split(folder)[1]) if node is not None else None
            node = found[0] if found is not None and found[1] is Kind.FOLDER else None
            self._folders[folder] = node
        return node

    def _before(self, path: RelPath) -> RelPath:
        for _ in range(_MOST_MOVES if self._moved else 0):
            above = next((above for above in _line(path) if above in self._moved), None)
            if above is None:
                break
            path = RelPath(self._moved[above] + path[len(above) :])
        return path


def may_destroy(changes: Iterable[Change], repairs: bool) -> bool:
    """Tell at a glance whether changes can destroy anything at all."""
    return not (_DESTROYING_IN_A_REPAIR if repairs else _DESTROYING).isdisjoint(map(type, changes))


def _simple(changes: Iterable[Change]) -> Iterator[Change]:
    for change in changes:
        if isinstance(change, Group):
            yield from change.changes
        else:
            yield change


def _line(path: RelPath) -> Iterator[RelPath]:
    while path:
        yield path
        path = split(path)[0]


def _ending(path: RelPath) -> bytes:
    name = split(path)[1]
    return name[name.rfind(b".") :] if b"." in name[1:] else b""
