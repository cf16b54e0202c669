"""The chunk index: where each chunk stands, and which dedup domain holds it. It can be rebuilt from the packs.

`synchronous=NORMAL` is enough: a commit lost in a power cut leaves `pack.indexed_bytes` behind too, and what stands behind
that mark is scanned again at open.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlite_utils import Database

from core.database import ReaderPool, migrate, open_database, transaction, truncate_log
from core.digest import Digest
from snapshots.pack_format import Location, TrailerEntry

HELD_PREFIX_BYTES = 8  # of a digest: a chance of 1 in 2^64 that an unknown digest seems held, then `chunk` decides
_ROWS_A_QUESTION = 500


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


Held = tuple[bytes, int, Digest]
"""(domain, kind, digest)"""


def held_key(kind: int, digest: Digest) -> bytes:
    """Return what stands for a chunk in `held`: a digest names a chunk of one kind only."""
    return bytes((kind,)) + digest[:HELD_PREFIX_BYTES]


class ChunkIndex:
    """The index as verbs. Writes come under the store's lock; any thread may read."""

    def __init__(self, path: Path) -> None:
        """Open or make the index."""
        self._path = path
        self._database = open_database(path, synchronous="NORMAL", cache_kib=32_768)
        migrate(self._database, [_create, _add_bases])
        self._readers = ReaderPool(path, synchronous="NORMAL", cache_kib=4096)

    def locations(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        """Return where each of the digests that are stored stands."""
        found: dict[Digest, Location] = {}
        for part in _parts(digests):
            marks = ",".join("?" * len(part))
            rows = self._readers.query(
                f"SELECT digest, pack, offset, stored_bytes, size, base FROM chunk WHERE digest IN ({marks})", part
            )
            found.update((Digest(row[0]), Location(*row[1:])) for row in rows)
        return found

    def delta_bytes(self, bases: Iterable[Digest]) -> dict[Digest, int]:
        """Return how many bytes the deltas on each of the bases take; a base without any is left out."""
        found: dict[Digest, int] = {}
        for part in _parts(bases):
            marks = ",".join("?" * len(part))
            rows = self._readers.query(f"SELECT base, sum(stored_bytes) FROM chunk WHERE base IN ({marks}) GROUP BY base", part)
            found.update((Digest(base), total) for base, total in rows)
        return found

    def held(self, domain: bytes, kind: int, digests: Iterable[Digest]) -> set[Digest]:
        """Return those of the digests that the domain holds as chunks of this kind."""
        found: set[Digest] = set()
        for part in _parts(digests):
            marks = ",".join("?" * len(part))
            prefixes = [held_key(kind, digest) for digest in part]
            rows = self._readers.query(f"SELECT prefix FROM held WHERE domain=? AND prefix IN ({marks})", (domain, *prefixes))
            known = {row[0] for row in rows}
            found.update(digest for digest in part if held_key(kind, digest) in known)
        return found

    def add(self, entries: list[TrailerEntry], held: Iterable[Held], indexed: dict[int, int], healed: set[Digest]) -> None:
        """Insert chunks, who holds what, and how far each pack is indexed.

        The first row of a digest wins, but for those in `healed`, whose record turned out to be damaged.
        """
        with transaction(self._database.conn):
            self._database.conn.executemany("DELETE FROM chunk WHERE digest=?", [(digest,) for digest in healed])
            self._add("INSERT OR IGNORE INTO chunk VALUES (?,?,?,?,?,?)", entries, held, indexed)

    def add_found(self, entries: list[TrailerEntry], held: Iterable[Held], indexed: dict[int, int]) -> None:
        """Insert what was found in packs, in their order. Whole records come before deltas, later before earlier: they healed."""
        with transaction(self._database.conn):
            self._add(
                "INSERT INTO chunk VALUES (?,?,?,?,?,?) ON CONFLICT (digest) DO UPDATE SET pack=excluded.pack,"
                " offset=excluded.offset, stored_bytes=excluded.stored_bytes, size=excluded.size, base=excluded.base"
                " WHERE excluded.base IS NULL OR chunk.base IS NOT NULL",
                entries, held, indexed,
            )  # fmt: skip

    def _add(self, insert: str, entries: list[TrailerEntry], held: Iterable[Held], indexed: dict[int, int]) -> None:
        connection = self._database.conn
        connection.executemany(insert, [(e.digest, *_columns(e.location)) for e in entries])
        connection.executemany(
            "INSERT OR IGNORE INTO held VALUES (?,?)", [(domain, held_key(kind, digest)) for domain, kind, digest in held]
        )
        connection.executemany(
            "INSERT INTO pack VALUES (?,?) ON CONFLICT (number) DO UPDATE SET"
            " indexed_bytes=max(indexed_bytes, excluded.indexed_bytes)",
            list(indexed.items()),
        )

    def indexed_bytes(self) -> dict[int, int]:
        """Return how far each pack is indexed."""
        return dict(self._database.conn.execute("SELECT number, indexed_bytes FROM pack"))

    def counts(self) -> tuple[int, int]:
        """Return (chunks, packs)."""
        ((chunks, packs),) = self._readers.query("SELECT (SELECT count(*) FROM chunk), (SELECT count(*) FROM pack)")
        return chunks, packs

    def truncate_log(self) -> None:
        """Write the WAL back and cut it."""
        truncate_log(self._database.conn, self._path)

    def close(self) -> None:
        """Close all connections."""
        self._database.conn.close()
        self._readers.close()


def _columns(location: Location) -> tuple[int, int, int, int, Digest | None]:
    return location.pack, location.offset, location.stored_bytes, location.size, location.base


def _parts(digests: Iterable[Digest]) -> Iterator[list[Digest]]:
    every = list(digests)
    for start in range(0, len(every), _ROWS_A_QUESTION):
        yield every[start : start + _ROWS_A_QUESTION]
