"""Folding one share: journal records into catalogue and store, in transactions, from where the last one ended.

Order: chunks durable in the store → one transaction of the share's file with rows, counters, snapshots and position. A crash
leaves the whole transaction undone and the journal still there. All changes of the catalogue take turns: who waits for one
makes a running fold end its transaction early, or give it up. Of all shares' folds one runs at a time, so that what they hold
of contents is bounded however many shares there are.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar

from core.database import transaction
from core.errors import Damaged, NotFound
from snapshots.anchors import AnchorLimits
from snapshots.burst_watch import NoteBurst, unnoted
from snapshots.catalogue_db import CatalogueWriter
from snapshots.chunk_store import ChunkStore
from snapshots.control_format import Control, ControlDamaged, SnapshotTaken, decode_control, encode_control
from snapshots.edit_flush import EditFlush
from snapshots.fold_pace import CHANGES_A_TRANSACTION, FoldPace, FoldSlice, GaveWay
from snapshots.journal_place import JournalPlace, controls_ahead
from snapshots.ledger_db import LedgerWriter, SnapshotRow
from snapshots.purge import Purged
from snapshots.record_fold import RecordFold
from snapshots.sweep_db import sweep_rows
from snapshots.turns import Turns
from staging.changes import Consistency
from staging.journal import Journal
from staging.journal_scan import LoggedRecord
from staging.protocol import Position

ANCHORED = AnchorLimits()

Ordered = TypeVar("Ordered", bound=Control)


class CatalogueAhead(Damaged):
    """A catalogue holds changes that its journal has lost."""


class ChangesLost(Damaged):
    """A journal begins behind changes that were never folded."""


class MomentGone(NotFound):
    """A state of the past is kept no longer."""


class ShareFold:
    """The only writer of a share's catalogue."""

    def __init__(
        self,
        path: Path,
        domain: str,
        journal: Journal,
        store: ChunkStore,
        limits: AnchorLimits = ANCHORED,
        one_fold: Turns | None = None,
    ) -> None:
        """Open or make the share's catalogue; nothing is folded yet. Of those with the same `one_fold` one folds at a time."""
        self.path = path
        self._journal, self._store, self.anchor_limits = journal, store, limits
        self._one_fold, self.turns = one_fold or Turns(), Turns()  # always taken in this order
        self._pace = FoldPace()
        self._slice: FoldSlice | None = None
        self._last_taken = self._last_control = 0
        self._leased: Counter[int] = Counter()
        self.purged = Purged()  # by the last purge
        self.note_burst: NoteBurst = unnoted
        self._catalogue = CatalogueWriter(path)
        self._ledger = LedgerWriter(self._catalogue.connection)
        self._flush = EditFlush(self._catalogue, store, domain)
        self._load()
        with transaction(self._catalogue.connection):
            self._ledger.end_leases()  # whoever read when the process ended reads no more
            self._records.anchor_older_release()

    def fold(self, limit: int = CHANGES_A_TRANSACTION) -> int:
        """Fold what is durable, up to about `limit` changes, in one transaction; return how many changes were taken."""
        while True:
            try:
                with self._one_fold.taken(patient=True), self.turns.taken(patient=True), self._store.gate():
                    return self._fold_slice(self._pace.slice(limit, self._is_wanted))
            except GaveWay:
                continue  # behind who waited, and with less at a time

    def fold_all(self) -> None:
        """Fold everything that is durable, control records behind the last change too."""
        self.fold_to(self._journal.durable.sequence)
        self._catch_up()

    def fold_to(self, sequence: int) -> None:
        """Fold until a durable change is folded."""
        while self.sequence < sequence:
            self.fold()

    def take_snapshot(self, label: str, trigger: str, now_ns: int) -> SnapshotRow:
        """Name the share's durable end: journaled and synced before it is answered; shown as folding until folded."""

        def make(number: int, position: Position) -> SnapshotTaken:
            taken = (self._next_snapshot(position), position.sequence, now_ns, label, trigger, Consistency.CRASH)
            return SnapshotTaken(*taken, number)

        return SnapshotRow.of(self.order(make))

    def order(self, make: Callable[[int, Position], Ordered], ends_segment: bool = False) -> Ordered:
        """Journal the control record that `make` gives for a number and a position, and apply it; durable on return."""
        while True:
            self._catch_up()
            with self.turns.taken():
                if not self._is_behind:  # otherwise a fold failed meanwhile, and found it ahead again
                    return self._order(make, ends_segment)

    def defer(self, label: str | None) -> None:
        """Remember that a scheduled snapshot waits for the share to be good (None: no more)."""
        with self.turns.taken(), transaction(self._catalogue.connection):
            self._ledger.set_deferred(label)

    @contextmanager
    def lease(self, sequence: int | None = None) -> Iterator[int]:
        """Keep the state as of a fence (None: as of now) readable within the context and yield its sequence.

        Raises `MomentGone` when the sequence is no fence any more.
        """
        with self.turns.taken():
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
            with self.turns.taken():
                self._leased[leased] -= 1
                if not self._leased[leased]:
                    del self._leased[leased]
                    with transaction(self._catalogue.connection):
                        self._ledger.end_leases([leased])

    def trim_journal(self, below: int, last_too: bool = False) -> None:
        """Let go of the instants before a sequence, then of the journal's segments up to it.

        Nothing that a reader has leased goes. A crash in between leaves segments that the next call removes.
        """
        with self.turns.taken(patient=True):
            below = min([below, self.sequence, *self._leased])
            with transaction(self._catalogue.connection):
                self._ledger.drop_anchors(below)
                self._catalogue.drop_touched(below)
            self._journal.trim(below, last_too)

    def sweep(self) -> int:
        """Remove some rows that no fence sees any longer and that are sealed; return how many, 0 when there are no more."""
        with self.turns.taken(patient=True), transaction(self._catalogue.connection):
            return sweep_rows(self._catalogue.connection)

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

    def retire(self, is_due: Callable[[], bool]) -> bool:
        """Close the catalogue for good if `is_due` says so and no reader leases a state of it; return whether it is closed.

        It is asked within the share's turn: what was ordered before counts, and nothing can be ordered behind it.
        """
        with self.turns.taken():
            closes = not self._leased and is_due()
            if closes:
                self._catalogue.close()
            return closes

    def close(self) -> None:
        """Close the catalogue."""
        with self.turns.taken():
            self._catalogue.close()

    def truncate_log(self) -> None:
        """Write the catalogue's WAL back and cut it."""
        with self.turns.taken(patient=True):
            self._catalogue.truncate_log()

    # -- folding --------------------------------------------------------------------------------------------------

    def _fold_slice(self, part: FoldSlice) -> int:
        self._check_follows()
        before, begun = self._records.at, self._place.mark()
        records = self._place.records()
        first = next(records, None)
        if first is None:
            return 0
        self._slice = part
        try:
            with transaction(self._catalogue.connection):
                for record in chain((first,), records):
                    if not self._take(record, part) or part.ends_behind_record():
                        break
                self._records.keep()
            self._publish()
            self._place.go_back()
            self._pace.went_on()
            if self._records.burst.stopped:  # its snapshot comes first, then the next fold goes on with it
                self._records.burst.settle(self.order, self._next_snapshot, self.note_burst)
                with transaction(self._catalogue.connection):
                    self._records.burst.keep()  # told: whoever takes the fold up again does not stop here once more
        except GaveWay:
            self._pace.gave_way(part.changes)
            self._begin()
            self._place.go_back(begun)
            raise
        except BaseException:
            self._load()
            raise
        finally:
            self._slice = None
        return self._records.at - before

    def _take(self, record: LoggedRecord, part: FoldSlice) -> bool:
        """Apply a record; return False when there is something left of it for the next transaction."""
        header = record.header
        if header is None:
            if self._place.is_new_control:
                self._control(decode_control(record.payload))
        elif header.last_sequence > self._records.at:
            part.add_record(header.unpacked_bytes)
            ends = part.ends_behind_change
            if not self._records.frame(record, header, self._place.place, self.anchor_limits, ends):
                return False
        self._place.mark()
        return True

    def _check_follows(self) -> None:
        """Raise when what comes next was not folded and is gone: going on behind it would make a state that never was."""
        folded, begins = self._records.at, self._journal.start.sequence
        if folded < begins:
            raise ChangesLost(
                f"the changes {folded + 1} to {begins} are not folded in {self.path}, and the journal begins behind them",
                remedy="put the journal's segments back from a copy; for an older catalogue run `stagekeeper rebuild`",
            )

    def _is_wanted(self) -> bool:
        return self.turns.is_wanted

    def _give_way(self, blocks: int) -> None:
        if self._slice is not None:
            self._slice.give_way(blocks)

    # -- control records ------------------------------------------------------------------------------------------

    def _order(self, make: Callable[[int, Position], Ordered], ends_segment: bool) -> Ordered:
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

    def _control(self, record: Control) -> None:
        self._records.control(record)
        self._last_control = max(self._last_control, record.number)

    def _next_snapshot(self, position: Position) -> int:
        """Return the id of a snapshot ordered at a position: below it is room for a barrier in each change not yet folded."""
        self._last_taken = self.last_snapshot + 1 + position.sequence - self._records.at
        return self._last_taken

    @property
    def _is_behind(self) -> bool:
        return self._ahead > self._applied_control

    def _catch_up(self) -> None:
        """Fold until the control records that were found ahead are applied: later ones must not overtake them."""
        while self._is_behind:
            before = (self._place.place, self._records.at)
            self.fold()
            if self._is_behind and before == (self._place.place, self._records.at):  # else another thread caught up
                raise ControlDamaged(f"control record {self._ahead} of {self.path} is in the journal no more")

    # -- taking up ------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Take up everything from catalogue and journal.

        Control records that were left ahead are applied by the fold in their places: they may speak of snapshots that only it
        makes. Those that are fences are made known now, so that it keeps what they see.
        """
        catalogue = self._catalogue
        folded, applied = catalogue.number("folded_sequence"), catalogue.number("last_control")
        if folded > self._journal.position.sequence:
            raise CatalogueAhead(
                f"{self.path} is folded up to {folded}, its journal ends at {self._journal.position.sequence}",
                remedy="see the runbook: damaged journal",
            )
        self._begin()
        ahead = controls_ahead(self._journal, folded, applied)
        self._ahead = max((record.number for record in ahead), default=0)
        self._last_control = max(self._last_control, applied, self._ahead, catalogue.number("given_control"))
        fences = [record for record in ahead if isinstance(record, SnapshotTaken)]
        if fences:
            with transaction(catalogue.connection):
                for record in fences:
                    self._records.take_snapshot(record)
        self._place = JournalPlace(self._journal, folded)

    def _begin(self) -> None:
        """Take up position, fences and counters from the catalogue."""
        self._records = RecordFold(self._catalogue, self._flush, self._give_way)
        self._publish()

    def _publish(self) -> None:
        """Show what is committed: readers trust `sequence`, so it must never run ahead of the catalogue's file."""
        records = self._records
        self._applied_control = self._catalogue.number("last_control")
        self._state, self.sequence = records.changes.state, records.at
        self._totals = (records.tree.files, records.tree.logical_bytes)
        self.purged = records.purged or self.purged
