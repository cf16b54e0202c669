"""Scrub: every pack is read through within a promised period, in slices, under a budget of bytes a second.

Of each pack the head, each record's checksum, the bytes of each chunk that the index keeps there, trailer and footer are
compared. What is wrong is noted in the index, durably: `missing` asks for it from then on, and a put heals it. What can be
read again (a pack was put back) is withdrawn. A pack that was read is not read again before five sixths of the period have
passed, so that slices come round in time; damage in one pack keeps nothing else from being read.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from core.digest import Digest
from core.errors import Damaged
from core.framing import Record
from snapshots import damage_db
from snapshots import pack_format as fmt
from snapshots.chunk_reader import ChunkLost
from snapshots.chunk_store import ChunkStore
from snapshots.index_db import ROWS_A_QUESTION
from snapshots.pack_format import TrailerEntry
from snapshots.pack_reader import entry_of
from staging.chunk_format import ChunkKind

DAY_NS = 86_400 * 1_000_000_000
PERIOD_NS = 30 * DAY_NS
BYTES_A_SECOND = 50_000_000
_EARLY = 5 / 6  # of the period: the rest is for days on which no slice ran
_PACED_BYTES = 8 * 1024 * 1024

Stopping = Callable[[], bool]
Report = Callable[[int, int], None]
"""(bytes read, bytes to read)"""


class ScrubReport(msgspec.Struct):
    """What a run read and found. `damaged_chunks`: all that stand noted, found now or before."""

    packs: int = 0
    read_bytes: int = 0
    chunks: int = 0
    findings: list[str] = msgspec.field(default_factory=list)
    healed: int = 0
    damaged_chunks: int = 0
    oldest_verified_ns: int = 0
    finished: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """The I/O budget, and how a thread waits."""

    bytes_a_second: int = BYTES_A_SECOND
    wait: Callable[[float], object] = threading.Event().wait


class Scrubber:
    """Scrubs one store. One run at a time; ingest, collect and reading go on meanwhile."""

    def __init__(self, store: ChunkStore, period_ns: int = PERIOD_NS, pace: Pace | None = None) -> None:
        """Bind the store; nothing is read yet."""
        self._parts, self._period_ns, self._pace = store.parts, period_ns, pace or Pace()
        self._unpaced = 0

    def oldest_verified_ns(self) -> int:
        """Return since when every byte was read or written at least once; now when there is nothing."""
        now = self._parts.clock.now_ns()
        ages = damage_db.ages(self._parts.index, now)
        return min((verified or appended for _, verified, appended in ages), default=now)

    def due(self, everything: bool = False) -> list[int]:
        """Return the packs of the next slice, those first that were not read for longest.

        A slice is what is overdue, and otherwise as much as lets slices of one a day come round early. `everything`: all.
        """
        now, packs = self._parts.clock.now_ns(), self._parts.packs
        rows = [
            (verified or (0 if number == packs.number else appended), number)  # the newest may grow for years
            for number, verified, appended in damage_db.ages(self._parts.index, now)
        ]
        rows.sort()
        if everything:
            return [number for _, number in rows]
        early = int(self._period_ns * _EARLY)
        left = -(-len(rows) * DAY_NS // early)
        found: list[int] = []
        for since, number in rows:
            if since <= now - self._period_ns or (since <= now - early and len(found) < left):
                found.append(number)
        return found

    def run(self, stopping: Stopping, report: Report, everything: bool = False) -> ScrubReport:
        """Read a slice (or everything); what was read before `stopping` said so stays read."""
        result = ScrubReport()
        numbers = self.due(everything)
        counts = damage_db.chunks_in_packs(self._parts.index) if numbers else {}
        numbers += sorted(counts.keys() - self._parts.index.indexed_bytes().keys())  # rows that name a pack that is not there
        total = sum(self._size(number) for number in numbers)
        for number in numbers:
            if stopping():
                break
            report(result.read_bytes, total)
            self._pack(number, counts.get(number, 0), result)
        else:
            result.finished = True
        result.damaged_chunks = len(damage_db.damaged(self._parts.index))
        result.oldest_verified_ns = self.oldest_verified_ns()
        return result

    def _pack(self, number: int, expected: int, result: ScrubReport) -> None:
        """Read one pack through and note what was found."""
        size = self._size(number)
        bad: set[Digest] = set()
        good: set[Digest] = set()
        findings = _Findings(number)
        try:
            if size == 0:
                raise fmt.PackDamaged("the file is missing")
            entries, ending = self._records(number, size, findings, good, bad)
            if not self._parts.packs.is_growing(number):
                self._check_trailer(number, entries, ending, findings)
        except (Damaged, OSError) as error:
            findings.add(str(error))
        if len(good) + len(bad) < expected:  # something that should stand here was not found: look for each
            self._each_row(number, good, bad, findings)
        self._note(number, size, good, bad, result)
        if size or expected:
            result.findings += findings.told
        result.packs += 1
        result.read_bytes += size
        result.chunks += len(good)

    def _records(
        self, number: int, size: int, findings: "_Findings", good: set[Digest], bad: set[Digest]
    ) -> tuple[dict[int, TrailerEntry], list[Record]]:
        """Check head, records and the chunks that stand in them; return the chunks by place, and trailer and footer."""
        packs = self._parts.packs
        packs.version(number)
        limit = packs.written_bytes(number)
        entries: dict[int, TrailerEntry] = {}
        ending: list[Record] = []
        batch: list[TrailerEntry] = []
        end = 0
        for record in packs.records(number, 0, limit):
            if record.offset != end:
                findings.add(f"the bytes {end} to {record.offset} do not check")
            self._breathe(record.end - end)
            end = record.end
            if record.type == fmt.CHUNK:
                entries[record.offset] = entry_of(number, record)
                batch.append(entries[record.offset])
                if len(batch) >= ROWS_A_QUESTION:
                    self._check_chunks(batch, good, bad, findings)
                    batch = []
            elif record.type in (fmt.TRAILER, fmt.FOOTER):
                ending.append(record)
        self._check_chunks(batch, good, bad, findings)
        if end != (limit or size):
            findings.add(f"the bytes from {end} on do not check")
        return entries, ending

    def _check_chunks(self, batch: list[TrailerEntry], good: set[Digest], bad: set[Digest], findings: "_Findings") -> None:
        located = self._parts.index.locations({entry.digest for entry in batch})
        bases = self._parts.index.locations({entry.location.base for entry in batch if entry.location.base is not None})
        for base in bases.values():
            self._breathe(base.record_bytes)  # is read for each of its deltas, from the disk once
        for entry in batch:
            there = located.get(entry.digest)
            if there != entry.location:  # garbage, or kept elsewhere
                if there is not None and (there.pack, there.offset) == (entry.location.pack, entry.location.offset):
                    findings.add(f"the index tells other lengths of chunk {entry.digest.hex()} than its record")
                    bad.add(entry.digest)
                continue
            self._check_chunk(entry, good, bad, findings)

    def _check_chunk(self, entry: TrailerEntry, good: set[Digest], bad: set[Digest], findings: "_Findings") -> None:
        try:
            self._parts.reader.checked_record(entry.location, ChunkKind(entry.kind), entry.digest)
            good.add(entry.digest)
        except ChunkLost as error:
            findings.add(error.message)
            bad.add(error.digest)
            if error.digest != entry.digest:
                good.add(entry.digest)  # its own record is not to blame: `missing` asks for it as long as its base is

    def _check_trailer(self, number: int, entries: dict[int, TrailerEntry], ending: list[Record], findings: "_Findings") -> None:
        packs = self._parts.packs
        last = ending[-2:]
        if not packs.is_sealed(number) or [record.type for record in last] != [fmt.TRAILER, fmt.FOOTER]:
            if number < packs.number:
                findings.add("it has no trailer")
            return
        told = fmt.decode_trailer(last[-2].payload, number, packs.version(number))
        if fmt.decode_footer(last[-1].payload) != (last[-2].offset, len(told)):
            findings.add("its footer does not tell where the trailer stands")
        if {entry.location.offset: entry for entry in told} != entries:
            findings.add("its trailer does not tell what stands in it")

    def _each_row(self, number: int, good: set[Digest], bad: set[Digest], findings: "_Findings") -> None:
        """Check every chunk that the index says stands in a pack, and was not met in it."""
        for page in damage_db.chunks_of_pack(self._parts.index, number):
            for digest, location in page:
                if digest in good or digest in bad:
                    continue
                self._breathe(location.record_bytes)
                for kind in ChunkKind:  # the record that could tell the kind is not there
                    try:
                        self._parts.reader.checked_record(location, kind, digest)
                        good.add(digest)
                        break
                    except ChunkLost as error:
                        lost = error
                else:
                    bad.add(digest)
                    findings.add(lost.message)

    def _note(self, number: int, size: int, good: set[Digest], bad: set[Digest], result: ScrubReport) -> None:
        parts = self._parts
        now = parts.clock.now_ns()
        with parts.lock:
            here = {digest for digest in bad if digest in parts.index.locations([digest])}
            back = good & parts.lost
            if here:
                damage_db.add_damaged(parts.index, here, now)
            if back:
                damage_db.withdraw_damaged(parts.index, back)
            damage_db.set_verified(parts.index, number, size, now)
            parts.lost.update(here)
            parts.lost.difference_update(back)
        result.healed += len(back)

    def _breathe(self, read_bytes: int) -> None:
        """Keep to the budget: wait as long as what was read, or is about to be, may take."""
        self._unpaced += read_bytes
        if self._unpaced >= _PACED_BYTES:
            self._pace.wait(self._unpaced / self._pace.bytes_a_second)
            self._unpaced = 0

    def _size(self, number: int) -> int:
        try:
            return self._parts.packs.path(number).stat().st_size
        except FileNotFoundError:
            return 0


class _Findings:
    """What is wrong with one pack, in words; not more than can be read."""

    def __init__(self, number: int) -> None:
        self._number = number
        self.told: list[str] = []

    def add(self, what: str) -> None:
        if len(self.told) < 100:
            self.told.append(what if f"pack {self._number}" in what else f"pack {self._number}: {what}")
