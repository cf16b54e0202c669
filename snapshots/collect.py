"""Collect: chunks that nothing names are condemned, and removed when a later run finds that still nothing names them.

A round is one run: mark (in a process of its own) → resurrect what is named again → condemn what is not named → remove what an
earlier run condemned, at least a margin ago, and this mark did not find either → clear packs. The mark begins only when
everybody who was checking references when the round began has left the gate, so two rounds lie between a chunk that was named
by nothing and its removal, and whatever was named in between is found by the second. Everything else only makes garbage stay:
chunks that were touched of late or put of late are not condemned, and what is condemned counts as missing but can be read.

Writes are batches of some milliseconds under the store's lock: ingest goes on. A round may be cut off anywhere. One at a
time; a round whose number is not the newest any more changes nothing.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from core.digest import Digest
from core.errors import TryLater
from snapshots import garbage_db
from snapshots.chunk_store import ChunkStore, StoreParts
from snapshots.mark import Roots
from snapshots.mark_child import BACK, DELTAS, FRESH, WHOLES, Marked, MarkPlan, MarkStopped, RunMark, read_list, run_mark
from snapshots.repack import PackClearing
from snapshots.touched import PIN_SECONDS

_HOUR_NS = 3600 * 1_000_000_000
_BREATH_SECONDS = 0.002  # between two batches, so that whoever waits for the lock gets it

Stopping = Callable[[], bool]
Report = Callable[[str, int], None]
"""Hears (what is being done, chunks so far)."""


class CollectBusy(TryLater):
    """Another collect is running."""


@dataclass(frozen=True, slots=True)
class Margins:
    """All times that stand between naming nothing and being gone."""

    pin_ns: int = PIN_SECONDS * 1_000_000_000  # after its pack was last appended to a chunk is not condemned
    condemned_ns: int = 48 * _HOUR_NS  # from being condemned to being removed
    trash_ns: int = 24 * _HOUR_NS  # from leaving the packs to being unlinked


class CollectReport(msgspec.Struct):
    """What one run did. Bytes are those of records in packs."""

    run: int
    chunks: int = 0
    named: int = 0
    condemned: int = 0
    resurrected: int = 0  # found named although condemned: by chance of the filter, or by an agent that was told so long ago
    removed_chunks: int = 0
    removed_bytes: int = 0
    moved_chunks: int = 0
    moved_bytes: int = 0
    cleared_packs: int = 0
    freed_bytes: int = 0
    damaged: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CollectPlace:
    """Where lists are kept between mark and removal, where salts come from, and how a mark is run."""

    folder: Path
    salt: Callable[[], bytes]
    mark: RunMark = run_mark


class Collector:
    """Collects one store, one run at a time."""

    def __init__(self, store: ChunkStore, place: CollectPlace, margins: Margins | None = None) -> None:
        """Bind the store; nothing happens yet."""
        self._parts, self._place, self._margins = store.parts, place, margins or Margins()
        self._running = threading.Lock()

    def run(self, roots: Callable[[], Roots], stopping: Stopping, report: Report) -> CollectReport:
        """Collect once. `roots` is asked for when everybody who was inside the gate has left it.

        Raises `CollectBusy`, `MarkAborted` when anything named cannot be found (then nothing was removed), `MarkStopped`.
        """
        if not self._running.acquire(blocking=False):
            raise CollectBusy("a collect is running", remedy="wait for it to end")
        try:
            round_ = Round(self._parts, self._place, self._margins)
            try:
                round_.begin(stopping)
                round_.mark(roots(), stopping, lambda seen: report("mark", seen))
                for what, done in round_.steps():
                    if stopping():
                        raise MarkStopped("collect was stopped; what it did holds", remedy="run collect again")
                    report(what, done)
                    threading.Event().wait(_BREATH_SECONDS)
                return round_.end()
            finally:
                self._parts.touched.hold(False)
        finally:
            self._running.release()


class Round:
    """One run, step by step."""

    def __init__(self, parts: StoreParts, place: CollectPlace, margins: Margins) -> None:
        """Take a run number: rounds before this one are fenced."""
        self._parts, self._place, self._margins = parts, place, margins
        self._began_ns = parts.clock.now_ns()
        with parts.lock:
            freed = parts.packs.empty_trash(self._began_ns - margins.trash_ns)  # first: on a full disk nothing else would do
            self._run = garbage_db.begin_run(parts.index, self._began_ns)
        self._removed: Counter[int] = Counter()
        self._removed_bytes: Counter[int] = Counter()
        self.report = CollectReport(self._run, freed_bytes=freed)
        self._plan: MarkPlan
        self._marked: Marked

    def begin(self, stopping: Stopping) -> None:
        """Return when everybody who was checking references has left; from now on everything that is told is touched."""
        parts = self._parts
        parts.touched.hold(True)
        with parts.lock:
            self._seal_quiet_pack()
            self._newest_pack = parts.packs.number
        parts.presence.forget()
        if not parts.gate.drain(stopping):
            raise MarkStopped("collect was stopped while it waited for requests to end", remedy="run collect again")

    def mark(self, roots: Roots, stopping: Stopping, report: Callable[[int], None]) -> None:
        """Find what is named; raise `MarkAborted`."""
        parts, place = self._parts, self._place
        self._plan = MarkPlan(
            str(parts.index.path), str(parts.packs.directory), parts.packs.store_id, roots, place.salt(),
            self._began_ns - self._margins.pin_ns, str(place.folder),
        )  # fmt: skip
        self._marked = place.mark(self._plan, stopping, report)
        self.report.chunks, self.report.named = self._marked.chunks, self._marked.named

    def steps(self) -> Iterator[tuple[str, int]]:
        """Do everything behind the mark, and yield (what, chunks so far) between two batches."""
        for batch in read_list(self._plan, BACK, garbage_db.BATCH):
            self._resurrect(batch)
            yield "resurrect", self.report.resurrected
        for batch in read_list(self._plan, FRESH, garbage_db.BATCH):
            self._condemn(batch)
            yield "condemn", self.report.condemned
        domains = garbage_db.domains(self._parts.index)
        for name in (DELTAS, WHOLES):  # deltas first: a base goes only when nothing stands on it
            for batch in read_list(self._plan, name, garbage_db.BATCH):
                gone = self._remove(batch)
                yield "remove", self.report.removed_chunks
                for domain in domains if gone else ():
                    with self._parts.lock:
                        garbage_db.forget_held(self._parts.index, self._run, domain, gone)
                    yield "remove", self.report.removed_chunks
        clearing = PackClearing(self._parts, self._run, self._began_ns, self.report)
        for _ in clearing.steps(self._what_stands()):
            yield "repack", self.report.moved_chunks

    def end(self) -> CollectReport:
        """Note that the run came to its end."""
        with self._parts.lock:
            text = msgspec.json.encode(self.report).decode()
            garbage_db.end_run(self._parts.index, self._run, self._parts.clock.now_ns(), text)
        return self.report

    def _seal_quiet_pack(self) -> None:
        """Seal the open pack when nothing was put for long: what is garbage in it can go then."""
        old = garbage_db.old_packs(self._parts.index, self._began_ns - self._margins.pin_ns)
        if self._parts.packs.number in old:
            with suppress(TryLater):  # the disk is full: it goes on growing
                self._parts.packs.seal()

    def _resurrect(self, digests: list[Digest]) -> None:
        with self._parts.lock:
            self.report.resurrected += garbage_db.resurrect(self._parts.index, self._run, digests)

    def _condemn(self, digests: list[Digest]) -> None:
        """Condemn what was not touched. Who touches meanwhile does so before looking, so looking again here sees them."""
        parts = self._parts
        with parts.lock:
            touched = parts.touched.among(digests)
            untouched = [digest for digest in digests if digest not in touched]
            if not untouched:
                return
            self.report.condemned += garbage_db.condemn(parts.index, self._run, untouched, self._began_ns)
            meanwhile = parts.touched.among(untouched)
            if meanwhile:
                self.report.condemned -= garbage_db.resurrect(parts.index, self._run, list(meanwhile))

    def _remove(self, digests: list[Digest]) -> list[Digest]:
        parts = self._parts
        with parts.lock:
            touched = parts.touched.among(digests)
            untouched = [digest for digest in digests if digest not in touched]
            before_ns = self._began_ns - self._margins.condemned_ns
            removed = garbage_db.remove(parts.index, self._run, before_ns, untouched) if untouched else []
            gone = [digest for digest, _ in removed]
            parts.lost.difference_update(gone)
        for _, location in removed:
            self._removed[location.pack] += 1
            self._removed_bytes[location.pack] += location.stored_bytes
            self.report.removed_bytes += location.record_bytes
        self.report.removed_chunks += len(removed)
        return gone

    def _what_stands(self) -> dict[int, tuple[int, int]]:
        """Return (chunks, stored bytes) of each pack that existed when the round began, after removal."""
        found = {number: (0, 0) for number in self._parts.packs.numbers() if number <= self._newest_pack}
        for number, count, stored_bytes in self._marked.packs:
            if number in found:
                found[number] = (count - self._removed[number], stored_bytes - self._removed_bytes[number])
        return found
