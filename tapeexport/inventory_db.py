"""The inventory: which media sets exist, on which cartridges they are, and which snapshots they hold.

SQLite, but nothing needed for a restore is kept only here: each cartridge carries label and index. A barcode is taken
in a committed transaction before its cartridge is written, and never given again. One connection, one thread.
"""

import os
from pathlib import Path
from typing import Any

from msgspec import Struct
from sqlite_utils import Database

from core.clock import NANOSECONDS, format_time
from core.database import migrate, open_database, transaction
from core.errors import NotFound
from tapeexport.cartridge_format import SnapshotLabel

_SCHEMA = (
    """
    CREATE TABLE media_set (
        id TEXT PRIMARY KEY,
        created_ns INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE cartridge (
        number INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again, even when the newest row is gone
        barcode TEXT NOT NULL UNIQUE,
        set_id TEXT NOT NULL REFERENCES media_set (id),
        sequence INTEGER NOT NULL,
        path BLOB NOT NULL, -- bytes of the file system, empty when it went to a stream
        state TEXT NOT NULL CHECK (state IN ('writing', 'verified', 'streamed', 'failed')),
        reason TEXT NOT NULL DEFAULT '',
        size_bytes INTEGER,
        sha256 TEXT,
        written_ns INTEGER,
        UNIQUE (set_id, sequence)
    ) STRICT
    """,
    """
    CREATE TABLE set_snapshot (
        set_id TEXT NOT NULL REFERENCES media_set (id),
        share TEXT NOT NULL,
        snapshot_id INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        taken_at TEXT NOT NULL,
        label TEXT NOT NULL,
        PRIMARY KEY (set_id, share, snapshot_id)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE INDEX set_snapshot_by_share ON set_snapshot (share, snapshot_id)
    """,
)


class MediaSetMissing(NotFound):
    """The inventory knows no such media set."""


class CartridgeRow(Struct, frozen=True):
    """What the inventory knows about one cartridge."""

    barcode: str
    set: str
    sequence: int
    path: bytes
    state: str
    reason: str
    size_bytes: int | None
    sha256: str | None
    written_ns: int | None


class MediaSet(Struct, frozen=True):
    """A media set with its cartridges and snapshots."""

    id: str
    created_ns: int
    cartridges: tuple[CartridgeRow, ...]
    snapshots: tuple[SnapshotLabel, ...]


class InventoryDb:
    """The inventory in one SQLite file, made when missing. Every method is one durable transaction."""

    def __init__(self, path: Path) -> None:
        """Open the file and bring it to this release's schema."""
        database = open_database(path)
        migrate(database, [_create])
        self._db = database.conn
        self._db.execute("PRAGMA foreign_keys = ON")

    def close(self) -> None:
        """Close the connection; may be called twice."""
        self._db.close()

    def begin_set(self, snapshots: tuple[SnapshotLabel, ...], created_ns: int, folder: Path | None) -> CartridgeRow:
        """Make a media set with its first cartridge in state `writing`; without `folder` it goes to a stream."""
        with transaction(self._db):
            last = self._one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'cartridge'")
            barcode = f"SK{last + 1:04d}L9"
            set_id = f"{barcode}-{format_time(created_ns // NANOSECONDS * NANOSECONDS)[:19].replace(':', '')}Z"
            path = os.fsencode(folder / f"{barcode}.tar") if folder is not None else b""
            self._db.execute("INSERT INTO media_set (id, created_ns) VALUES (?, ?)", [set_id, created_ns])
            self._db.execute(
                "INSERT INTO cartridge (number, barcode, set_id, sequence, path, state) VALUES (?, ?, ?, 1, ?, 'writing')",
                [last + 1, barcode, set_id, path],
            )
            for snapshot in snapshots:
                self._db.execute(
                    "INSERT INTO set_snapshot (set_id, share, snapshot_id, sequence, taken_at, label) VALUES (?, ?, ?, ?, ?, ?)",
                    [set_id, snapshot.share, snapshot.id, snapshot.sequence, snapshot.taken_at, snapshot.label],
                )
        return CartridgeRow(barcode, set_id, 1, path, "writing", "", None, None, None)

    def complete(self, barcode: str, state: str, size_bytes: int, sha256: str | None, written_ns: int) -> None:
        """Record that a cartridge is `verified` or `streamed`."""
        with transaction(self._db):
            self._db.execute(
                "UPDATE cartridge SET state = ?, size_bytes = ?, sha256 = ?, written_ns = ? WHERE barcode = ?",
                [state, size_bytes, sha256, written_ns, barcode],
            )

    def fail(self, barcode: str, reason: str) -> None:
        """Record that a cartridge is of no use, and why."""
        with transaction(self._db):
            self._db.execute("UPDATE cartridge SET state = 'failed', reason = ? WHERE barcode = ?", [reason, barcode])

    def media_set(self, set_id: str) -> MediaSet:
        """Return one media set; raise `MediaSetMissing`."""
        created_ns = self._one("SELECT created_ns FROM media_set WHERE id = ?", set_id)
        if created_ns is None:
            raise MediaSetMissing(f"there is no media set {set_id}", remedy="`export list` shows the media sets")
        snapshots = self._db.execute(
            "SELECT share, snapshot_id, sequence, taken_at, label FROM set_snapshot WHERE set_id = ? ORDER BY share, snapshot_id",
            [set_id],
        )
        cartridges = self._cartridges("WHERE set_id = ? ORDER BY sequence", set_id)
        return MediaSet(set_id, created_ns, cartridges, tuple(SnapshotLabel(*row) for row in snapshots))

    def media_sets(self) -> list[MediaSet]:
        """Return all media sets, newest first."""
        rows = self._db.execute("SELECT id FROM media_set ORDER BY created_ns DESC, id DESC").fetchall()
        return [self.media_set(set_id) for (set_id,) in rows]

    def cartridges_in(self, state: str) -> tuple[CartridgeRow, ...]:
        """Return all cartridges in a state, by barcode number."""
        return self._cartridges("WHERE state = ? ORDER BY number", state)

    def _cartridges(self, condition: str, value: str) -> tuple[CartridgeRow, ...]:
        columns = "barcode, set_id, sequence, path, state, reason, size_bytes, sha256, written_ns"
        rows = self._db.execute(f"SELECT {columns} FROM cartridge {condition}", [value])
        return tuple(CartridgeRow(*row) for row in rows)

    def _one(self, sql: str, *values: str) -> Any:
        row = self._db.execute(sql, list(values)).fetchone()
        return row[0] if row else None


def _create(database: Database) -> None:
    for statement in _SCHEMA:
        database.conn.execute(statement)
