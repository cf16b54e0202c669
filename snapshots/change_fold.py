"""What one change of a journal does to a share, decided in one place for the fold and for a replay of the past.

A change that does not fit is recorded and skipped whole; a group takes effect whole or not at all; between the begin and the
end of a mirror creates state what is there. How collected writes become contents, and what a barrier does, is the caller's.
"""

from collections.abc import Callable

from core.relpath import RelPath
from snapshots.fold import DoesNotFit, TreeFold
from snapshots.live_catalogue import LiveCatalogue
from snapshots.pending_edits import PendingEdits
from staging.changes import Barrier, Change, Group, Mirror, SimpleChange

FlushEdits = Callable[[], None]
OnBarrier = Callable[[Barrier, int, int], None]
"""Called with the barrier, its sequence and the time at which it was received."""


class ChangeFold:
    """Applies change after change to a live tree; keeps whether the share was ever mirrored, and what did not fit last."""

    def __init__(
        self, catalogue: LiveCatalogue, flush_edits: FlushEdits, on_barrier: OnBarrier, held_bytes: int | None = None
    ) -> None:
        """Begin with what the catalogue holds; `flush_edits` is also called when collected edits hold more than `held_bytes`."""
        self._catalogue, self._flush_edits, self._on_barrier = catalogue, flush_edits, on_barrier
        self._edits = PendingEdits(held_bytes)
        self.tree = TreeFold(catalogue, self._edits)
        self.mirrored = catalogue.number("mirrored")
        self.problem = ""

    @property
    def state(self) -> tuple[str, str]:
        """Return (mirroring | good | resync, reason)."""
        if self.tree.mirroring or not self.mirrored:
            return "mirroring", "differences are being repaired" if self.mirrored else "the first copy is being laid"
        return ("resync", self.problem) if self.problem else ("good", "")

    def apply(self, change: Change, paths: tuple[RelPath, ...], sequence: int, time_ns: int) -> None:
        """Apply one change, or record why it does not fit."""
        first = self.tree.ordinal
        try:
            if isinstance(change, Barrier):
                self._on_barrier(change, sequence, time_ns)
            elif isinstance(change, Mirror):
                self._mirror(change, sequence)
            elif isinstance(change, Group):
                self._group(change, paths, sequence)
            else:
                self._simple(change, paths, sequence)
        except DoesNotFit as misfit:
            self.record_problem(sequence, str(misfit), f"change {sequence} did not fit: {misfit}")
        self.tree.ordinal = first + (len(change.changes) if isinstance(change, Group) else 1)

    def record_problem(self, sequence: int, reason: str, told: str) -> None:
        """Remember that something up to `sequence` could not be applied; the share asks to be repaired."""
        self.problem = told
        self._catalogue.add_problem(sequence, reason)

    def _simple(self, change: SimpleChange, paths: tuple[RelPath, ...], sequence: int) -> None:
        self.tree.apply(change, paths, sequence)
        if self._edits.are_too_many:
            self._flush_edits()

    def _group(self, group: Group, paths: tuple[RelPath, ...], sequence: int) -> None:
        """Apply all or nothing: edits collected so far are applied first, so that undoing the group cannot lose them."""
        self._flush_edits()
        tree = self.tree
        first, counters = tree.ordinal, (tree.next_node, tree.files, tree.logical_bytes)
        self._catalogue.begin_group()
        try:
            for tree.ordinal, change in enumerate(group.changes, start=first):
                self._simple(change, paths, sequence)
            self._flush_edits()
        except DoesNotFit:
            self._catalogue.undo_group()
            tree.next_node, tree.files, tree.logical_bytes = counters
            tree.edits.clear()
            tree.forget_folders()
            tree.forget_touches(first)
            raise
        finally:
            self._catalogue.end_group()

    def _mirror(self, change: Mirror, sequence: int) -> None:
        if change.begin:
            self.tree.begin_mirror()
            return
        self._flush_edits()
        self.tree.end_mirror(sequence)
        self.mirrored, self.problem = 1, ""
        self._catalogue.clear_problems()
