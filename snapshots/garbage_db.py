"""Condemning, removing and moving chunks: collect's part of the index. Writes come under the store's lock.

Each write names its run; one that is not the newest changes nothing (`RunFenced`). Lists are read in pages by key, so that no
reader stays open beside the ingest.
"""

from collections.abc import Iterator
from typing import Any

from core.database import transaction
from core.digest import Digest
from core.errors import TryLater
from snapshots.index_db import ChunkIndex, ChunkLookup, held_key, marks
from snapshots.pack_format import Location, TrailerEntry
from snapshots.usage_db import count_usage
from staging.chunk_format import ChunkKind

_PAGE = 5000


class RunFenced(TryLater):
    """A later run of collect has begun: this one may change nothing any more."""


Moved = tuple[Digest, Location, Location]
"""(digest, from, to)"""


def begin_run(index: ChunkIndex, now_ns: int) -> int:
    """Note that a run begins and return its number; runs before it are fenced.

    Times ahead of now were written under a wrong clock: they count as now, else margins would last for years.
    """
    with transaction(index.connection):
        index.connection.execute("UPDATE condemned SET since_ns=? WHERE since_ns > ?", (now_ns, now_ns))
        index.connection.execute("UPDATE pack SET appended_ns=? WHERE appended_ns > ?", (now_ns, now_ns))
        index.connection.execute("INSERT INTO run (began_ns) VALUES (?)", (now_ns,))
        (number,) = index.connection.execute("SELECT max(number) FROM run").fetchone()
    return int(number)


def end_run(index: ChunkIndex, run: int, now_ns: int, report: str) -> None:
    """Note how a run ended."""
    with transaction(index.connection):
        _check(index, run)
        index.connection.execute("UPDATE run SET ended_ns=?, report=? WHERE number=?", (now_ns, report, run))


def count_condemned(index: ChunkLookup) -> int:
    """Return how many chunks are condemned."""
    return int(index.query("SELECT count(*) FROM condemned")[0][0])


def total_removed_bytes(index: ChunkLookup) -> int:
    """Return the bytes that all runs that came to their end removed."""
    return int(index.query("SELECT coalesce(sum(json_extract(report, '$.removed_bytes')), 0) FROM run")[0][0])


def condemn(index: ChunkIndex, run: int, digests: list[Digest], now_ns: int) -> int:
    """Condemn those of the digests that are stored and are not yet; return how many."""
    with transaction(index.connection):
        _check(index, run)
        return int(
            index.connection.execute(
                f"INSERT OR IGNORE INTO condemned SELECT digest, ?, ? FROM chunk WHERE digest IN ({marks(digests)})",
                (run, now_ns, *digests),
            ).rowcount
        )


def resurrect(index: ChunkIndex, run: int, digests: list[Digest]) -> int:
    """Withdraw condemnations, also those of the digests' bases; return how many."""
    with transaction(index.connection):
        _check(index, run)
        return int(
            index.connection.execute(
                f"DELETE FROM condemned WHERE digest IN ({marks(digests)}) OR digest IN"
                f" (SELECT base FROM chunk WHERE digest IN ({marks(digests)}) AND base IS NOT NULL)",
                (*digests, *digests),
            ).rowcount
        )


def remove(index: ChunkIndex, run: int, before_ns: int, digests: list[Digest]) -> list[tuple[Digest, Location]]:
    """Remove those of the digests that an earlier run condemned before an instant; return them with their places.

    A chunk on which a delta still stands stays. Who holds what is cleaned by `forget_held`.
    """
    with transaction(index.connection):
        _check(index, run)
        rows = index.connection.execute(
            f"SELECT digest, pack, offset, stored_bytes, size, base FROM chunk WHERE digest IN ({marks(digests)})"
            " AND EXISTS (SELECT 1 FROM condemned k WHERE k.digest=chunk.digest AND k.run < ? AND k.since_ns <= ?)"
            " AND NOT EXISTS (SELECT 1 FROM chunk d WHERE d.base=chunk.digest)",
            (*digests, run, before_ns),
        ).fetchall()
        for table in ("chunk", "condemned", "damaged"):
            index.connection.executemany(f"DELETE FROM {table} WHERE digest=?", [(row[0],) for row in rows])
    return [(Digest(row[0]), Location(*row[1:])) for row in rows]


def forget_held(index: ChunkIndex, run: int, domain: bytes, digests: list[Digest]) -> None:
    """Remove what a domain holds of chunks that are not stored any more; one that came back meanwhile stays held."""
    with transaction(index.connection):
        _check(index, run)
        for digest in digests:
            if index.connection.execute("SELECT 1 FROM chunk WHERE digest=?", (digest,)).fetchone() is None:
                index.connection.executemany(
                    "DELETE FROM held WHERE domain=? AND prefix=?", [(domain, held_key(kind, digest)) for kind in ChunkKind]
                )


def domains(index: ChunkLookup) -> list[bytes]:
    """Return all dedup domains that hold anything, by skipping from one to the next."""
    found: list[bytes] = []
    while True:
        ((following,),) = index.query("SELECT min(domain) FROM held WHERE domain > ?", (found[-1] if found else b"",))
        if following is None:
            return found
        found.append(following)


def move(
    index: ChunkIndex, run: int, moved: list[Moved], placed: list[TrailerEntry], indexed: dict[int, int], now_ns: int
) -> int:
    """Let chunks stand elsewhere from now on; those that do not stand where they did stay. Return how many moved."""
    with transaction(index.connection):
        _check(index, run)
        count = index.connection.executemany(
            "UPDATE chunk SET pack=?, offset=? WHERE digest=? AND pack=? AND offset=?",
            [(to.pack, to.offset, digest, before.pack, before.offset) for digest, before, to in moved],
        ).rowcount
        index.extend_packs(indexed, now_ns)
        count_usage(index.connection, placed)
    return int(count)


def forget_pack(index: ChunkIndex, run: int, number: int) -> None:
    """Remove the row of a pack that no chunk stands in."""
    with transaction(index.connection):
        _check(index, run)
        index.connection.execute("DELETE FROM pack WHERE number=?", (number,))


def old_packs(index: ChunkLookup, before_ns: int) -> set[int]:
    """Return the packs to which nothing was appended since an instant."""
    return {row[0] for row in index.query("SELECT number FROM pack WHERE appended_ns <= ?", (before_ns,))}


def deltas(index: ChunkLookup) -> Iterator[list[tuple[Digest, Digest, int]]]:
    """Yield (base, digest, pack) of all deltas."""
    last: tuple[Any, ...] = (b"", b"")
    while True:
        rows = index.query(
            "SELECT base, digest, pack FROM chunk WHERE base IS NOT NULL AND (base, digest) > (?, ?)"
            f" ORDER BY base, digest LIMIT {_PAGE}",
            last,
        )
        yield [(Digest(base), Digest(digest), pack) for base, digest, pack in rows]
        if len(rows) < _PAGE:
            return
        last = rows[-1][:2]


def chunks(index: ChunkLookup) -> Iterator[list[tuple[Digest, int, int, bool, bool]]]:
    """Yield (digest, pack, stored bytes, is a delta, is condemned) of all chunks, in the order of their digests."""
    after = b""
    while True:
        rows = index.query(
            "SELECT digest, pack, stored_bytes, base IS NOT NULL,"
            " EXISTS (SELECT 1 FROM condemned k WHERE k.digest=chunk.digest)"
            f" FROM chunk WHERE digest > ? ORDER BY digest LIMIT {_PAGE}",
            (after,),
        )
        yield [(Digest(row[0]), row[1], row[2], bool(row[3]), bool(row[4])) for row in rows]
        if len(rows) < _PAGE:
            return
        after = rows[-1][0]


def _check(index: ChunkIndex, run: int) -> None:
    (newest,) = index.connection.execute("SELECT max(number) FROM run").fetchone()
    if newest != run:
        raise RunFenced(f"collect {run} is over: run {newest} has begun", remedy="let the newer run go on")


BATCH = 64  # digests a write: 3 milliseconds; 250 took 12 and now and then 70
