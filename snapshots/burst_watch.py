"""The watch over one share's fold: judges each frame before it is applied, and keeps the state before a burst.

The window is kept in the catalogue with what was folded, and its checkpoints are anchors of the share, so that neither a
restart nor a lost catalogue loses the state before a burst that is not recognised yet.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from snapshots.burst import Burst, BurstLimits, Losses, Part, read_window, write_window
from snapshots.burst_db import LossReader
from snapshots.catalogue_db import CatalogueWriter
from snapshots.control_format import SnapshotTaken
from snapshots.fold import TreeFold
from snapshots.ledger_db import BURST, LedgerWriter
from snapshots.loss_count import LossCounter, may_destroy
from snapshots.policy import Policy, PolicyUnreadable, Thresholds
from snapshots.policy_document import read_policy
from staging.changes import Change, Consistency, Mirror
from staging.frame_format import Frame
from staging.protocol import Position

_KEY = "burst_window"
_JUDGED = "burst_judged"
_COUNTED_AT_LEAST = 20_000  # a walk below a folder goes so far even when less is a burst: the label says how much is lost
_REPAIRING = 2

MakeSnapshot = Callable[[int, Position], SnapshotTaken]
NoteBurst = Callable[[Burst, SnapshotTaken], None]


def unnoted(burst: Burst, taken: SnapshotTaken) -> None:
    """Note nothing: the record in the journal stands for itself."""


class BurstWatch:
    """Works inside the fold's transactions. `unsettled` is the burst before which the fold has stopped."""

    def __init__(self, catalogue: CatalogueWriter, tree: TreeFold, fence_here: Callable[[int], bool]) -> None:
        """Begin with what the catalogue holds; `fence_here` keeps the folded state as it is, for an anchor at a time."""
        self._catalogue, self._tree, self._fence_here = catalogue, tree, fence_here
        self._ledger = LedgerWriter(catalogue.connection)
        self._reader = LossReader(catalogue.connection)
        self._window = read_window(catalogue.text(_KEY)).up_to(catalogue.number("folded_sequence"))
        self._judged = catalogue.number(_JUDGED)  # up to here changes are counted, perhaps before they are all applied
        self._counted: set[int] = set()
        self._policy: tuple[str, BurstLimits] = ("", burst_limits(Policy().thresholds))
        self.unsettled: Burst | None = None
        self._settling = False

    def stops_before(self, frame: Frame, changes: Sequence[Change], sequence: int, time_ns: int) -> bool:
        """Tell whether the fold must stop before these changes, behind `sequence`, for a burst; else count them.

        They are counted once, also when they are applied in parts.
        """
        if frame.header.last_sequence <= self._judged:
            return False
        if self._is_burst(frame, changes, sequence, time_ns):
            return True
        self._judged = frame.header.last_sequence
        return False

    def _is_burst(self, frame: Frame, changes: Sequence[Change], sequence: int, time_ns: int) -> bool:
        repairs = self._tree.mirroring == _REPAIRING
        if self._tree.mirroring == 1 or not may_destroy(changes, repairs):
            return False
        limits = self._limits()
        if not self._window.parts and self._tree.files < limits.least_files:
            return False  # too few for a burst, whatever happens
        if not repairs:
            self._move_to(time_ns, limits)
        losses = self._counter(frame, limits).count(changes, repairs)
        begins_repair = any(isinstance(change, Mirror) and change.begin for change in changes)
        if not begins_repair and not losses.deleted and not losses.rewritten and not losses.renamed:
            return False
        if not repairs and self._window.wants_checkpoint(time_ns):
            own = self._fence_here(time_ns)
            part = Part(sequence, time_ns, self._tree.files, self._tree.next_node, own=own)
            self._window = self._window.begun(part)
        elif not self._window.parts:
            return False  # a repair that began before there was a watch: what it has stated so far is not kept
        self.unsettled = self.unsettled or self._judge(losses, limits)
        if self.unsettled is not None and not self._window.told:
            self._window = replace(self._window, told=True)
            return True
        self._window = self._window.with_losses(losses)
        return False

    def keep(self) -> None:
        """Write the window into the catalogue; a burst is known as told only once its snapshot is taken."""
        told = self._window.told and self.unsettled is None
        kept: dict[str, int | str] = {_KEY: write_window(replace(self._window, told=told)), _JUDGED: self._judged}
        self._catalogue.set(**kept)
        self._counted.clear()  # from here on the rows themselves tell what was counted

    @property
    def stopped(self) -> bool:
        """Tell whether the fold has stopped before a burst and nobody settles it yet."""
        return self.unsettled is not None and not self._settling

    def settle(
        self, order: Callable[[MakeSnapshot], object], next_id: Callable[[Position], int], note: NoteBurst = unnoted
    ) -> None:
        """Order the snapshot before the burst, outside of a transaction; when it stands already, go on.

        `note` is told first, so that no such snapshot is without what was noted of it.
        """
        burst = self.unsettled
        if burst is None:
            return

        def make(number: int, position: Position) -> SnapshotTaken:
            taken = (next_id(position), burst.sequence, burst.begun_ns, burst.label, BURST, Consistency.CRASH)
            record = SnapshotTaken(*taken, number, position.sequence)
            note(burst, record)
            return record

        self._settling = True
        try:
            if not self._reader.has_burst_snapshot(burst.sequence):  # it does when a lost catalogue is folded anew
                order(make)
            self.unsettled = None
        finally:
            self._settling = False

    def _counter(self, frame: Frame, limits: BurstLimits) -> LossCounter:
        first = self._window.parts[0] if self._window.parts else None
        files = first.files if first is not None else self._tree.files
        enough = max(limits.deleted(files) or 0, _COUNTED_AT_LEAST)
        fence, next_node = (first.sequence, first.next_node) if first is not None else (2**62, self._tree.next_node)
        return LossCounter(self._reader, frame.paths, fence, next_node, enough, self._counted)

    def _judge(self, losses: Losses, limits: BurstLimits) -> Burst | None:
        burst = self._window.judge(losses, limits)
        if burst is not None:  # a trimmed journal may have taken a checkpoint with it: the next one is as good as it gets
            gone = {part.sequence for part in self._window.parts if self._ledger.newest_fence(part.sequence) != part.sequence}
            self._window = self._window.without(gone)
            burst = self._window.judge(losses, limits)
        return burst

    def _move_to(self, time_ns: int, limits: BurstLimits) -> None:
        if self.unsettled is not None:
            return  # its checkpoint must stay
        moved = self._window.moved_to(time_ns, limits)
        for part in self._window.parts[: len(self._window.parts) - len(moved.parts)]:
            if part.own:
                self._ledger.drop_anchor(part.sequence)
        self._window = moved

    def _limits(self) -> BurstLimits:
        text = self._catalogue.text("policy")
        if text != self._policy[0]:
            try:
                policy = read_policy(text.encode())
            except PolicyUnreadable:  # of a later release: the fold never stops for it
                policy = Policy()
            self._policy = (text, burst_limits(policy.thresholds))
        return self._policy[1]


def burst_limits(thresholds: Thresholds) -> BurstLimits:
    """Return a policy's thresholds as the limits of a burst."""
    return BurstLimits(thresholds.deleted_percent, thresholds.rewritten_percent, thresholds.burst_files)
