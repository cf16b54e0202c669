"""The rows by which two moments of a share differ, found by the indexes over birth and death: their SQL.

A row that was alive at the earlier moment and not at the later died between them; one that is alive only at the later was born
between them. Pages are cut by the indexes' own order, so that each row is read once however often a reader comes back.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from snapshots.catalogue_db import content_of
from snapshots.schema_db import LIVE
from staging.changes import ContentRef, Kind

PAGE_ROWS = 500
Key = tuple[int, int, bytes]
"""Where a reader stands in an index: (born or died, then parent and name, or node and nothing)."""
BEGINNING: Key = (-1, -1, b"")
Place = tuple[int, bytes]
"""A name: the folder's node and the name in it."""
ROOT_PLACE: Place = (0, b"")

_VALUES = ("kind", "size", "content_kind", "content", "target", "device", "mode", "uid", "gid", "owner", "mtime_ns", "xattrs")
_WIDTH = len(_VALUES)

Query = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class Value:
    """What a node was: all that makes two states equal or not."""

    kind: Kind
    size: int
    content: ContentRef
    rest: tuple[Any, ...]
    attributes: tuple[Any, ...]

    def says_the_same(self, other: "Value") -> bool:
        """Tell whether both have the same content (target, device)."""
        return (self.kind, self.size, self.content, self.rest) == (other.kind, other.size, other.content, other.rest)


@dataclass(frozen=True, slots=True)
class NameRow:
    """A name that stood at one of the moments only, and what its node was at each (None: the node was not there)."""

    key: Key
    place: Place
    node: int
    early: Value | None
    late: Value | None


@dataclass(frozen=True, slots=True)
class StateRow:
    """A node that was there at both moments, with another state."""

    key: Key
    node: int
    early: Value
    late: Value


class DifferenceRows(Protocol):
    """What is asked about two sequences of a share, `early` not behind `late`. Rows come in the order of their keys."""

    early: int
    late: int

    def names_gone(self, after: Key) -> Iterator[NameRow]:
        """Yield the names that stood at the earlier moment only, behind a key."""

    def names_come(self, after: Key) -> Iterator[NameRow]:
        """Yield the names that stand at the later moment only, behind a key."""

    def states_changed(self, after: Key) -> Iterator[StateRow]:
        """Yield the nodes that may have another state at the later moment, behind a key."""

    def names_of(self, node: int, sequence: int) -> list[Place]:
        """Return all names of a node as of one of the sequences, sorted."""

    def node_at(self, place: Place, sequence: int) -> int | None:
        """Return the node that a name stood for as of one of the sequences."""

    def value_at(self, node: int, sequence: int) -> Value | None:
        """Return what a node was as of one of the sequences, None when it was not there."""


class DifferenceReader:
    """Asks one share's catalogue about two sequences, `early` before `late`."""

    def __init__(self, query: Query, early: int, late: int) -> None:
        """Bind the way to the catalogue."""
        self._query = query
        self.early, self.late = early, late

    def names_gone(self, after: Key) -> Iterator[NameRow]:
        """Yield the names that stood at the earlier moment only, behind a key."""
        where = f"e.died > ?1 AND e.died <= ?2 AND e.died < {LIVE} AND e.born <= ?1"
        return self._names("entry_by_died", "died", where, after)

    def names_come(self, after: Key) -> Iterator[NameRow]:
        """Yield the names that stand at the later moment only, behind a key."""
        return self._names("entry_by_born", "born", "e.born > ?1 AND e.born <= ?2 AND e.died > ?2", after)

    def states_changed(self, after: Key) -> Iterator[StateRow]:
        """Yield the nodes that have another state row at the later moment, behind a key."""
        statement = (
            f"SELECT s.born, s.node, {_columns('a')}, {_columns('s')} FROM state s INDEXED BY state_by_born"
            f" JOIN state a ON {_alive('a', 's.node', '?1')}"
            " WHERE s.born > ?1 AND s.born <= ?2 AND s.died > ?2 AND (s.born, s.node) > (?3, ?4)"
            f" ORDER BY s.born, s.node LIMIT {PAGE_ROWS}"
        )
        while True:
            rows = self._query(statement, (self.early, self.late, *after[:2]))
            for row in rows:
                after = (row[0], row[1], b"")
                yield StateRow(after, row[1], _known(row[2 : 2 + _WIDTH]), _known(row[2 + _WIDTH :]))
            if len(rows) < PAGE_ROWS:
                return

    def names_of(self, node: int, sequence: int) -> list[Place]:
        """Return all names of a node as of a sequence, sorted."""
        rows = self._query(
            "SELECT parent, name FROM entry WHERE node=?1 AND died > ?2 AND born <= ?2 ORDER BY parent, name", (node, sequence)
        )
        return [(row[0], row[1]) for row in rows]

    def node_at(self, place: Place, sequence: int) -> int | None:
        """Return the node that a name stood for as of a sequence."""
        rows = self._query(
            "SELECT node, died FROM entry WHERE parent=? AND name=? AND born<=? ORDER BY born DESC LIMIT 1", (*place, sequence)
        )
        return int(rows[0][0]) if rows and rows[0][1] > sequence else None

    def value_at(self, node: int, sequence: int) -> Value | None:
        """Return what a node was as of a sequence, None when it was not there."""
        rows = self._query(
            f"SELECT {_columns('s')}, s.died FROM state s WHERE s.node=? AND s.born<=? ORDER BY s.born DESC LIMIT 1",
            (node, sequence),
        )
        return _known(rows[0][:_WIDTH]) if rows and rows[0][_WIDTH] > sequence else None

    def _names(self, index: str, by: str, where: str, after: Key) -> Iterator[NameRow]:
        statement = (
            f"SELECT e.{by}, e.parent, e.name, e.node, {_columns('a')}, {_columns('b')} FROM entry e INDEXED BY {index}"
            f" LEFT JOIN state a ON {_alive('a', 'e.node', '?1')} LEFT JOIN state b ON {_alive('b', 'e.node', '?2')}"
            f" WHERE {where} AND (e.{by}, e.parent, e.name) > (?3, ?4, ?5)"
            f" ORDER BY e.{by}, e.parent, e.name LIMIT {PAGE_ROWS}"
        )
        while True:
            rows = self._query(statement, (self.early, self.late, *after))
            for row in rows:
                after = (row[0], row[1], row[2])
                yield NameRow(after, (row[1], row[2]), row[3], _value(row[4 : 4 + _WIDTH]), _value(row[4 + _WIDTH :]))
            if len(rows) < PAGE_ROWS:
                return


def _columns(table: str) -> str:
    return ", ".join(f"{table}.{column}" for column in _VALUES)


def _alive(table: str, node: str, sequence: str) -> str:
    newest = f"(SELECT max(born) FROM state WHERE node = {node} AND born <= {sequence})"
    return f"{table}.node = {node} AND {table}.born = {newest} AND {table}.died > {sequence}"


def _value(row: tuple[Any, ...]) -> Value | None:
    return _known(row) if row[0] is not None else None


def _known(row: tuple[Any, ...]) -> Value:
    kind, size, content_kind, content, target, device, *attributes = row
    return Value(Kind(kind), size, content_of(content_kind, content, size), (target, device), tuple(attributes))
