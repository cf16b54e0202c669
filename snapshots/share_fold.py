"""Folding one share: journal records into catalogue and store, in transactions, from where the last one ended.

Order: chunks durable in the store → one transaction of the share's file with rows, counters, snapshots and position. A crash
leaves the whole transaction undone and the journal still there. A change that does not fit is recorded and skipped; the
fold never stops for it. One thread at a time; snapshots are taken under the same lock.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar

from core.database import transaction
from core.errors import Damaged, NotFound
from core.relpath import RelPath
from snapshots.anchors import AnchorLimits, SinceAnchor
from snapshots.burst_watch import BurstWatch, NoteBurst, unnoted
from snapshots.catalogue_db import CatalogueWriter
from snapshots.change_fold import ChangeFold
from snapshots.chunk_store import ChunkStore
from snapshots.content_edit import edit_content
from snapshots.control_format import Control, ControlDamaged, PathPurged, SnapshotTaken, decode_control, encode_control
from snapshots.edits import Edits
from snapshots.fold import TreeFold
from snapshots.fold_batch import CHANGES_A_TRANSACTION, bounded
from snapshots.ledger_db import Counters, LedgerWriter, SnapshotRow
from snapshots.purge import Purged, purge_path
from snapshots.put_batch import PutBatch
from snapshots.sweep_db import sweep_rows
from staging.changes import Barrier, Consistency, ContentRef
from staging.frame_format import FrameHeader, unpack_frame
from staging.journal import Cursor, Journal
from staging.journal_scan import LoggedRecord
from staging.protocol import Position

ANCHORED = AnchorLimits()

Ordered = TypeVar("Ordered", bound=Control)


class CatalogueAhead(Damaged):
    """A catalogue holds changes that its journal has lost."""


class MomentGone(NotFound):
    """A state of the past is kept no longer."""


class ShareFold:
    """The only writer of a share's catalogue."""

    def __init__(self, path: Path, domain: str, journal: Journal, store: ChunkStore, limits: AnchorLimits = ANCHORED) -> None:
        """Open or make the share's catalogue; nothing is folded yet."""
        self.path = path
        self._domain, self._journal, self._store, self.anchor_limits = domain, journal, store, limits
        self._lock = threading.RLock()
        self._last_taken = self._last_control = 0
        self._leased: Counter[int] = Counter()
        self._changes: ChangeFold
        self._tree: TreeFold
        self._cursor: Cursor
        self.purged = Purged()  # by the last purge
        self.note_burst: NoteBurst = unnoted
        self._catalogue = CatalogueWriter(path)
        self._ledger = LedgerWriter(self._catalogue.connection)
        self._load()
        with transaction(self._catalogue.connection):
            self._ledger.end_leases()  # whoever read when the process ended reads no more
            if self._at and not self._anchored.time_ns:  # an earlier release left none: from here on every instant can be read
                self._anchor(self._catalogue.newest_moment())
                self._keep()

    def fold(self, limit: int = CHANGES_A_TRANSACTION) -> int:
        """Fold what is durable, up to about `limit` changes, in one transaction; return how many changes were taken."""
        with self._lock, self._store.gate():
            before = self._at
            records = bounded(self._journal.read(self._cursor), limit)
            first = next(records, None)
            if first is None:
                return 0
            try:
                with transaction(self._catalogue.connection):
                    all(map(self._take, chain((first,), records)))  # up to a burst
                    self._flush_edits()
                    self._keep()
                self._publish()
                if self._burst.stopped:  # its snapshot comes first, then the next fold goes on with it
                    self._seek()
                    self._burst.settle(self.order, self._next_snapshot, self.note_burst)
            except BaseException:
                self._load()
                raise
            return self._at - before

    def fold_all(self) -> None:
        """Fold everything that is durable."""
        self.fold_to(self._journal.durable.sequence)

    def fold_to(self, sequence: int) -> None:
        """Fold until a durable change is folded."""
        while self.sequence < sequence:
            self.fold()

    def take_snapshot(self, label: str, trigger: str, now_ns: int) -> SnapshotRow:
        """Name the share's durable end: journaled and synced before it is answered; shown as folding until folded."""

        def make(number: int, position: Position) -> SnapshotTaken:
            taken = (self._next_snapshot(position), position.sequence, now_ns, label, trigger, Consistency.CRASH)
            return SnapshotTaken(*taken, number)

        with self._lock:
            return SnapshotRow.of(self.order(make))

    def _next_snapshot(self, position: Position) -> int:
        """Return the id of a snapshot ordered at a position: below it is room for a barrier in each change not yet folded."""
        self._last_taken = self.last_snapshot + 1 + position.sequence - self._at
        return self._last_taken

    def order(self, make: Callable[[int, Position], Ordered], ends_segment: bool = False) -> Ordered:
        """Journal the control record that `make` gives for a number and a position, and apply it; durable on return."""
        with self._lock:
            self._catch_up()
            made: list[Ordered] = []

            def build(position: Position) -> bytes:
                made.append(make(self._last_control + 1, position))
                return encode_control(made[0])

            ticket = self._journal.append_control(build, ends_segment)
            self._last_control += 1
            self._journal.sync(ticket)
            try:
                with transaction(self._catalogue.connection):
                    self._control(made[0])
                self._publish()
            except BaseException:
                self._load()  # it stands in the journal: it holds
                raise
            return made[0]

    def defer(self, label: str | None) -> None:
        """Remember that a scheduled snapshot waits for the share to be good (None: no more)."""
        with self._lock, transaction(self._catalogue.connection):
            self._ledger.set_deferred(label)

    @contextmanager
    def lease(self, sequence: int | None = None) -> Iterator[int]:
        """Keep the state as of a fence (None: as of now) readable within the context and yield its sequence.

        Raises `MomentGone` when the sequence is no fence any more.
        """
        with self._lock:
            leased = self.sequence if sequence is None else sequence
            if sequence is not None and self._ledger.newest_fence(sequence) != sequence:
                raise MomentGone(f"what was kept at sequence {sequence} was removed", remedy="choose another snapshot")
            with transaction(self._catalogue.connection):
                self._ledger.add_lease(leased)
            self._catalogue.fence = max(self._catalogue.fence, leased)
            self._leased[leased] += 1
        try:
            yield leased
        finally:
            with self._lock:
                self._leased[leased] -= 1
                if not self._leased[leased]:
                    del self._leased[leased]
                    with transaction(self._catalogue.connection):
                        self._ledger.end_leases([leased])

    def trim_journal(self, below: int, last_too: bool = False) -> None:
        """Let go of the instants before a sequence, then of the journal's segments up to it.

        Nothing that a reader has leased goes. A crash in between leaves segments that the next call removes.
        """
        with self._lock:
            below = min([below, self._at, *self._leased])
            with transaction(self._catalogue.connection):
                self._ledger.drop_anchors(below)
                self._catalogue.drop_touched(below)
            self._journal.trim(below, last_too)

    @property
    def state(self) -> tuple[str, str]:
        """Return (mirroring | good | resync, reason) of the folded state."""
        return self._state

    @property
    def totals(self) -> tuple[int, int]:
        """Return (files, logical bytes) of the folded state."""
        return self._totals

    @property
    def last_control(self) -> int:
        """Return the number of the newest control record."""
        return self._last_control

    @property
    def last_snapshot(self) -> int:
        """Return the highest id that a snapshot was given."""
        return max(self._catalogue.number("last_snapshot"), self._last_taken)

    def sweep(self) -> int:
        """Remove some rows that no fence sees any longer and that are sealed; return how many, 0 when there are no more."""
        with self._lock, transaction(self._catalogue.connection):
            return sweep_rows(self._catalogue.connection)

    def _publish(self) -> None:
        """Show what is committed: readers trust `sequence`, so it must never run ahead of the catalogue's file."""
        self._state = self._changes.state
        self._totals = (self._tree.files, self._tree.logical_bytes)
        self.sequence = self._at

    def retire(self) -> bool:
        """Close the catalogue for good, unless a reader leases a state of it; return whether it is closed."""
        with self._lock:
            if not self._leased:
                self._catalogue.close()
            return not self._leased

    def close(self) -> None:
        """Close the catalogue."""
        with self._lock:
            self._catalogue.close()

    def truncate_log(self) -> None:
        """Write the catalogue's WAL back and cut it."""
        with self._lock:
            self._catalogue.truncate_log()

    def _load(self) -> None:
        """Take up position, fence and counters from the catalogue."""
        catalogue = self._catalogue
        catalogue.forget_caches()
        self._at = catalogue.number("folded_sequence")
        if self._at > self._journal.position.sequence:
            raise CatalogueAhead(
                f"{self.path} is folded up to {self._at}, its journal ends at {self._journal.position.sequence}",
                remedy="see the runbook: damaged journal",
            )
        self._changes = ChangeFold(catalogue, self._flush_edits, self._barrier)
        self._changes.problem = catalogue.text("problem")
        self._tree = self._changes.tree
        self._anchored = SinceAnchor(*(catalogue.number(f"anchored_{what}") for what in ("sequence", "ns", "bytes")))
        self._burst = BurstWatch(catalogue, self._tree, self._fence_here)
        self._fences = self._ledger.fences_behind(self._at)
        catalogue.fence = max(self._ledger.newest_fence(self._at), catalogue.number("fence"))
        self._look_ahead()
        self._seek()
        self._publish()

    def _seek(self) -> None:
        self._loaded_at = self._at
        self._cursor = self._journal.seek(max(self._at - 1, self._journal.start.sequence))  # records here may end a segment
        self._place = self._cursor.place

    def _look_ahead(self) -> None:
        """Find the control records that a crash, or a rebuilt catalogue, left unapplied behind the folded position.

        The fold applies them in their places: they may speak of snapshots that only the fold makes. Those that are fences
        are made known now, so that it keeps what they see.
        """
        applied = self._catalogue.number("last_control")
        cursor = self._journal.seek(max(self._at - 1, self._journal.start.sequence))
        ahead = [
            decode_control(record.payload)
            for record in self._journal.read(cursor)
            if record.header is None and cursor.sequence >= self._at
        ]
        self._ahead = max((record.number for record in ahead if record.number > applied), default=0)
        self._last_control = max(self._last_control, applied, self._ahead, self._catalogue.number("given_control"))
        fences = [record for record in ahead if record.number > applied and isinstance(record, SnapshotTaken)]
        if fences:
            with transaction(self._catalogue.connection):
                for record in fences:
                    self._insert_snapshot(record)

    def _catch_up(self) -> None:
        """Fold until the control records that were found ahead are applied: later ones must not overtake them."""
        while self._ahead > self._catalogue.number("last_control"):
            before = (self._cursor.segment_path, self._cursor.offset)
            self.fold()
            if before == (self._cursor.segment_path, self._cursor.offset):
                raise ControlDamaged(f"control record {self._ahead} of {self.path} is in the journal no more")

    def _keep(self) -> None:
        self._tree.keep_counters()
        self._burst.keep()
        self._catalogue.set(folded_sequence=self._at, mirrored=self._changes.mirrored, problem=self._changes.problem)
        since = self._anchored
        self._catalogue.set(anchored_sequence=since.sequence, anchored_ns=since.time_ns, anchored_bytes=since.unpacked_bytes)

    def _take(self, record: LoggedRecord) -> bool:
        """Apply a record; return False when a burst begins with it, whose snapshot comes first."""
        if record.header is None and self._cursor.sequence >= self._loaded_at:  # what stands before was read before
            self._control(decode_control(record.payload))
        if record.header is not None and record.header.last_sequence > self._at and not self._frame(record, record.header):
            return False
        self._place = self._cursor.place
        return True

    def _frame(self, record: LoggedRecord, header: FrameHeader) -> bool:
        frame = unpack_frame(record.payload, header)
        new = frame.changes[max(self._at + 1 - header.first_sequence, 0) :]
        if self._burst.stops_before(frame, new, self._at, record.time_ns):
            return False
        self._tree.begin_frame()
        for sequence, change in enumerate(frame.changes, start=header.first_sequence):
            if sequence > self._at:
                self._changes.apply(change, frame.paths, sequence, record.time_ns)
                self._at = sequence
                self._pass_fence(sequence)
        self._catalogue.add_moment(self._at, record.time_ns, self._place)
        self._catalogue.add_touched(self._at, self._tree.touched)
        self._anchored.add(record.time_ns, header.unpacked_bytes)
        if self._anchored.is_due(self.anchor_limits, self._at, record.time_ns):
            self._anchor(record.time_ns)
        return True

    def _anchor(self, time_ns: int) -> None:
        """Keep the state as it is here. Not within a repair: what it has stated so far is not kept, so none could start there."""
        if self._tree.mirroring == 2:
            return
        self._fence_here(time_ns)
        self._anchored = SinceAnchor(self._at, time_ns, 0)

    def _fence_here(self, time_ns: int) -> bool:
        """Keep the state as it is here; return True when no anchor did so already."""
        is_new = self._ledger.add_anchor(self._at, time_ns)
        self._fences.insert(0, self._at)
        self._pass_fence(self._at)
        return is_new

    def _barrier(self, change: Barrier, sequence: int, time_ns: int) -> None:
        """Take the snapshot that the branch asked for. Its id lies below those that `take_snapshot` gives ahead of the fold."""
        number = self._ledger.highest_snapshot(sequence) + 1
        self._insert_snapshot(SnapshotTaken(number, sequence, time_ns, change.label, "barrier", change.consistency))

    def _control(self, record: Control) -> None:
        """Apply a control record, unless it was applied already; those of the first release have no number and may come again."""
        if record.number and record.number <= self._catalogue.number("last_control"):
            return
        if isinstance(record, SnapshotTaken):
            self._insert_snapshot(record)
        elif isinstance(record, PathPurged):
            self._purge(record)
        else:
            self._ledger.apply(record)
        if record.number:
            self._catalogue.set(last_control=record.number)
            self._last_control = max(self._last_control, record.number)

    def _purge(self, record: PathPurged) -> None:
        self._flush_edits()
        self.purged = purge_path(self._catalogue.connection, RelPath(record.path), self._at)
        self._tree.forget_purged(self.purged.files, self.purged.logical_bytes)
        self._anchor(record.purged_ns)
        self._keep()

    def _insert_snapshot(self, record: SnapshotTaken) -> None:
        if self._ledger.apply(record):
            self._catalogue.set(last_snapshot=max(record.id, self._catalogue.number("last_snapshot")))
            self._fences = sorted([*self._fences, record.sequence])
            self._pass_fence(self._at)

    def _pass_fence(self, sequence: int) -> None:
        """Everything up to a snapshot's sequence is applied: rows born until then are now kept as they are."""
        while self._fences and self._fences[0] <= sequence:
            self._flush_edits()
            passed = self._fences.pop(0)
            self._catalogue.fence = max(self._catalogue.fence, passed)
            tree, changes = self._tree, self._changes
            counted = (tree.next_node, tree.files, tree.logical_bytes, tree.mirroring, changes.mirrored, changes.problem)
            self._ledger.pass_fence(passed, Counters(*counted), changes.state[0] == "good")

    def _flush_edits(self) -> None:
        """Apply collected writes: chunks into the store first, then the new contents into the catalogue."""
        if not self._tree.edits:
            return
        edited = []
        batch = PutBatch(lambda chunks: self._store.put_own(self._domain, chunks))
        for node, edits in self._tree.edits.items():
            try:
                edited.append((node, edits, self._edited(node, edits, batch)))
            except Damaged as error:  # the file stays as it was and the share asks to be repaired; the rest goes on
                told = f"writes up to {edits.sequence} could not be applied: {error.message}"
                self._changes.record_problem(edits.sequence, error.message, told)
        self._tree.edits.clear()
        batch.finish()
        for node, edits, content in edited:
            state = self._catalogue.live_state(node)
            if state is not None:
                self._tree.set_content(state, content, edits.size, edits.sequence)

    def _edited(self, node: int, edits: Edits, batch: PutBatch) -> ContentRef:
        state = self._catalogue.live_state(node)
        content = state.content if state is not None else None
        return edit_content(content, edits, self._store.data, self._store.node, batch.add)
