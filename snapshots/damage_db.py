"""What is known to be damaged, and when each pack was last read through: the scrub's part of the index.

Writes come under the store's lock.
"""

from collections.abc import Iterable, Iterator, Mapping

from core.database import transaction
from core.digest import Digest
from snapshots.index_db import ROWS_A_QUESTION, ChunkIndex, ChunkLookup, marks, parts
from snapshots.pack_format import Location


def damaged(index: ChunkLookup) -> set[Digest]:
    """Return the chunks whose records are known to be wrong."""
    return {Digest(row[0]) for row in index.query("SELECT digest FROM damaged")}


def add_damaged(index: ChunkIndex, digests: Iterable[Digest], now_ns: int) -> None:
    """Note chunks whose records are wrong; the time of the first finding stays."""
    with transaction(index.connection):
        index.connection.executemany("INSERT OR IGNORE INTO damaged VALUES (?,?)", [(digest, now_ns) for digest in digests])


def note_unreachable(index: ChunkIndex, sizes: Mapping[int, int], now_ns: int) -> set[Digest]:
    """Note the chunks of packs that are missing or shorter than the index knows them, and return those."""
    found: set[Digest] = set()
    for number, end in index.indexed_bytes().items():
        if sizes.get(number, 0) < end:
            for page in chunks_of_pack(index, number):
                behind = {digest for digest, location in page if location.end > sizes.get(number, 0)}
                add_damaged(index, behind, now_ns)
                found |= behind
    return found


def withdraw_damaged(index: ChunkIndex, digests: Iterable[Digest]) -> None:
    """Note that chunks can be read (again)."""
    with transaction(index.connection):
        index.connection.executemany("DELETE FROM damaged WHERE digest=?", [(digest,) for digest in digests])


def set_verified(index: ChunkIndex, number: int, size: int, now_ns: int) -> None:
    """Note that a pack was read through up to `size` bytes."""
    with transaction(index.connection):
        index.connection.execute("UPDATE pack SET verified_ns=?, verified_bytes=? WHERE number=?", (now_ns, size, number))


def checked(index: ChunkLookup, now_ns: int) -> dict[str, int]:
    """Return when each database was last checked; what was checked ahead of now, under a wrong clock, is left out."""
    return dict(index.query("SELECT name, checked_ns FROM checked WHERE checked_ns <= ?", (now_ns,)))


def set_checked(index: ChunkIndex, name: str, now_ns: int) -> None:
    """Note that a database was checked."""
    with transaction(index.connection):
        index.connection.execute("INSERT OR REPLACE INTO checked VALUES (?,?)", (name, now_ns))


def chunks_of_pack(index: ChunkLookup, number: int) -> Iterator[list[tuple[Digest, Location]]]:
    """Yield the chunks that stand in a pack. Slow, it reads the whole index: for packs that are damaged only."""
    after = b""
    while True:
        rows = index.query(
            "SELECT digest, pack, offset, stored_bytes, size, base FROM chunk WHERE digest > ? AND pack=?"
            " ORDER BY digest LIMIT ?",
            (after, number, ROWS_A_QUESTION),
        )
        yield [(Digest(row[0]), Location(*row[1:])) for row in rows]
        if len(rows) < ROWS_A_QUESTION:
            return
        after = rows[-1][0]


def ages(index: ChunkLookup, now_ns: int) -> list[tuple[int, int, int]]:
    """Return (number, when last read through or 0, when last appended to) of each pack that the index knows.

    A time ahead of now was written under a wrong clock: such a pack counts as never read, else it would not be read for years.
    """
    rows = index.query(
        "SELECT number, iif(verified_ns > ?1, 0, verified_ns), iif(appended_ns > ?1, 0, appended_ns) FROM pack ORDER BY number",
        (now_ns,),
    )
    return [(row[0], row[1], row[2]) for row in rows]


def chunks_in_packs(index: ChunkLookup) -> dict[int, int]:
    """Return how many chunks stand in each pack; rows that name none, which only damage makes, are for the check of databases."""
    rows = index.query("SELECT pack, count(*) FROM chunk WHERE typeof(pack)='integer' GROUP BY pack")
    return {row[0]: row[1] for row in rows}


def deltas_on(index: ChunkLookup, bases: Iterable[Digest]) -> set[Digest]:
    """Return the deltas that stand on any of the bases: they cannot be read without it."""
    found: set[Digest] = set()
    for part in parts(bases):
        found.update(Digest(row[0]) for row in index.query(f"SELECT digest FROM chunk WHERE base IN ({marks(part)})", part))
    return found
