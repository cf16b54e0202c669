"""The index of names as one SQLite file a share, and what finding asks of the catalogue: all its SQL.

The index is the only copy of nothing. Blocks cover ranges of births without overlapping; readers take what no block covers
from the catalogue, so that a lost, damaged or unfinished index costs time and never an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from core.database import Connection, Migration, ReaderPool, migrate, open_database, transaction
from snapshots.name_block_format import NameBlock, NameKey, Slot
from snapshots.schema_db import LIVE
from snapshots.view_db import CatalogueReader

_CRC_BYTES = 4  # before a filter's bits
_KEYS_A_QUESTION = 300  # three parameters each

_TABLES = (
    "CREATE TABLE block (last INTEGER PRIMARY KEY, after INTEGER NOT NULL, lines INTEGER NOT NULL, time_ns INTEGER NOT NULL,"
    " filter BLOB NOT NULL, data BLOB NOT NULL)",
    "CREATE INDEX block_range ON block (last, after, lines, time_ns)",  # so that looking at ranges reads no data
)


def _make_tables(database: Database) -> None:
    for statement in _TABLES:
        database.conn.execute(statement)


MIGRATIONS: list[Migration] = [_make_tables]


@dataclass(frozen=True, slots=True)
class BlockRange:
    """What a block covers: births in (after, last], as the share's history stood when `last` was received at `time_ns`."""

    last: int
    after: int
    lines: int
    time_ns: int


_BYTES_WITH = [bytes(value for value in range(256) if value >> bit & 1) for bit in range(8)]
_RANGE = "SELECT last, after, lines, time_ns FROM block INDEXED BY block_range"


class BlockReader:
    """The asking verbs. Any thread may call."""

    def __init__(self, path: Path) -> None:
        """Name the file, which must exist with its tables when a question comes."""
        self._pool = ReaderPool(path, synchronous="NORMAL", cache_kib=256)

    def newest(self) -> BlockRange | None:
        """Return what the newest block covers."""
        return self._range(f"{_RANGE} ORDER BY last DESC LIMIT 1")

    def newest_two(self) -> list[BlockRange]:
        """Return the two newest blocks, the older first."""
        rows = self._pool.query(f"{_RANGE} ORDER BY last DESC LIMIT 2")
        return [BlockRange(*row) for row in reversed(rows)]

    def pair_behind(self, sequence: int) -> list[BlockRange]:
        """Return the two blocks that follow a birth, the older first."""
        return [BlockRange(*row) for row in self._pool.query(f"{_RANGE} WHERE last > ? ORDER BY last LIMIT 2", (sequence,))]

    def blocks_from(self, sequence: int, slots: Sequence[Slot], limit: int) -> list[tuple[int, int, bytes, bytes | None]]:
        """Return (last, after, filter, data) of blocks that hold births up to `sequence`, newest first.

        `data` is None, and was not read, where one of the filter's places is not set.
        """
        places = " AND ".join(["instr(?, substr(filter, ?, 1))"] * len(slots)) or "1"
        return self._pool.query(
            f"SELECT last, after, filter, CASE WHEN {places} THEN data END FROM block WHERE after < ?"
            " AND last <= ifnull((SELECT min(last) FROM block WHERE last >= ?), ?) ORDER BY last DESC LIMIT ?",
            [
                *(value for at, bit in slots for value in (_BYTES_WITH[bit], at + _CRC_BYTES + 1)),
                sequence,
                sequence,
                sequence,
                limit,
            ],
        )

    def close(self) -> None:
        """Close the connections; no thread may be reading."""
        self._pool.close()

    def _range(self, statement: str) -> BlockRange | None:
        rows = self._pool.query(statement)
        return BlockRange(*rows[0]) if rows else None


class BlockWriter:
    """The changing verbs. One thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the index; a crash may lose the newest blocks, which are then made again."""
        database = open_database(path, synchronous="NORMAL", cache_kib=256)
        migrate(database, MIGRATIONS)
        self._connection: Connection = database.conn

    def replace(self, covered: BlockRange, block: NameBlock) -> None:
        """Put a block in the place of all that lie in its range; what overlaps it otherwise is forgotten too."""
        with transaction(self._connection):
            self._connection.execute("DELETE FROM block WHERE last > ? AND after < ?", (covered.after, covered.last))
            row = (covered.last, covered.after, covered.lines, covered.time_ns, block.filter, block.data)
            self._connection.execute("INSERT INTO block VALUES (?,?,?,?,?,?)", row)

    def forget_all(self) -> None:
        """Begin anew."""
        with transaction(self._connection):
            self._connection.execute("DELETE FROM block")

    def truncate_log(self) -> None:
        """Write the WAL back and cut it."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the index."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class EntryRow:
    """One row of the catalogue's names."""

    parent: int
    name: bytes
    born: int
    died: int
    node: int

    @property
    def is_live(self) -> bool:
        """Tell whether the name stands now."""
        return self.died == LIVE


def keys_behind(reader: CatalogueReader, after: int, last: int, limit: int) -> list[NameKey]:
    """Return up to `limit` names born in (after, last] in order, those of one birth together (then perhaps more than `limit`)."""
    rows: list[NameKey] = reader.query(
        "SELECT born, parent, name FROM entry INDEXED BY entry_by_born WHERE born > ? AND born <= ?"
        " ORDER BY born, parent, name LIMIT ?",
        (after, last, limit + 1),
    )
    if len(rows) <= limit:
        return rows
    whole = [row for row in rows if row[0] != rows[-1][0]]
    return whole or _keys_born(reader, rows[-1][0])


def keys_before(reader: CatalogueReader, after: int, last: int, limit: int) -> list[NameKey]:
    """Return the newest names born in (after, last], in order: about `limit`, those of one birth together."""
    rows: list[NameKey] = reader.query(
        "SELECT born, parent, name FROM entry INDEXED BY entry_by_born WHERE born > ? AND born <= ?"
        " ORDER BY born DESC, parent DESC, name DESC LIMIT ?",
        (after, last, limit + 1),
    )
    rows.reverse()
    if len(rows) <= limit:
        return rows
    whole = [row for row in rows if row[0] != rows[0][0]]
    return whole or _keys_born(reader, rows[0][0])


def entries_of(reader: CatalogueReader, keys: Sequence[NameKey]) -> list[EntryRow]:
    """Return the rows that the keys name, those that the catalogue still holds, newest birth first."""
    found: list[EntryRow] = []
    for start in range(0, len(keys), _KEYS_A_QUESTION):
        some = keys[start : start + _KEYS_A_QUESTION]
        values = ",".join(["(?,?,?)"] * len(some))
        rows = reader.query(
            f"WITH wanted (born, parent, name) AS (VALUES {values}) SELECT e.parent, e.name, e.born, e.died, e.node"
            " FROM wanted w CROSS JOIN entry e ON e.parent = w.parent AND e.name = w.name AND e.born = w.born",
            [value for key in some for value in key],
        )
        found += [EntryRow(*row) for row in rows]
    return sorted(found, key=lambda row: (-row.born, row.parent, row.name))


def _keys_born(reader: CatalogueReader, born: int) -> list[NameKey]:
    return reader.query("SELECT born, parent, name FROM entry WHERE born=? ORDER BY parent, name", (born,))
