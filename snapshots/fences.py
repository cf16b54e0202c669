"""The fences of a share as the fold meets them: snapshots and anchors that it comes to, and what it keeps at each.

Everything up to a fence is applied before it is passed; from then on rows born until there are kept as they are. The state at a
fence is counted in the same transaction. Anchors are fences of the fold's own, from which instants are replayed.
"""

from collections.abc import Callable

from snapshots.anchors import AnchorLimits, SinceAnchor
from snapshots.catalogue_db import CatalogueWriter
from snapshots.change_fold import ChangeFold
from snapshots.control_format import SnapshotTaken
from snapshots.ledger_db import BARRIER, Counters, LedgerWriter
from staging.changes import Barrier

_REPAIRING = 2


class Fences:
    """Works inside the fold's transactions."""

    def __init__(self, catalogue: CatalogueWriter, ledger: LedgerWriter, flush_edits: Callable[[], None]) -> None:
        """Begin with what the catalogue holds; `flush_edits` applies what was collected."""
        self._catalogue, self._ledger, self._flush_edits = catalogue, ledger, flush_edits
        at = catalogue.number("folded_sequence")
        self._ahead = ledger.fences_behind(at)
        self._met = ledger.met_snapshot(at)
        self._since = SinceAnchor(*(catalogue.number(f"anchored_{what}") for what in ("sequence", "ns", "bytes")))
        # It never moves back: what a removed fence kept may be sealed, or be on its way into a seal, and a seal has no rows for
        # what is changed in place behind it.
        passed = min(catalogue.fence, at)
        catalogue.fence = max(passed, ledger.newest_fence(at), ledger.newest_sealed(), catalogue.number("fence"))

    def keep(self) -> None:
        """Write what has come behind the newest anchor into the catalogue."""
        since = self._since
        self._catalogue.set(anchored_sequence=since.sequence, anchored_ns=since.time_ns, anchored_bytes=since.unpacked_bytes)

    @property
    def lacks_anchor(self) -> bool:
        """Tell whether there never was an anchor."""
        return not self._since.time_ns

    def take_snapshot(self, record: SnapshotTaken, at: int, fold: ChangeFold) -> None:
        """Make a snapshot known, unless it is; `at` is how far is folded."""
        if self._ledger.apply(record):
            self._catalogue.set(last_snapshot=max(record.id, self._catalogue.number("last_snapshot")))
            self._ahead = sorted([*self._ahead, record.sequence])
            self.pass_to(at, fold)

    def meet(self, record: SnapshotTaken, at: int) -> None:
        """Note that the journal tells of a snapshot, once the fold has come to where it does."""
        if max(record.sequence, record.known_at) <= at and record.id > self._met:
            self._met = record.id
            self._ledger.meet(self._met, at)

    def take_barrier(self, change: Barrier, sequence: int, time_ns: int, at: int, fold: ChangeFold) -> None:
        """Take the snapshot that the branch asked for. Its id lies below those that are given ahead of the fold.

        It follows from the journal up to here alone, so that who reads the journal again gives the same, whatever was removed.
        """
        number = self._met = self._met + 1
        self._ledger.meet(number, sequence)
        self.take_snapshot(SnapshotTaken(number, sequence, time_ns, change.label, BARRIER, change.consistency), at, fold)

    def begin_frame(self, time_ns: int) -> None:
        """Note that something has come behind the newest anchor."""
        self._since.add(time_ns, 0)

    def anchor_when_due(self, limits: AnchorLimits, at: int, time_ns: int, unpacked_bytes: int, fold: ChangeFold) -> None:
        """Count a frame that ends here and leave an anchor when it is time."""
        self._since.add(time_ns, unpacked_bytes)
        if self._since.is_due(limits, at, time_ns):
            self.anchor(at, time_ns, fold)

    def anchor(self, at: int, time_ns: int, fold: ChangeFold) -> None:
        """Keep the state as it is here. Not within a repair: what it has stated so far is not kept, so none could start there."""
        if fold.tree.mirroring != _REPAIRING:
            self.fence_here(at, time_ns, fold)
            self._since = SinceAnchor(at, time_ns, 0)

    def fence_here(self, at: int, time_ns: int, fold: ChangeFold) -> bool:
        """Keep the state as it is here; return True when no anchor did so already."""
        is_new = self._ledger.add_anchor(at, time_ns)
        self._ahead.insert(0, at)
        self.pass_to(at, fold)
        return is_new

    def pass_to(self, sequence: int, fold: ChangeFold) -> None:
        """Everything up to a sequence is applied: rows born until the fences there are now kept as they are."""
        while self._ahead and self._ahead[0] <= sequence:
            self._flush_edits()
            passed = self._ahead.pop(0)
            self._catalogue.fence = max(self._catalogue.fence, passed)
            tree = fold.tree
            counted = (tree.next_node, tree.files, tree.logical_bytes, tree.mirroring, fold.mirrored)
            self._ledger.pass_fence(passed, Counters(*counted, fold.problem, self._met), fold.state[0] == "good")
