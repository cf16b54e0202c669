"""Who takes how much of the packs: for each pack, the bytes of the records that each dedup domain put there first.

A part of the chunk index, written in the same transaction as the chunks, so that it is right after every crash and comes back
with a rebuild. What a pack takes is forgotten with the pack: bytes count until collect has really freed them.
"""

from collections import Counter
from collections.abc import Iterable

from sqlite_utils import Database

from core.database import Connection
from snapshots.pack_format import TrailerEntry


def create_usage(database: Database) -> None:
    """Make the table (a migration of the index)."""
    for statement in (
        "CREATE TABLE usage (pack INTEGER NOT NULL, domain BLOB NOT NULL, record_bytes INTEGER NOT NULL,"
        " PRIMARY KEY (pack, domain)) WITHOUT ROWID",
        "CREATE INDEX usage_of_domain ON usage (domain, record_bytes)",
        "CREATE TRIGGER pack_gone AFTER DELETE ON pack BEGIN DELETE FROM usage WHERE pack = old.number; END",
    ):
        database.conn.execute(statement)


def count_usage(connection: Connection, entries: Iterable[TrailerEntry]) -> None:
    """Count new records, inside a transaction of the caller."""
    counted: Counter[tuple[int, bytes]] = Counter()
    for entry in entries:
        counted[entry.location.pack, entry.domain] += entry.location.record_bytes
    connection.executemany(
        "INSERT INTO usage VALUES (?,?,?) ON CONFLICT (pack, domain) DO UPDATE SET"
        " record_bytes = record_bytes + excluded.record_bytes",
        [(pack, domain, record_bytes) for (pack, domain), record_bytes in counted.items()],
    )


def packs_not_counted(connection: Connection) -> dict[int, int]:
    """Return the packs of an earlier release, of which nothing was counted, and how far each is indexed."""
    return dict(
        connection.execute(
            "SELECT number, indexed_bytes FROM pack WHERE NOT EXISTS (SELECT 1 FROM usage WHERE usage.pack = pack.number)"
        )
    )
