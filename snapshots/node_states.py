"""What one node was at the ends of frames, from the catalogue where it knows, else from the frames that altered the node.

The fold noted which changes of which frame altered a node, misfits and undone groups left out, so nothing is decided here
again: what is altered is altered. Between two anchors a state may have been overwritten in place; then it is made from the
newest one before that the catalogue has. Frames that do not concern the node are not read.
"""

import heapq
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from snapshots.catalogue_db import State
from snapshots.edits import Edits
from snapshots.journal_frames import FrameChange, FrameReader, creating
from snapshots.view_db import CatalogueReader
from snapshots.written import WrittenContents
from staging.changes import Content, Create, SetAttributes, Truncate, Write
from staging.journal import Journal

_FRAMES_AT_ONCE = 500

Touch = tuple[int, tuple[int, ...]]
"""(frame by its last sequence, first, last, first, last … of the changes in it that altered the node)"""


@dataclass(frozen=True, slots=True)
class Span:
    """Which ends of frames are asked for: those in [born, died), up to the frame that ends with `last`.

    A frame that goes on behind `until` is taken to end there.
    """

    born: int
    died: int
    last: int
    until: int


class NodeStates:
    """Tells the states of nodes behind `floor`, from where on the journal knows everything. Made for one question."""

    def __init__(self, reader: CatalogueReader, journal: Journal, floor: int) -> None:
        """Bind the share's parts."""
        self._reader, self.floor = reader, floor
        self._frames = FrameReader(reader, journal)
        self._contents = WrittenContents(reader.store, reader.folder)
        self._rows: tuple[int, list[tuple[State, int]], list[int]] = (0, [], [])

    def newest_first(self, node: int, span: Span) -> Iterator[State]:
        """Yield what a node was, frame by frame; the same state may come several times, and one that is lost not at all.

        Contents that were written into are stand-ins: see `shown`. Held meanwhile is what came between two anchors.
        """
        pending: list[Touch] = []
        for touch in self._touches(node, span):
            end = min(touch[0], span.until)
            if end >= span.died:
                continue
            if end < span.born and not pending:
                return
            state = self._known_behind(node, touch[0]) if end == touch[0] else None
            if state is None:
                pending.append(touch)
                continue
            yield from self._made(node, state, pending, span)
            pending = []
            if end >= span.born:
                yield state
        yield from self._made(node, self.kept_at(node, self.floor), pending, span)

    def kept_at(self, node: int, sequence: int) -> State | None:
        """Return what the catalogue has of a node for a sequence: the truth where a fence is."""
        if self._rows[0] != node:
            rows = self._reader.states_of(node)
            self._rows = (node, rows, [state.born for state, _ in rows])
        _, rows, births = self._rows
        index = bisect_right(births, sequence) - 1
        if index < 0:
            return None
        state, died = rows[index]
        return state if state.changed <= sequence < died else None

    def _known_behind(self, node: int, end: int) -> State | None:
        """Return what a node was at the end of a frame that altered it, when the catalogue knows it.

        Between fences the fold lays writes together and ends a row with the last of them. So a row tells of a frame only when
        its last change lies in there, and no fence behind that (not even one that went since): what came then in the frame
        may wait for the writes of later ones.
        """
        state = self.kept_at(node, end)
        if state is None or self._reader.frame_end(state.changed) != end:
            return None
        return None if self._reader.ledger.passed_fence(state.changed, end) else state

    def shown(self, state: State) -> State:
        """Return a state with its content made; without one where that cannot be done. Ask for the oldest first."""
        content = self._contents.shown(state.content)
        return replace(state, content=None if self._contents.is_unmade(content) else content)

    def _touches(self, node: int, span: Span) -> Iterator[Touch]:
        """Yield the frames that altered a node, in which it came to its name, and in which it was made, newest first."""
        first = self._reader.first_name_of(node)
        beginnings = {span.born, *(() if first is None else (first[2],))}
        ends = {self._reader.frame_end(born) for born in beginnings if born > self.floor}
        plain: list[Touch] = [
            (end, ()) for end in sorted((end for end in ends if end is not None), reverse=True) if end <= span.last
        ]
        merged = heapq.merge(self._altering(node, span.last), plain, key=lambda touch: -touch[0])
        for end, same in groupby(merged, key=lambda touch: touch[0]):
            yield end, max(runs for _, runs in same)

    def _altering(self, node: int, last: int) -> Iterator[Touch]:
        while True:
            rows = self._reader.touched_before(node, self.floor + 1, last, _FRAMES_AT_ONCE)
            yield from rows
            if len(rows) < _FRAMES_AT_ONCE:
                return
            last = rows[-1][0] - 1

    def _made(self, node: int, state: State | None, pending: list[Touch], span: Span) -> Iterator[State]:
        """Yield the states behind `state` in the frames `pending` (newest first), newest first."""
        made: list[State] = []
        for end, runs in reversed(pending):
            state = self._behind(node, state, (end, runs), span.until)
            if state is not None and min(end, span.until) >= span.born:
                made.append(state)
        yield from reversed(made)

    def _behind(self, node: int, state: State | None, touch: Touch, until: int) -> State | None:
        """Return what a node is at the end of a frame, before which it was `state` (None: not made, or not known)."""
        if state is not None and not touch[1]:
            return state
        _, changes = self._frames.changes(touch[0])
        runs = zip(touch[1][::2], touch[1][1::2], strict=True)
        wanted = [changes[ordinal] for first, last in runs for ordinal in range(first, last + 1) if ordinal < len(changes)]
        if state is None and not (wanted and isinstance(wanted[0][1], Create)):
            wanted = [*self._making(node, changes), *wanted]
        edits: Edits | None = None
        for sequence, change, _ in wanted:
            if sequence > until:
                break
            if isinstance(change, Create):
                state, edits = _stated(node, state, change, sequence), None
            elif state is None:
                continue
            elif isinstance(change, Content):
                attributes, size = change.attributes or state.attributes, change.content.size if change.content is not None else 0
                state = replace(state, content=change.content, size=size, attributes=attributes, changed=sequence)
                edits = None
            elif isinstance(change, SetAttributes):
                state = replace(state, attributes=change.attributes, changed=sequence)
            elif isinstance(change, Write | Truncate):
                edits = edits or Edits(state.size)
                _note(edits, change)
                state = replace(state, changed=sequence)
        return self._laid(state, edits)

    def _laid(self, state: State | None, edits: Edits | None) -> State | None:
        if state is None or edits is None:
            return state
        return replace(state, content=self._contents.stand_in(state.content, edits), size=edits.size)

    def _making(self, node: int, changes: list[FrameChange]) -> list[FrameChange]:
        """Return the change that made a node where the fold did not note it: in a mirror. None when that is not certain."""
        first = self._reader.first_name_of(node)
        if first is None:
            return []
        _, name, born = first
        return [changes[ordinal] for ordinal in creating(changes, born, name)]


def _stated(node: int, state: State | None, change: Create, sequence: int) -> State:
    size = change.content.size if change.content is not None else 0
    if state is None:
        what = (change.kind, size, change.attributes, change.content, change.target, change.device)
        return State(node, sequence, sequence, *what)
    return replace(
        state, attributes=change.attributes, content=change.content, size=size, target=change.target, device=change.device,
        changed=sequence,
    )  # fmt: skip


def _note(edits: Edits, change: Write | Truncate) -> None:
    if isinstance(change, Write):
        edits.write(change.offset, change.data)
    else:
        edits.truncate(change.size)
