"""Removing one path, and all below it, from every state of a share that is kept: for data that must not exist any more.

Which states are kept is a list of *points*: the fences, and the folded end, which is the live state. A path means what stood
there at each point. Names are cut at the points at which they stood at the path or below it; a file keeps its names elsewhere,
and what it was at the points where one of them is left. Sets of points are the bits of a number.

What no point sees is removed with it, sealed or not: so all seals are forgotten, and the next one is a full one that holds
nothing of this. Everything is decided by the catalogue and the place in the journal: a fold that comes there again does the same.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from core.database import Connection
from core.relpath import RelPath
from snapshots.purge_db import EntryRow, PurgeTables
from snapshots.schema_db import LIVE, ROOT_NODE
from staging.changes import Kind

Points = int
"""A set of points: bit n is the n-th."""


@dataclass(frozen=True, slots=True)
class Purged:
    """What a purge removed: names, versions of nodes, and live files with their bytes."""

    names: int = 0
    versions: int = 0
    files: int = 0
    logical_bytes: int = 0


def purge_path(connection: Connection, path: RelPath, at: int) -> Purged:
    """Remove a path from all that is kept up to the folded sequence `at`, inside a transaction of the caller."""
    tables = PurgeTables(connection)
    tables.end_instants(at)
    purge = _Purge(tables, [*(fence for fence in tables.fences() if fence < at), at])
    purge.cut_below(path)
    done = purge.apply()
    tables.forget_seals(at)
    return done


class _Purge:
    """One purge: first finds what is cut where, then changes the rows."""

    def __init__(self, tables: PurgeTables, points: list[int]) -> None:
        self._tables, self._points = tables, points
        self._cut: dict[EntryRow, Points] = {}

    def cut_below(self, path: RelPath) -> None:
        """Find every name that stood at the path or below it, and at which points."""
        *folders, last = path.split(b"/")
        nodes = {ROOT_NODE: (1 << len(self._points)) - 1}
        for name in folders:
            nodes = self._children(nodes, name)
        waiting = [
            (row, points & self._life(row.born, row.died))
            for node, points in nodes.items()
            for row in self._tables.entries(node, last)
        ]
        while waiting:
            row, points = waiting.pop()
            points &= ~self._cut.get(row, 0)
            if points:
                self._cut[row] = self._cut.get(row, 0) | points
                waiting += [(child, points & self._life(child.born, child.died)) for child in self._tables.entries_in(row.node)]

    def apply(self) -> Purged:
        """Cut the names, then remove the states that no name shows any more, from the rows and from the counts of each point."""
        cut_of: dict[int, Points] = defaultdict(int)
        for row, points in self._cut.items():
            cut_of[row.node] |= points
            self._tables.replace_entry(row, list(self._left(row, self._life(row.born, row.died) & ~points)))
        versions, lost = 0, [(0, 0)] * len(self._points)
        for node, cut in cut_of.items():
            named = 0
            for row in self._tables.names_of(node):
                named |= self._life(row.born, row.died)
            for state in self._tables.states(node):
                life = self._life(state.born, state.died)
                if not life & named:
                    self._tables.drop_state(state)
                    versions += 1
                elif state.died == LIVE and not named >> (len(self._points) - 1):
                    self._tables.end_state(state, self._points[-1])
                for point in _members(life & cut & ~named):
                    files, logical_bytes = lost[point]
                    lost[point] = (files + (state.kind != Kind.FOLDER), logical_bytes + state.size)
        for sequence, (files, logical_bytes) in zip(self._points, lost, strict=True):
            self._tables.count_down(sequence, files, logical_bytes)
        return Purged(len(self._cut), versions, *lost[-1])

    def _children(self, nodes: dict[int, Points], name: bytes) -> dict[int, Points]:
        found: dict[int, Points] = defaultdict(int)
        for node, points in nodes.items():
            for row in self._tables.entries(node, name):
                found[row.node] |= points & self._life(row.born, row.died)
        return {node: points for node, points in found.items() if points}

    def _life(self, born: int, died: int) -> Points:
        low, high = bisect_left(self._points, born), bisect_left(self._points, died)
        return (1 << high) - (1 << low)

    def _left(self, row: EntryRow, points: Points) -> Iterator[EntryRow]:
        """Yield the rows that show a name at the points that are left, and at no other."""
        index, end = bisect_left(self._points, row.born), bisect_left(self._points, row.died)
        first = index
        while index < end:
            start = index
            while index < end and points >> index & 1:
                index += 1
            if index > start:
                born = row.born if start == first else self._points[start - 1] + 1
                died = row.died if index == end else self._points[index]
                yield EntryRow(row.parent, row.name, born, died, row.node)
            index += 1


def _members(points: Points) -> Iterator[int]:
    """Yield the numbers of the points in a set."""
    while points:
        yield (points & -points).bit_length() - 1
        points &= points - 1
