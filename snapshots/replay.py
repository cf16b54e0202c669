"""A share as of an instant that nobody took a snapshot of: the nearest fence before it, and the journal's frames from there.

The frames run through the fold's own rules (change_fold) over an overlay; nothing is stored.
"""

from dataclasses import replace

from core.errors import Damaged
from snapshots.catalogue_db import State
from snapshots.change_fold import ChangeFold
from snapshots.ledger_db import Counters
from snapshots.overlay import Overlay
from snapshots.view_db import CatalogueReader
from snapshots.written import WrittenContents
from staging.changes import Barrier
from staging.frame_format import unpack_frame
from staging.journal import Journal


class FramesMissing(Damaged):
    """A journal does not hold the changes that it should."""


class ReplayedShare:
    """What a share was at one instant (a `TreeSource`). Any thread may ask, as long as its fence is kept."""

    def __init__(self, reader: CatalogueReader, fence: int, start: Counters) -> None:
        """Begin with the state as of a fence, and what was counted there."""
        self.share, self.start = reader.share, fence
        self.store = WrittenContents(reader.store, reader.folder)
        self.tree = Overlay(reader, fence, start)
        self._fold = ChangeFold(self.tree, self._flush_edits, _pass_barrier)
        self.sequence = fence

    def run(self, reader: CatalogueReader, journal: Journal, sequence: int) -> None:
        """Apply what the journal holds behind the fence, up to and with `sequence`."""
        for record in journal.read(journal.cursor(self.sequence, reader.place_behind(self.sequence))):
            if record.header is None or record.header.last_sequence <= self.sequence:
                continue
            if self.sequence >= sequence:
                break
            frame = unpack_frame(record.payload, record.header)
            self._fold.tree.begin_frame()
            for number, change in enumerate(frame.changes, start=record.header.first_sequence):
                if self.sequence < number <= sequence:
                    self._fold.apply(change, frame.paths, number, record.time_ns)
                    self.sequence = number
        if self.sequence != sequence:
            raise FramesMissing(f"the journal of {self.share} ends at {self.sequence} instead of {sequence}")
        self._flush_edits()

    def names_in(self, parent: int, sequence: int, after: bytes, limit: int) -> list[tuple[bytes, State]]:
        """Return the names of a folder with their states."""
        return [(name, self._shown(state)) for name, state in self.tree.page(parent, after, limit)]

    def name_at(self, parent: int, name: bytes, sequence: int) -> int | None:
        """Return the node that a name stood for."""
        found = self.tree.live_name(parent, name)
        return found.node if found is not None else None

    def state_at(self, node: int, sequence: int) -> State | None:
        """Return a node's state."""
        state = self.tree.live_state(node)
        return self._shown(state) if state is not None else None

    def counters(self) -> tuple[int, int, int]:
        """Return (next node, files, logical bytes) as they were."""
        tree = self._fold.tree
        return tree.next_node, tree.files, tree.logical_bytes

    def _flush_edits(self) -> None:
        tree = self._fold.tree
        for node, edits in tree.edits.items():
            state = self.tree.live_state(node)
            if state is not None:
                tree.set_content(state, self.store.stand_in(state.content, edits), edits.size, edits.sequence)
        tree.edits.clear()

    def _shown(self, state: State) -> State:
        content = self.store.shown(state.content)
        return state if content is state.content else replace(state, content=content)


def _pass_barrier(change: Barrier, sequence: int, time_ns: int) -> None:
    """A barrier's snapshot was taken by the fold; to the tree it does nothing."""
