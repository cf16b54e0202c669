"""The appliance's own SQLite file: a connection per thread, one writer at a time. Queries stand in the other `*_db.py`.

Promises: a write block is one transaction, durable when it is left (WAL with synchronous=FULL, which `core.database`
asserts); a file of a newer release is refused. Readers fetch all rows of a query at once, so that none stays open.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from appliance.migrations_db import MIGRATIONS
from core.database import migrate, open_database, transaction, translated

Row = dict[str, Any]

_LOG_PAGES = 64  # the file is small and seldom changed: its log need not grow to megabytes


class ApplianceDatabase:
    """One file; any thread may use the object."""

    def __init__(self, path: Path) -> None:
        """Open the file, made if missing, and bring its tables up to date."""
        self._path = path
        self._local = threading.local()
        self._writing = threading.RLock()
        migrate(self._connection(), MIGRATIONS)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Return all rows of a query; inside a write block it sees the block's changes."""
        with translated(self._path):
            return list(self._connection().query(sql, parameters))

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Row | None:
        """Return the first row of a query, or None."""
        return next(iter(self.rows(sql, parameters)), None)

    def change(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Change rows and return how many; only inside a write block."""
        connection = self._connection().conn
        if not connection.in_transaction:
            raise RuntimeError("change() outside of a write block")
        return int(connection.execute(sql, parameters).rowcount)

    @contextmanager
    def write(self) -> Iterator[None]:
        """Make what is changed inside durable as a whole, or nothing of it; a block inside a block joins the outer."""
        with self._writing:  # waiting here is fair; waiting in SQLite is polling
            connection = self._connection().conn
            if connection.in_transaction:
                yield
                return
            with translated(self._path), transaction(connection):
                yield

    def close(self) -> None:
        """Close this thread's connection; those of other threads end with their thread."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            del self._local.connection

    def _connection(self) -> Database:
        connection: Database | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = open_database(self._path)
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")
        return connection
