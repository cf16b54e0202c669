"""Which files may differ from what was sent, and whether the last capture ended cleanly: durable before it matters.

A file's inode is marked before its first write since the last clean mark. After an unclean stop the content and attributes
remembered of marked files are void, so the next look compares them, whatever their times say: a power cut can leave new bytes
behind under old times, and old bytes where new ones were sent.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlite_utils import Database

from core.database import migrate, open_database, transaction


@dataclass(frozen=True, slots=True)
class LastCapture:
    """How the last capture ended: `until_ns` is when it was last known to write everything down (0: never)."""

    until_ns: int
    is_clean: bool


class DirtyDb:
    """The marks of one share; a connection belongs to its thread."""

    def __init__(self, path: Path) -> None:
        """Open or make the database."""
        database = open_database(path, synchronous="FULL")
        migrate(database, [_create])
        self._connection = database.conn

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def mark(self, inode: int) -> None:
        """Mark an inode; durable on return."""
        if self._connection.execute("SELECT 1 FROM dirty WHERE inode = ?", (inode,)).fetchone() is None:
            with transaction(self._connection):
                self._connection.execute("INSERT INTO dirty(inode) VALUES (?)", (inode,))

    def inodes(self) -> Iterator[int]:
        """Yield all that are marked."""
        for (inode,) in self._connection.execute("SELECT inode FROM dirty"):
            yield inode

    def last(self) -> LastCapture:
        """Return how the last capture ended."""
        until_ns, is_clean = self._connection.execute("SELECT until_ns, is_clean FROM capture").fetchone()
        return LastCapture(until_ns, bool(is_clean))

    def note(self, until_ns: int, is_clean: bool) -> None:
        """Note until when everything was written down, and whether nothing may differ; a clean end takes all marks away."""
        with transaction(self._connection):
            if is_clean:
                self._connection.execute("DELETE FROM dirty")
            self._connection.execute("UPDATE capture SET until_ns = ?, is_clean = ?", (until_ns, is_clean))


def _create(database: Database) -> None:
    database.execute("CREATE TABLE dirty(inode INTEGER PRIMARY KEY)")
    database.execute(
        "CREATE TABLE capture(one INTEGER PRIMARY KEY CHECK (one = 1), until_ns INTEGER NOT NULL, is_clean INTEGER NOT NULL)"
    )
    database.execute("INSERT INTO capture VALUES (1, 0, 1)")
