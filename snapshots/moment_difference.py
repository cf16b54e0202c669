"""The rows by which any two moments of a share differ, instants between fences too: a `DifferenceRows`.

What can differ is what differs between the two fences, which the catalogue's indexes tell, and what the replays behind them
changed. So the cost is that of the difference and of two replays, each no longer than from one anchor to the next.
"""

from bisect import bisect_right
from collections.abc import Iterator

from core.digest import Digest
from snapshots.catalogue_db import State
from snapshots.difference import START, Cursor, Difference, differences, differences_in
from snapshots.difference_db import DifferenceReader, Key, NameRow, Place, StateRow, Value
from snapshots.schema_db import LIVE
from snapshots.tree_at import TreeAt

_REPLAYED = LIVE
"""The first part of the keys of what a replay changed: behind every birth and death, so that the catalogue's rows come first."""


def moment_differences(before: TreeAt, after: TreeAt, cursor: Cursor = START) -> Iterator[tuple[Cursor, Difference]]:
    """Yield what changed from one tree to another (also when that is the earlier one), each with its cursor.

    Both must stay readable while this goes on; the fence of the earlier is not behind that of the later.
    """
    if before.replay is None and after.replay is None:
        yield from differences(before.reader.query, before.reader.store.node, before.sequence, after.sequence, cursor)
        return
    early, late = sorted((before, after), key=lambda tree: tree.sequence)
    rows = MomentDifference(early, late)
    yield from differences_in(rows, rows.recipe_node, backwards=before.sequence > after.sequence, cursor=cursor)


class MomentDifference:
    """Asks two trees of one share, `early` before `late`, whose fences are in the same order."""

    def __init__(self, early: TreeAt, late: TreeAt) -> None:
        """Bind the trees; both must stay readable."""
        self.early, self.late = early.sequence, late.sequence
        self._early, self._late = early, late
        self._rows = DifferenceReader(early.reader.query, early.fence, late.fence)
        self._changed_names = {*early.changed_names(), *late.changed_names()}
        self._changed_nodes = {*early.changed_nodes(), *late.changed_nodes()}
        self._names, self._nodes = sorted(self._changed_names), sorted(self._changed_nodes)

    def names_gone(self, after: Key) -> Iterator[NameRow]:
        """Yield the names that stood at the earlier moment only, behind a key."""
        yield from self._catalogued(self._rows.names_gone(after))
        for place in self._names_behind(after):
            node = self._early.node_at(place)
            if node is not None and node != self._late.node_at(place):
                yield self._name((_REPLAYED, *place), place, node)

    def names_come(self, after: Key) -> Iterator[NameRow]:
        """Yield the names that stand at the later moment only, behind a key."""
        yield from self._catalogued(self._rows.names_come(after))
        for place in self._names_behind(after):
            node = self._late.node_at(place)
            if node is not None and node != self._early.node_at(place):
                yield self._name((_REPLAYED, *place), place, node)

    def states_changed(self, after: Key) -> Iterator[StateRow]:
        """Yield the nodes that may have another state at the later moment, behind a key."""
        for row in self._rows.states_changed(after):
            if row.node not in self._changed_nodes:
                yield from self._state(row.key, row.node)
        start = 0 if after[0] < _REPLAYED else bisect_right(self._nodes, after[1])
        for node in self._nodes[start:]:
            if not _is_same(self._early.bare_state(node), self._late.bare_state(node)):
                yield from self._state((_REPLAYED, node, b""), node)

    def names_of(self, node: int, sequence: int) -> list[Place]:
        """Return all names of a node as of one of the sequences, sorted."""
        return self._tree(sequence).names_of(node)

    def node_at(self, place: Place, sequence: int) -> int | None:
        """Return the node that a name stood for as of one of the sequences."""
        return self._tree(sequence).node_at(place)

    def value_at(self, node: int, sequence: int) -> Value | None:
        """Return what a node was as of one of the sequences, None when it was not there."""
        tree = self._tree(sequence)
        state = tree.state_at(node)
        return None if state is None else _value(state, tree.is_unmade(state))

    def recipe_node(self, digest: Digest) -> bytes | memoryview:
        """Return a recipe node of either tree; raise `Damaged` kinds."""
        for tree in (self._late, self._early):
            own = tree.own_chunk(digest)
            if own is not None:
                return own
        return self._late.reader.store.node(digest)

    def _catalogued(self, rows: Iterator[NameRow]) -> Iterator[NameRow]:
        return (self._name(row.key, row.place, row.node) for row in rows if row.place not in self._changed_names)

    def _names_behind(self, after: Key) -> list[Place]:
        return self._names[0 if after[0] < _REPLAYED else bisect_right(self._names, after[1:]) :]

    def _name(self, key: Key, place: Place, node: int) -> NameRow:
        return NameRow(key, place, node, self.value_at(node, self.early), self.value_at(node, self.late))

    def _state(self, key: Key, node: int) -> Iterator[StateRow]:
        early, late = self.value_at(node, self.early), self.value_at(node, self.late)
        if early is not None and late is not None:
            yield StateRow(key, node, early, late)

    def _tree(self, sequence: int) -> TreeAt:
        return self._early if sequence == self.early else self._late


def _is_same(early: State | None, late: State | None) -> bool:
    """Tell whether one change gave both states; then no content need be made to compare them."""
    if early is None or late is None:
        return True
    return (early.changed, early.size, early.attributes) == (late.changed, late.size, late.attributes)


def _value(state: State, is_unmade: bool) -> Value:
    """Return a state as a value; what cannot be made is like nothing but what the same change made."""
    rest = (state.target, state.device, state.changed if is_unmade else 0)
    return Value(state.kind, state.size, state.content, rest, (state.attributes,))
