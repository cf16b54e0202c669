"""How long the contents below recipe nodes are, and of how many pieces: a node's own bytes tell, so it is remembered for good."""

from collections.abc import Callable

from core.digest import Digest
from staging.recipe_format import decode_node

NodeSpan = tuple[int, int, int]
"""(level, bytes below, pieces below) of a recipe node; a data chunk stands one level below the lowest."""

DATA_LEVEL = -1
_REMEMBERED_SPANS = 50_000  # about 6 MB


class NodeSpans:
    """How much stands below stored recipe nodes, remembered. Any thread may ask."""

    def __init__(self, fetch_node: Callable[[Digest], bytes | memoryview]) -> None:
        self._fetch_node = fetch_node
        self._known: dict[Digest, NodeSpan] = {}

    def of(self, digest: Digest) -> NodeSpan:
        """Return a node's span; raise `ChunkLost`, or `RecipeDamaged` for a chunk that is no node."""
        found = self._known.get(digest)
        if found is None:
            level, pieces = decode_node(self._fetch_node(digest))
            below = {piece.digest: self.of(piece.digest)[2] for piece in pieces} if level else {}
            found = (level, sum(piece.length for piece in pieces), sum(below.get(piece.digest, 1) for piece in pieces))
            if len(self._known) >= _REMEMBERED_SPANS:
                self._known.clear()
            self._known[digest] = found
        return found
