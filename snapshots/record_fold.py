"""What one journal record, a frame or a control record, does to a share's catalogue, inside a transaction of the caller.

A change that does not fit is recorded and skipped; the fold never stops for it. A frame may be taken in parts: what they
touched is laid together.
"""

from collections.abc import Callable, Sequence

from core.errors import Damaged
from core.relpath import RelPath
from snapshots.anchors import AnchorLimits
from snapshots.burst_watch import BurstWatch
from snapshots.catalogue_db import CatalogueWriter
from snapshots.change_fold import ChangeFold
from snapshots.control_format import Control, PathPurged, SnapshotTaken
from snapshots.edit_flush import EditFlush
from snapshots.edits import Edits
from snapshots.fences import Fences
from snapshots.ledger_db import LedgerWriter
from snapshots.pending_edits import HELD_BYTES
from snapshots.purge import Purged, purge_path
from staging.changes import Barrier, Change, Group
from staging.frame_format import FrameHeader, unpack_frame
from staging.journal_scan import LoggedRecord


class RecordFold:
    """One share's folded state, from what the catalogue holds on. `at` is how far is folded."""

    def __init__(self, catalogue: CatalogueWriter, flush: EditFlush, give_way: Callable[[int], None]) -> None:
        """Take up position, fences and counters; `give_way` is told how many blocks a flush has still to do, and may raise."""
        catalogue.forget_caches()
        self._catalogue, self._flush, self._give_way = catalogue, flush, give_way
        self._ledger = LedgerWriter(catalogue.connection)
        self.at = catalogue.number("folded_sequence")
        self.changes = ChangeFold(catalogue, self._flush_edits, self._barrier, HELD_BYTES)
        self.changes.problem = catalogue.text("problem")
        self.tree = self.changes.tree
        self._fences = Fences(catalogue, self._ledger, self._flush_edits)
        self.burst = BurstWatch(catalogue, self.tree, self._fence_here)
        self.purged: Purged | None = None  # by the last purge

    def frame(
        self,
        record: LoggedRecord,
        header: FrameHeader,
        place: tuple[int, int],
        limits: AnchorLimits,
        ends_behind_change: Callable[[], bool],
    ) -> bool:
        """Apply a frame, which stands at `place`, from the first change that is not folded on; return whether it is done.

        It is not when `ends_behind_change` said so, or when a burst begins with it, whose snapshot comes first.
        """
        frame = unpack_frame(record.payload, header)
        done = max(self.at + 1 - header.first_sequence, 0)
        if self.burst.stops_before(frame, frame.changes[done:], self.at, record.time_ns):
            return False
        self.tree.begin_frame(_ordinals(frame.changes[:done]))
        self._fences.begin_frame(record.time_ns)
        for sequence, change in enumerate(frame.changes[done:], start=header.first_sequence + done):
            self.changes.apply(change, frame.paths, sequence, record.time_ns)
            self.at = sequence
            self._fences.pass_to(sequence, self.changes)
            if ends_behind_change():
                break
        self._catalogue.add_touched(header.last_sequence, self.tree.touched, done > 0)
        self._catalogue.add_moment(header.last_sequence, record.time_ns, place)
        if self.at < header.last_sequence:
            return False
        self._fences.anchor_when_due(limits, self.at, record.time_ns, header.unpacked_bytes, self.changes)
        return True

    def control(self, record: Control) -> None:
        """Apply a control record, unless it was applied already; those of the first release have no number and may come again."""
        if isinstance(record, SnapshotTaken):
            self._fences.meet(record, self.at)
        if record.number and record.number <= self._catalogue.number("last_control"):
            return
        if isinstance(record, SnapshotTaken):
            self.take_snapshot(record)
        elif isinstance(record, PathPurged):
            self._purge(record)
        else:
            self._ledger.apply(record)
        if record.number:
            self._catalogue.set(last_control=record.number)

    def take_snapshot(self, record: SnapshotTaken) -> None:
        """Make a snapshot known, unless it is."""
        self._fences.take_snapshot(record, self.at, self.changes)

    def keep(self) -> None:
        """Apply what was collected and write position and counters: from here on the transaction may end."""
        self._flush_edits()
        self._keep()

    def anchor_older_release(self) -> None:
        """Keep the state of a catalogue whose release left no anchors: from here on every instant can be read."""
        if self.at and self._fences.lacks_anchor:
            self._fences.anchor(self.at, self._catalogue.newest_moment(), self.changes)
            self.keep()

    def _keep(self) -> None:
        self.tree.keep_counters()
        self.burst.keep()
        self._catalogue.set(folded_sequence=self.at, mirrored=self.changes.mirrored, problem=self.changes.problem)
        self._fences.keep()

    def _fence_here(self, time_ns: int) -> bool:
        return self._fences.fence_here(self.at, time_ns, self.changes)

    def _barrier(self, change: Barrier, sequence: int, time_ns: int) -> None:
        self._fences.take_barrier(change, sequence, time_ns, self.at, self.changes)

    def _purge(self, record: PathPurged) -> None:
        self._flush_edits()
        self.purged = purge_path(self._catalogue.connection, RelPath(record.path), self.at)
        self.tree.forget_purged(self.purged.files, self.purged.logical_bytes)
        self._fences.anchor(self.at, record.purged_ns, self.changes)
        self._keep()

    def _flush_edits(self) -> None:
        """Apply collected writes."""
        edits = self.tree.edits
        if edits:
            for node, noted, content in self._flush.contents(edits, self._give_way, self._note_damage):
                state = self._catalogue.live_state(node)
                if state is not None:
                    self.tree.set_content(state, content, noted.size, noted.sequence)
        edits.clear()

    def _note_damage(self, edits: Edits, error: Damaged) -> None:
        """Keep a file as it was that cannot be read; the share asks to be repaired."""
        told = f"writes up to {edits.sequence} could not be applied: {error.message}"
        self.changes.record_problem(edits.sequence, error.message, told)


def _ordinals(changes: Sequence[Change]) -> int:
    """Return how many changes there are, those within groups counted one by one."""
    return sum(len(change.changes) if isinstance(change, Group) else 1 for change in changes)
