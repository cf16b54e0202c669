"""Clearing packs: one in which nothing stands goes away, one that is less than half full is copied into the open pack first.

Order: records copied, byte for byte, each checked against its address → open pack synced → index rows moved → index durable →
pack into the trash, where it stays whole for a margin. A crash in between leaves each chunk where its row says. Who looked a
place up before and finds the pack gone looks once more.

That nothing stands in a pack is what the index says, and one wrong bit in a row could say so. So the pack itself is asked before
it goes: whatever it holds must be garbage, or be readable where its row says.
"""

from collections.abc import Iterator
from typing import Protocol

from core.digest import Digest
from core.errors import Damaged
from core.framing import HEADER_BYTES
from snapshots import damage_db, garbage_db
from snapshots.chunk_reader import ChunkLost
from snapshots.chunk_store import StoreParts
from snapshots.garbage_db import Moved
from snapshots.pack_format import CHUNK_HEADER_BYTES, Location, PackedRecord, TrailerEntry
from staging.chunk_format import ChunkKind

_BATCH_BYTES = 512 * 1024  # copied and synced under the lock at once
_BATCH_CHUNKS = 64
_WORTH = 2  # a pack is copied when what stands in it, times this, is less than the pack


class ClearingReport(Protocol):
    """What is counted."""

    moved_chunks: int
    moved_bytes: int
    cleared_packs: int
    damaged: list[str]


class PackClearing:
    """Clears packs within one run of collect."""

    def __init__(self, parts: StoreParts, run: int, now_ns: int, report: ClearingReport) -> None:
        """Bind the store and the run."""
        self._parts, self._run, self._now_ns, self._report = parts, run, now_ns, report

    def steps(self, standing: dict[int, tuple[int, int]]) -> Iterator[None]:
        """Clear packs, of which (chunks, stored bytes) stand, and yield between two writes.

        Empty ones come first: they need no space.
        """
        growing = self._parts.packs.is_growing
        for number, (chunks, _) in standing.items():
            if not chunks and not growing(number):
                self._discard(number, set())
                yield
        for number, (chunks, stored_bytes) in standing.items():
            if chunks and not growing(number) and self._is_worth_it(number, chunks, stored_bytes):
                yield from self._repack(number, chunks)

    def _is_worth_it(self, number: int, chunks: int, stored_bytes: int) -> bool:
        try:
            size = self._parts.packs.path(number).stat().st_size
        except FileNotFoundError:
            return False  # scrub reports it
        return (stored_bytes + chunks * (HEADER_BYTES + CHUNK_HEADER_BYTES)) * _WORTH < size

    def _repack(self, number: int, chunks: int) -> Iterator[None]:
        """Move every chunk of a pack; the pack goes when all that were counted have moved."""
        moved = 0
        copied: set[Digest] = set()
        try:
            entries = self._parts.packs.entries_from(number, 0)
        except Damaged as error:
            self._report.damaged.append(error.message)
            return
        for batch in self._batches(entries):
            moved += self._move(batch)
            copied.update(Digest(entry.digest) for entry, _ in batch)
            yield
        if moved == chunks:  # else something is damaged, or was healed meanwhile: the next run counts again
            self._discard(number, copied)
            yield

    def _batches(self, entries: list[TrailerEntry]) -> Iterator[list[tuple[TrailerEntry, PackedRecord]]]:
        """Yield those entries that the index knows at their places, with their checked records."""
        batch: list[tuple[TrailerEntry, PackedRecord]] = []
        taken = 0
        for start in range(0, len(entries), garbage_db.BATCH):
            part = entries[start : start + garbage_db.BATCH]
            located = self._parts.index.locations({entry.digest for entry in part})
            for entry in part:
                record = self._checked(entry) if located.get(entry.digest) == entry.location else None
                if record is None:
                    continue
                batch.append((entry, record))
                taken += entry.location.record_bytes
                if taken >= _BATCH_BYTES or len(batch) >= _BATCH_CHUNKS:
                    yield batch
                    batch, taken = [], 0
        if batch:
            yield batch

    def _checked(self, entry: TrailerEntry) -> PackedRecord | None:
        """Return a record whose bytes have their address; damage is noted, and stays where it is."""
        try:
            return self._parts.reader.checked_record(entry.location, ChunkKind(entry.kind), entry.digest)
        except ChunkLost as error:
            self._report.damaged.append(error.message)
            with self._parts.lock:
                damage_db.add_damaged(self._parts.index, [error.digest], self._now_ns)
                self._parts.lost.add(error.digest)
            return None

    def _move(self, batch: list[tuple[TrailerEntry, PackedRecord]]) -> int:
        parts = self._parts
        by_domain: dict[bytes, list[tuple[TrailerEntry, PackedRecord]]] = {}
        for entry, record in batch:
            by_domain.setdefault(record.domain, []).append((entry, record))
        moved: list[Moved] = []
        every: list[TrailerEntry] = []
        ends: dict[int, int] = {}
        with parts.lock:
            for domain, members in by_domain.items():
                placed = parts.packs.append([record.chunk for _, record in members], domain)
                every += placed
                for (entry, _), to in zip(members, placed, strict=True):
                    moved.append((Digest(entry.digest), entry.location, to.location))
                    ends[to.location.pack] = max(ends.get(to.location.pack, 0), to.location.end)
            parts.packs.sync()
            count = garbage_db.move(parts.index, self._run, moved, every, ends, parts.clock.now_ns())
        self._report.moved_chunks += count
        self._report.moved_bytes += sum(entry.location.record_bytes for entry, _ in batch)
        return count

    def _holds_what_is_needed(self, number: int, copied: set[Digest]) -> bool:
        """Tell whether a pack holds a chunk that the index knows and that can be read nowhere else; `copied` was just checked."""
        try:
            entries = [entry for entry in self._parts.packs.entries_from(number, 0) if entry.digest not in copied]
        except Damaged as error:
            self._report.damaged.append(error.message)
            return True
        for start in range(0, len(entries), garbage_db.BATCH):
            part = entries[start : start + garbage_db.BATCH]
            located = self._parts.index.locations({entry.digest for entry in part})
            for entry in part:
                there = located.get(entry.digest)
                if there is not None and not self._can_be_read(entry, there):
                    self._report.damaged.append(
                        f"pack {number} holds chunk {entry.digest.hex()}, which the index looks for elsewhere and in vain"
                    )
                    return True
        return False

    def _can_be_read(self, entry: TrailerEntry, there: Location) -> bool:
        try:
            self._parts.reader.checked_record(there, ChunkKind(entry.kind), entry.digest)
            return there.pack != entry.location.pack
        except ChunkLost as error:
            return error.digest != entry.digest  # its base is lost: that is no reason to keep this pack

    def _discard(self, number: int, copied: set[Digest]) -> None:
        if self._holds_what_is_needed(number, copied):
            return
        parts = self._parts
        with parts.lock:
            if number >= parts.packs.number:
                return
            garbage_db.forget_pack(parts.index, self._run, number)
            parts.index.make_durable()  # else a power cut could bring rows back that name the pack
            parts.packs.discard(number, self._now_ns)
        self._report.cleared_packs += 1
