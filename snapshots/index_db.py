"""The chunk index: where each chunk stands, and which dedup domain holds it. It can be rebuilt from the packs.

`synchronous=NORMAL` is enough: a commit lost in a power cut leaves `pack.indexed_bytes` behind too, and what stands behind
that mark is scanned again at open. Only removing files needs more (`make_durable`).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from core.database import Connection, ReaderPool, migrate, open_database, transaction, truncate_log
from core.digest import DIGEST_BYTES, Digest
from snapshots.pack_format import Location, TrailerEntry
from snapshots.usage_db import count_usage, create_usage, packs_not_counted

HELD_PREFIX_BYTES = 8  # of a digest: a chance of 1 in 2^64 that an unknown digest seems held, then `chunk` decides
ROWS_A_QUESTION = 500


def _create(database: Database) -> None:
    for statement in (
        "CREATE TABLE chunk (digest BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL,"
        " stored_bytes INTEGER NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE held (domain BLOB NOT NULL, prefix BLOB NOT NULL, PRIMARY KEY (domain, prefix)) WITHOUT ROWID",
        "CREATE TABLE pack (number INTEGER PRIMARY KEY, indexed_bytes INTEGER NOT NULL)",
    ):
        database.conn.execute(statement)


def _add_bases(database: Database) -> None:
    database.conn.execute("ALTER TABLE chunk ADD COLUMN base BLOB")
    database.conn.execute("CREATE INDEX chunk_of_base ON chunk (base) WHERE base IS NOT NULL")


def _add_removal(database: Database) -> None:
    for statement in (
        "CREATE TABLE condemned (digest BLOB PRIMARY KEY, run INTEGER NOT NULL, since_ns INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE damaged (digest BLOB PRIMARY KEY, found_ns INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE run (number INTEGER PRIMARY KEY, began_ns INTEGER NOT NULL, ended_ns INTEGER, report TEXT)",
        "ALTER TABLE pack ADD COLUMN appended_ns INTEGER",  # NULL in packs of earlier releases: until the store is opened
        "ALTER TABLE pack ADD COLUMN verified_ns INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE pack ADD COLUMN verified_bytes INTEGER NOT NULL DEFAULT 0",
    ):
        database.conn.execute(statement)


def _add_checks(database: Database) -> None:
    database.conn.execute("CREATE TABLE checked (name TEXT PRIMARY KEY, checked_ns INTEGER NOT NULL) WITHOUT ROWID")


Held = tuple[bytes, int, Digest]
"""(domain, kind, digest)"""


def held_key(kind: int, digest: Digest) -> bytes:
    """Return what stands for a chunk in `held`: a digest names a chunk of one kind only."""
    return bytes((kind,)) + digest[:HELD_PREFIX_BYTES]


class ChunkLookup:
    """The index, read. Any thread may ask."""

    def __init__(self, path: Path, *, read_only: bool = True) -> None:
        """Name the index; connections are opened when they are needed."""
        self.path = path
        self._readers = ReaderPool(path, synchronous="NORMAL", cache_kib=4096, read_only=read_only)

    def locations(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        """Return where each of the digests that are stored stands."""
        return self._locations("", digests)

    def usable(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        """Return where those of the digests stand that are stored and not condemned."""
        return self._locations(" AND NOT EXISTS (SELECT 1 FROM condemned k WHERE k.digest = chunk.digest)", digests)

    def condemned(self, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of the digests that are condemned."""
        found: set[Digest] = set()
        for part in parts(digests):
            rows = self.query(f"SELECT digest FROM condemned WHERE digest IN ({marks(part)})", part)
            found.update(Digest(row[0]) for row in rows)
        return found

    def delta_bytes(self, bases: Iterable[Digest]) -> dict[Digest, int]:
        """Return how many bytes the deltas on each of the bases take; a base without any is left out."""
        found: dict[Digest, int] = {}
        for part in parts(bases):
            rows = self.query(f"SELECT base, sum(stored_bytes) FROM chunk WHERE base IN ({marks(part)}) GROUP BY base", part)
            found.update((Digest(base), total) for base, total in rows)
        return found

    def deltas_on(self, bases: Iterable[Digest]) -> dict[Digest, set[Digest]]:
        """Return the deltas on each of the bases; a base without any is left out."""
        found: dict[Digest, set[Digest]] = {}
        for part in parts(bases):
            for base, digest in self.query(f"SELECT base, digest FROM chunk WHERE base IN ({marks(part)})", part):
                found.setdefault(Digest(base), set()).add(Digest(digest))
        return found

    def held(self, domain: bytes, kind: int, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of the digests that the domain holds as chunks of this kind."""
        found: set[Digest] = set()
        for part in parts(digests):
            prefixes = [held_key(kind, digest) for digest in part]
            rows = self.query(f"SELECT prefix FROM held WHERE domain=? AND prefix IN ({marks(part)})", (domain, *prefixes))
            known = {row[0] for row in rows}
            found.update(digest for digest in part if held_key(kind, digest) in known)
        return found

    def all_held(self, domain: bytes, kind: int) -> list[Digest]:
        """Return all chunks of a kind that the domain holds: for the appliance's own domains, which hold few."""
        bounds = (domain, bytes((kind,)), bytes((kind + 1,)))
        prefixes = self.query("SELECT prefix FROM held WHERE domain=? AND prefix>=? AND prefix<?", bounds)
        found: list[Digest] = []
        for (prefix,) in prefixes:
            low = prefix[1:]
            high = low + b"\xff" * (DIGEST_BYTES - len(low))
            rows = self.query("SELECT digest FROM chunk WHERE digest BETWEEN ? AND ?", (low, high))
            found += [Digest(digest) for (digest,) in rows]
        return found

    def counts(self) -> tuple[int, int]:
        """Return (chunks, packs)."""
        ((chunks, packs),) = self.query("SELECT (SELECT count(*) FROM chunk), (SELECT count(*) FROM pack)")
        return chunks, packs

    def query(self, statement: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT, asked by one of the folder's other index modules."""
        return self._readers.query(statement, parameters)

    def close(self) -> None:
        """Close the connections; no thread may be reading."""
        self._readers.close()

    def _locations(self, condition: str, digests: Iterable[Digest]) -> dict[Digest, Location]:
        found: dict[Digest, Location] = {}
        for part in parts(digests):
            rows = self.query(
                f"SELECT digest, pack, offset, stored_bytes, size, base FROM chunk WHERE digest IN ({marks(part)}){condition}",
                part,
            )
            found.update((Digest(row[0]), Location(*row[1:])) for row in rows)
        return found


class ChunkIndex(ChunkLookup):
    """The index as verbs. Writes come under the store's lock; any thread may read."""

    def __init__(self, path: Path, now_ns: int) -> None:
        """Open or make the index; packs whose age was never noted count as written now."""
        self._path = path
        self._database = open_database(path, synchronous="NORMAL", cache_kib=32_768)
        migrate(self._database, [_create, _add_bases, _add_removal, create_usage, _add_checks])
        super().__init__(path, read_only=False)
        with transaction(self.connection):
            self.connection.execute("UPDATE pack SET appended_ns=? WHERE appended_ns IS NULL", (now_ns,))

    @property
    def connection(self) -> Connection:
        """Return the one connection that writes."""
        return self._database.conn

    def add(
        self,
        entries: list[TrailerEntry],
        held: Iterable[Held],
        indexed: dict[int, int],
        now_ns: int,
        *,
        healed: set[Digest] = frozenset(),  # type: ignore[assignment]
        resurrected: set[Digest] = frozenset(),  # type: ignore[assignment]
    ) -> None:
        """Insert chunks, who holds what, and how far each pack is indexed; withdraw condemnations.

        The first row of a digest wins, but for those in `healed`, whose record turned out to be damaged.
        """
        with transaction(self.connection):
            for table in ("chunk", "damaged"):
                self.connection.executemany(f"DELETE FROM {table} WHERE digest=?", [(digest,) for digest in healed])
            self.connection.executemany("DELETE FROM condemned WHERE digest=?", [(digest,) for digest in resurrected])
            self._add("INSERT OR IGNORE INTO chunk VALUES (?,?,?,?,?,?)", entries, held, indexed, now_ns)

    def add_found(self, entries: list[TrailerEntry], held: Iterable[Held], indexed: dict[int, int], now_ns: int) -> None:
        """Insert what was found in packs, in their order. Whole records come before deltas, later before earlier: they healed.

        Whoever put them was answered, or was to be: they are not condemned.
        """
        with transaction(self.connection):
            self.connection.executemany("DELETE FROM condemned WHERE digest=?", ((entry.digest,) for entry in entries))
            self._add(
                "INSERT INTO chunk VALUES (?,?,?,?,?,?) ON CONFLICT (digest) DO UPDATE SET pack=excluded.pack,"
                " offset=excluded.offset, stored_bytes=excluded.stored_bytes, size=excluded.size, base=excluded.base"
                " WHERE excluded.base IS NULL OR chunk.base IS NOT NULL",
                entries, held, indexed, now_ns,
            )  # fmt: skip

    def _add(self, insert: str, entries: list[TrailerEntry], held: Iterable[Held], indexed: dict[int, int], now_ns: int) -> None:
        self.connection.executemany(insert, ((e.digest, *_columns(e.location)) for e in entries))
        self.connection.executemany(
            "INSERT OR IGNORE INTO held VALUES (?,?)", ((domain, held_key(kind, digest)) for domain, kind, digest in held)
        )
        self.extend_packs(indexed, now_ns)
        count_usage(self.connection, entries)

    def extend_packs(self, indexed: dict[int, int], now_ns: int) -> None:
        """Note within a transaction how far packs are indexed, and that they were appended to now."""
        self.connection.executemany(
            "INSERT INTO pack (number, indexed_bytes, appended_ns) VALUES (?,?,?) ON CONFLICT (number) DO UPDATE SET"
            " indexed_bytes=max(indexed_bytes, excluded.indexed_bytes), appended_ns=max(appended_ns, excluded.appended_ns)",
            [(number, end, now_ns) for number, end in indexed.items()],
        )

    def packs_not_counted(self) -> dict[int, int]:
        """Return the packs whose records were not counted for their domains yet, and how far each is indexed."""
        return packs_not_counted(self.connection)

    def count_again(self, entries: list[TrailerEntry]) -> None:
        """Count the records of packs of an earlier release."""
        with transaction(self.connection):
            count_usage(self.connection, entries)

    def record_bytes(self, domain: bytes) -> int:
        """Return what the records take that a domain put."""
        ((found,),) = self.query("SELECT total(record_bytes) FROM usage WHERE domain=?", (domain,))
        return int(found)

    def indexed_bytes(self) -> dict[int, int]:
        """Return how far each pack is indexed."""
        return dict(self.connection.execute("SELECT number, indexed_bytes FROM pack"))

    def make_durable(self) -> None:
        """Return when every commit so far survives a power cut: called before a file goes that earlier rows name."""
        self.connection.execute("PRAGMA synchronous=FULL")
        try:
            with transaction(self.connection):  # with FULL a commit syncs the log, and with it all that stands before
                # It must write a page: SQLite sees that an UPDATE changes nothing, writes nothing, and syncs nothing.
                self.connection.execute("INSERT INTO run (number, began_ns) VALUES (0, 0)")
                self.connection.execute("DELETE FROM run WHERE number=0")
        finally:
            self.connection.execute("PRAGMA synchronous=NORMAL")

    def truncate_log(self) -> None:
        """Write the WAL back and cut it."""
        truncate_log(self.connection, self._path)

    def close(self) -> None:
        """Close all connections."""
        self.connection.close()
        super().close()


def _columns(location: Location) -> tuple[int, int, int, int, Digest | None]:
    return location.pack, location.offset, location.stored_bytes, location.size, location.base


def marks(part: list[Digest]) -> str:
    """Return the place holders of a list in a question."""
    return ",".join("?" * len(part))


def parts(digests: Iterable[Digest]) -> Iterator[list[Digest]]:
    """Yield digests in lists that fit one question."""
    every = list(digests)
    for start in range(0, len(every), ROWS_A_QUESTION):
        yield every[start : start + ROWS_A_QUESTION]
