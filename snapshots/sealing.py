"""Sealing a share: putting what its catalogue holds up to a fence into the store, chained to the seal before.

Order: body and head durable in the store → control record in the journal, synced → row in the catalogue. A crash in between
leaves chunks that nothing names. What was sealed is the only reason why rows and journal below it may ever go.
"""

from collections.abc import Iterator

from core.clock import Clock
from core.digest import Digest
from core.errors import Damaged, TryLater
from snapshots.chunk_store import ChunkStore
from snapshots.control_format import Sealed
from snapshots.ledger_db import Counters
from snapshots.own_content import put_own_content
from snapshots.seal_db import sealed_rows
from snapshots.seal_format import VERSION, SealHead, decode_head, encode_head, encode_rows
from snapshots.share_fold import ShareFold
from snapshots.view_db import CatalogueReader
from staging.changes import ContentRef
from staging.chunk_format import ChunkKind, pack_chunk
from staging.chunking import BLOCK_BYTES
from staging.journal import Journal
from staging.protocol import Position


class SealOvertaken(TryLater):
    """Something was purged while it was sealed."""


SEALS_DOMAIN = ""  # no branch has this name: nobody else's dedup domain holds what only seals hold
_SEALS_A_CHAIN = 64  # a rebuild reads at most this many
_FULL_WHEN = 2  # a chain whose parts hold this many rows to each one of the tree is not worth keeping


def read_head(store: ChunkStore, digest: Digest) -> SealHead:
    """Return the head of a seal, checked against its digest; raise `ChunkLost` or `SealDamaged`."""
    return decode_head(store.read(ChunkKind.SEAL, digest))


class Sealer:
    """Seals one share. One thread at a time; the fold may go on meanwhile."""

    def __init__(self, journal: Journal, fold: ShareFold, reader: CatalogueReader, store: ChunkStore, clock: Clock) -> None:
        """Bind the share's parts."""
        self._journal, self._fold, self._reader, self._store, self._clock = journal, fold, reader, store, clock

    def seal(self, full: bool = False) -> Sealed | None:
        """Seal up to the newest fence that is folded; return None when that is sealed already, or cannot be yet."""
        ledger, purged = self._reader.ledger, self._fold.purged
        sequence = ledger.fence_before(self._fold.sequence)
        newest = ledger.newest_seal()
        if sequence == 0 or (newest is not None and newest.sequence >= sequence):
            return None
        counters = ledger.counters_at(sequence)
        if counters is None or counters.mirroring == 2:
            return None  # what a running repair has stated stands in no seal; the next fence will do
        begin_anew = full or newest is None or not self._chain_goes_on()
        since = 0 if begin_anew or newest is None else newest.sequence
        last_control = self._fold.last_control  # before the rows are read: what is ordered meanwhile may be done to them again
        body, rows = self._put_body(sequence, since)
        previous = None if newest is None else newest.digest
        head = self._head(sequence, since, previous, body, rows, counters, last_control)
        data = encode_head(head)
        chunk = pack_chunk(ChunkKind.SEAL, data)
        self._store.put_own(SEALS_DOMAIN, [chunk])
        now = self._clock.now_ns()

        def make(number: int, _: Position) -> Sealed:
            if self._fold.purged is not purged:  # what was put may hold it still: nothing names that
                raise SealOvertaken(f"{self._reader.share} was purged of something while it was sealed", remedy="seal it again")
            return Sealed(number, sequence, chunk.digest, since == 0, now)

        try:
            return self._fold.order(make)
        except SealOvertaken:
            return None

    def _chain_goes_on(self) -> bool:
        """Tell whether the next seal may build on those before: they can be read, as far as is known, and are not too many."""
        seals = self._reader.ledger.seals()
        try:
            heads = [read_head(self._store, seal.digest) for seal in seals]
        except Damaged:
            return False
        is_long = len(heads) >= _SEALS_A_CHAIN or sum(head.rows for head in heads[1:]) > _FULL_WHEN * heads[0].rows
        return not is_long and self._store.are_whole(head.body_key for head in heads if head.body_key is not None)

    def _head(
        self,
        sequence: int,
        since: int,
        previous: Digest | None,
        body: ContentRef,
        rows: int,
        counted: Counters,
        last_control: int,
    ) -> SealHead:
        position = self._journal.position_at(sequence)
        return SealHead(
            VERSION, self._journal.share_id, self._reader.share, sequence, since, previous, position.epoch, position.hash,
            body, rows, counted.next_node, counted.files, str(counted.logical_bytes), counted.mirroring, counted.mirrored,
            counted.problem, last_control, self._fold.last_snapshot, self._clock.now_ns(), counted.met_snapshot,
        )  # fmt: skip

    def _put_body(self, sequence: int, since: int) -> tuple[ContentRef, int]:
        """Store the rows as a content and return it with their count; durable on return."""
        count = 0

        def blocks() -> Iterator[bytes]:
            nonlocal count
            lines = bytearray()
            for rows in sealed_rows(self._reader.query, sequence, since):
                count += len(rows)
                lines += encode_rows(rows)
                if len(lines) >= BLOCK_BYTES:
                    yield bytes(lines)
                    lines.clear()
            yield bytes(lines)

        content = put_own_content(self._store, SEALS_DOMAIN, blocks())
        return content, count
