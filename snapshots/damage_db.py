"""What is known to be damaged, and when each pack was last read through: the scrub's part of the index.

Writes come under the store's lock.
"""

from collections.abc import Iterable

from core.database import transaction
from core.digest import Digest
from snapshots.index_db import ROWS_A_QUESTION, ChunkIndex, ChunkLookup


def damaged(index: ChunkLookup) -> set[Digest]:
    """Return the chunks whose records are known to be wrong."""
    return {Digest(row[0]) for row in index.query("SELECT digest FROM damaged")}


def add_damaged(index: ChunkIndex, digests: Iterable[Digest], now_ns: int) -> None:
    """Note chunks whose records are wrong; the time of the first finding stays."""
    with transaction(index.connection):
        index.connection.executemany("INSERT OR IGNORE INTO damaged VALUES (?,?)", [(digest, now_ns) for digest in digests])


def withdraw_damaged(index: ChunkIndex, digests: Iterable[Digest]) -> None:
    """Note that chunks can be read (again)."""
    with transaction(index.connection):
        index.connection.executemany("DELETE FROM damaged WHERE digest=?", [(digest,) for digest in digests])


def pack_ages(index: ChunkLookup) -> dict[int, tuple[int, int]]:
    """Return when each pack that the index knows was last read through, and how many bytes it had then."""
    rows = index.query("SELECT number, verified_ns, verified_bytes FROM pack ORDER BY number")
    return {number: (verified_ns, verified_bytes) for number, verified_ns, verified_bytes in rows}


def set_verified(index: ChunkIndex, number: int, size: int, now_ns: int) -> None:
    """Note that a pack was read through up to `size` bytes."""
    with transaction(index.connection):
        index.connection.execute("UPDATE pack SET verified_ns=?, verified_bytes=? WHERE number=?", (now_ns, size, number))


def chunks_of_pack(index: ChunkLookup, number: int, after: bytes) -> list[tuple[Digest, int, int]]:
    """Return (digest, offset, stored bytes) of chunks in a pack, behind a digest. Slow: for packs that are damaged only."""
    rows = index.query(
        "SELECT digest, offset, stored_bytes FROM chunk WHERE digest > ? AND pack=? ORDER BY digest LIMIT ?",
        (after, number, ROWS_A_QUESTION),
    )
    return [(Digest(digest), offset, stored) for digest, offset, stored in rows]
