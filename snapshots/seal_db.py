"""The rows of a catalogue for a seal, and back: all SQL of sealing and rebuilding.

Rows are read in pages, so that no reader stays open while the fold goes on: what was born up to a fence changes no more but
for its death, and deaths behind the fence are left out. Each row begins with a letter that tells its table.
"""

import base64
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from core.database import Connection
from snapshots.schema_db import LIVE

Row = tuple[Any, ...]
Query = Callable[[str, Sequence[Any]], list[Row]]

_PAGE = 2000
_STATE = "changed, kind, size, mode, uid, gid, owner, mtime_ns, xattrs, content_kind, content, target, device"
_DIED = "CASE WHEN died <= ?1 THEN died END"

# (columns of the key that pages, statement, key to begin behind): ?1 is the sequence to seal, ?2 that of the seal before
_FULL = (
    (3, f"SELECT 'e', parent, name, born, {_DIED}, node FROM entry WHERE born <= ?1 AND (parent, name, born) > (?3, ?4, ?5)"
        " ORDER BY parent, name, born LIMIT ?6", (-1, b"", -1)),
    (2, f"SELECT 's', node, born, {_DIED}, {_STATE} FROM state WHERE born <= ?1 AND (node, born) > (?3, ?4)"
        " ORDER BY node, born LIMIT ?5", (-1, -1)),
)  # fmt: skip
_NEW = (
    (3, f"SELECT 'e', parent, name, born, {_DIED}, node FROM entry WHERE born > ?2 AND born <= ?1"
        " AND (born, parent, name) > (?5, ?3, ?4) ORDER BY born, parent, name LIMIT ?6", (-1, b"", -1)),
    (3, "SELECT 'E', parent, name, born, died FROM entry WHERE died > ?2 AND died <= ?1 AND born <= ?2"
        " AND (parent, name, born) > (?3, ?4, ?5) ORDER BY parent, name, born LIMIT ?6", (-1, b"", -1)),
    (2, f"SELECT 's', node, born, {_DIED}, {_STATE} FROM state WHERE born > ?2 AND born <= ?1"
        " AND (born, node) > (?4, ?3) ORDER BY born, node LIMIT ?5", (-1, -1)),
    (2, "SELECT 'S', node, born, died FROM state WHERE died > ?2 AND died <= ?1 AND born <= ?2"
        " AND (node, born) > (?3, ?4) ORDER BY node, born LIMIT ?5", (-1, -1)),
)  # fmt: skip
_SMALL = (
    "SELECT 'o', id, user, \"group\" FROM owner WHERE ?1 > ?2 ORDER BY id",
    "SELECT 'm', sequence, time_ns FROM moment WHERE sequence > ?2 AND sequence <= ?1 ORDER BY sequence",
    "SELECT 'p', sequence, reason FROM problem WHERE sequence <= ?1 AND ?1 > ?2 ORDER BY sequence",
    "SELECT 'f', sequence, next_node, files, logical_bytes, mirroring, mirrored, problem FROM fence"
    " WHERE sequence > ?2 AND sequence <= ?1 ORDER BY sequence",
    "SELECT 'n', id, sequence, taken_ns, label, \"trigger\", consistency, good, deleted_ns, drop_after_ns, delete_reason,"
    " known_at"
    " FROM snapshot WHERE ?1 > ?2 ORDER BY id",
    "SELECT 'h', snapshot, name, owner, reason, expires_ns FROM hold WHERE ?1 > ?2 ORDER BY snapshot, name",
    "SELECT 'a', sequence, taken_ns FROM anchor WHERE sequence <= ?1 AND ?1 > ?2 ORDER BY sequence",
    "SELECT 'y', key, value FROM meta WHERE key IN ('policy', 'least_delay', 'deletion', 'purged', 'burst_window') AND ?1 > ?2",
)


def sealed_rows(query: Query, sequence: int, since: int) -> Iterator[list[Row]]:
    """Yield in batches what a seal at `sequence` behind one at `since` (0: a full one) holds."""
    for width, statement, start in _NEW if since else _FULL:
        yield from _pages(query, statement, (sequence, since), start, width)
    for statement in _SMALL:
        yield query(statement, (sequence, since))


def _pages(query: Query, statement: str, sequences: tuple[int, int], start: Row, width: int) -> Iterator[list[Row]]:
    last = start
    while True:
        rows = query(statement, (*sequences, *last, _PAGE))
        yield rows
        if len(rows) < _PAGE:
            return
        last = rows[-1][1 : 1 + width]


class CatalogueFiller:
    """Writes the rows of seals into an empty catalogue, oldest seal first, inside a transaction of the caller."""

    def __init__(self, connection: Connection) -> None:
        """Empty what every new catalogue holds already."""
        self._connection = connection
        connection.execute("DELETE FROM state")
        connection.execute("DELETE FROM owner")

    def begin_seal(self) -> None:
        """Forget what the seal before told of snapshots, holds, problems and deletion: each seal tells them all."""
        self._connection.execute("DELETE FROM meta WHERE key='deletion'")
        for table in ("snapshot", "hold", "anchor", "problem"):
            self._connection.execute(f"DELETE FROM {table}")

    def add(self, rows: list[list[Any]]) -> None:
        """Write rows of one seal."""
        batches: dict[str, list[Row]] = {}
        for row in rows:
            batches.setdefault(row[0], []).append(_READ[row[0]](row))
        for letter, values in batches.items():
            self._connection.executemany(_WRITE[letter], values)

    def end_seal(self, sequence: int, digest: bytes, full: bool, sealed_ns: int) -> None:
        """Remember the seal itself, as one of the chain that goes on from here."""
        self._connection.execute("INSERT INTO seal VALUES (?,?,?,?)", (sequence, digest, int(full), sealed_ns))

    def finish(self, fence: int) -> None:
        """Take the hints up that seals do not hold, and keep what was born up to `fence` as it is."""
        self._connection.execute(
            "UPDATE state SET linked=1 WHERE node IN (SELECT node FROM entry GROUP BY node HAVING count(*) > 1)"
        )
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('fence', ?)", (str(fence),))


def _bytes(value: str | None) -> bytes | None:
    return None if value is None else base64.b64decode(value)


def _died(value: int | None) -> int:
    return LIVE if value is None else value


_READ: dict[str, Callable[[list[Any]], Row]] = {
    "e": lambda r: (r[1], _bytes(r[2]), r[3], _died(r[4]), r[5]),
    "E": lambda r: (r[4], r[1], _bytes(r[2]), r[3]),
    "s": lambda r: (r[1], r[2], _died(r[3]), *r[4:12], _bytes(r[12]), r[13], _bytes(r[14]), _bytes(r[15]), r[16], 0),
    "S": lambda r: (r[3], r[1], r[2]),
    "o": lambda r: (r[1], _bytes(r[2]), _bytes(r[3])),
    "m": lambda r: (r[1], r[2]),
    "p": lambda r: (r[1], r[2]),
    "f": lambda r: tuple(r[1:]),
    "n": lambda r: tuple(r[1:]),
    "h": lambda r: tuple(r[1:]),
    "a": lambda r: (r[1], r[2]),
    "y": lambda r: (r[1], r[2]),
}
_WRITE = {
    "e": "INSERT OR REPLACE INTO entry VALUES (?,?,?,?,?)",
    "E": "UPDATE entry SET died=? WHERE parent=? AND name=? AND born=?",
    "s": f"INSERT OR REPLACE INTO state VALUES ({','.join('?' * 17)})",
    "S": "UPDATE state SET died=? WHERE node=? AND born=?",
    "o": "INSERT OR REPLACE INTO owner VALUES (?,?,?)",
    "m": "INSERT OR REPLACE INTO moment (sequence, time_ns) VALUES (?,?)",
    "p": "INSERT INTO problem VALUES (?,?)",
    "f": "INSERT OR REPLACE INTO fence VALUES (?,?,?,?,?,?,?,NULL)",
    "n": "INSERT OR REPLACE INTO snapshot VALUES (?,?,?,?,?,?,?,?,?,?,?)",
    "h": "INSERT OR REPLACE INTO hold VALUES (?,?,?,?,?)",
    "a": "INSERT OR REPLACE INTO anchor VALUES (?,?)",
    "y": "INSERT OR REPLACE INTO meta VALUES (?,?)",
}
