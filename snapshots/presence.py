"""Which chunks count as stored: those that whoever names them now can count on.

A chunk is sound when it is in the index, not known to be damaged, not condemned, and the same holds for its base. A recipe
node is whole when it and everything below it is sound. Whatever is found to be so is touched *before* it is looked up whether
it is condemned, and `condemn` looks at the touched ones *after* its commit: one of the two always sees the other.
"""

from collections.abc import Callable, Iterable

from core.digest import Digest
from core.errors import Damaged
from snapshots.index_db import ChunkLookup
from snapshots.pack_format import Location
from snapshots.touched import Touched
from staging.recipe_format import decode_node

_REMEMBERED_NODES = 100_000  # about 10 MB


class Presence:
    """Answers for one store. Any thread may ask, inside the gate."""

    def __init__(
        self,
        index: ChunkLookup,
        lost: set[Digest],
        touched: Touched,
        read_node: Callable[[Digest], bytes | memoryview],
    ) -> None:
        """Bind the index, the set of damaged chunks (kept by others), who hears of touches, and how nodes are read."""
        self._index, self._lost, self._touched, self._read_node = index, lost, touched, read_node
        self._whole: set[Digest] = set()

    def sound(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        """Return where those of the digests stand that are sound."""
        located = self._index.usable(set(digests))
        bases = {location.base for location in located.values() if location.base is not None} - located.keys()
        all_located = located | self._index.usable(bases)
        self._touched.add(all_located)
        gone = self._index.condemned(all_located) | (self._lost & all_located.keys())
        there = all_located.keys() - gone
        return {
            digest: location
            for digest, location in located.items()
            if digest in there and (location.base is None or location.base in there)
        }

    def whole(self, nodes: Iterable[Digest]) -> set[Digest]:
        """Return those of the recipe nodes that are whole. What is known to be is not looked up again."""
        known = self._whole  # taken once: `forget` puts another in its place, and what is found out here is not for that
        return {node for node in nodes if self._is_whole(node, known)}

    def forget(self) -> None:
        """Look every node up again from now on: a mark begins, so all below must be touched again."""
        self._whole = set()

    def whole_put(self) -> Callable[[Iterable[Digest]], None]:
        """Return what remembers nodes as whole: asked for before their children are checked, called when they are kept."""
        known = self._whole

        def remember(nodes: Iterable[Digest]) -> None:
            if len(known) < _REMEMBERED_NODES:
                known.update(nodes)

        return remember

    def _is_whole(self, node: Digest, known: set[Digest]) -> bool:
        if node in known:
            return True
        try:
            level, pieces = decode_node(self._read_node(node))
        except Damaged:
            return False
        children = {piece.digest for piece in pieces if level or not piece.is_hole}
        if len(self.sound(children)) < len(children):
            return False
        if level and not all(self._is_whole(child, known) for child in children):
            return False
        if len(known) >= _REMEMBERED_NODES:
            known.clear()
        known.add(node)
        return True
