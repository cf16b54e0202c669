"""All versions of a path: the states of every node that stood there, plus earlier names of the node that stands there now.

Only versions that can be read are listed: those that a snapshot holds, and the live one.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from core.errors import NotFound
from core.relpath import ROOT, RelPath, show_path
from snapshots.catalogue_db import State
from snapshots.ledger_db import SnapshotRow
from snapshots.schema_db import LIVE, ROOT_NODE
from snapshots.view_db import CatalogueReader

NamesOf = Callable[[int], list[tuple[int, bytes, int, int]]]
"""Gives (parent, name, born, died) of every name that a node had, oldest first."""


class NeverThere(NotFound):
    """Nothing that is kept ever stood at a path."""


@dataclass(frozen=True, slots=True)
class PathVersion:
    """One version of a path. `state` is None where the path was deleted; `snapshots` are the ids that show it."""

    sequence: int
    state: State | None
    snapshots: tuple[int, ...]
    is_live: bool
    path: RelPath


@dataclass(frozen=True, slots=True)
class Life:
    """The time [born, died) over which a node stood at a path."""

    node: int
    born: int
    died: int


def versions_of(reader: CatalogueReader, path: RelPath) -> list[PathVersion]:
    """Return the versions of `path`, newest first; raise `NeverThere`."""
    lives = lives_of(reader, path)
    if not lives:
        raise NeverThere(f"{show_path(path)} was never in {reader.share}", remedy="check the path with `ls`")
    shots = _Shots(reader.ledger.snapshots())
    found = [version for life in lives for version in _of_life(reader, shots, life, path)]
    found += _deletions(shots, lives, path)
    if lives[-1].died == LIVE:
        found += _earlier_names(reader, shots, lives[-1])
    unique = {(v.sequence, v.state.node if v.state else 0, v.path): v for v in found if v.snapshots or v.is_live}
    return sorted(unique.values(), key=lambda v: (v.sequence, v.is_live), reverse=True)


def nodes_of(reader: CatalogueReader, path: RelPath) -> list[int]:
    """Return every node that is known to have stood at `path`, the oldest first; raise `NeverThere`."""
    lives = lives_of(reader, path)
    if not lives:
        raise NeverThere(f"{show_path(path)} was never in {reader.share}", remedy="check the path with `ls`")
    return list(dict.fromkeys(life.node for life in lives))


class _Shots:
    """The snapshots of a share, for asking which fall into a lifetime."""

    def __init__(self, rows: list[SnapshotRow]) -> None:
        self._rows = rows
        self._sequences = [row.sequence for row in rows]

    def within(self, born: int, died: int) -> tuple[int, ...]:
        first, last = bisect_left(self._sequences, born), bisect_left(self._sequences, died)
        return tuple(row.id for row in self._rows[first:last])


def lives_of(reader: CatalogueReader, path: RelPath) -> list[Life]:
    """Return every node that stood at the path and when, oldest first."""
    lives = [Life(ROOT_NODE, 0, LIVE)]
    for name in path.split(b"/") if path != ROOT else ():
        below: list[Life] = []
        for parent in lives:
            for node, born, died in reader.lives_of_name(parent.node, name):
                born, died = max(born, parent.born), min(died, parent.died)
                if born < died:
                    below.append(Life(node, born, died))
        lives = sorted(below, key=lambda life: life.born)
    return lives


def _of_life(reader: CatalogueReader, shots: _Shots, life: Life, path: RelPath) -> list[PathVersion]:
    versions = []
    for state, died in reader.states_of(life.node):
        born, died = max(state.born, life.born), min(died, life.died)
        if born < died:
            sequence = max(state.changed, life.born)
            versions.append(PathVersion(sequence, state, shots.within(born, died), died == LIVE, path))
    return versions


def _deletions(shots: _Shots, lives: list[Life], path: RelPath) -> list[PathVersion]:
    found = []
    for index, life in enumerate(lives):
        until = lives[index + 1].born if index + 1 < len(lives) else LIVE
        if life.died < until:
            found.append(PathVersion(life.died, None, shots.within(life.died, until), until == LIVE, path))
    return found


def _earlier_names(reader: CatalogueReader, shots: _Shots, today: Life) -> list[PathVersion]:
    """Return the versions that today's node had under other paths before it came to this one."""
    found = []
    for parent, name, born, died in reader.names_of(today.node):
        for path, since, until in paths_of(reader.names_of, parent, name, born, min(died, today.born)):
            versions = _of_life(reader, shots, Life(today.node, since, until), path)
            found += [version for version in versions if not version.is_live]
    return found


def paths_of(names_of: NamesOf, parent: int, name: bytes, born: int, died: int) -> list[tuple[RelPath, int, int]]:
    """Return (path, from, until) for every path that a name had over a time: folders above it may be renamed too."""
    found: list[tuple[RelPath, int, int]] = []
    pending = [(parent, name, born, died)]
    while pending:
        folder, path, since, until = pending.pop()
        if since >= until:
            continue
        if folder == ROOT_NODE:
            found.append((RelPath(path), since, until))
            continue
        for above, folder_name, opened, closed in names_of(folder):
            pending.append((above, folder_name + b"/" + path, max(since, opened), min(until, closed)))
    return found
