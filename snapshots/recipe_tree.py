"""An old content's recipe, entered anywhere: the nodes on the way to a place, and the entries of a level from there on.

Levels count as in the format; the entries of level 0 are chunks and holes. Only nodes that are asked for are fetched, each
is compared with what the entry above says of it, and a few are remembered.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from core.digest import ZERO_DIGEST, Digest
from staging.changes import Chunk, ContentRef
from staging.recipe_format import FetchNode, Piece, read_node

_REMEMBERED_NODES = 32  # the ways to a few neighbouring places; 3 MB of usual nodes


@dataclass(frozen=True, slots=True)
class _OpenNode:
    level: int
    starts: list[int]  # of its entries, from its own start
    entries: list[Piece]


class RecipeTree:
    """One content's pieces and nodes. Without a recipe there are no nodes, and at most one piece."""

    def __init__(self, content: ContentRef, fetch_node: FetchNode) -> None:
        """Look at a content; the top node is fetched when it has one."""
        self._fetch_node = fetch_node
        self._remembered: dict[Digest, _OpenNode] = {}
        self._whole = Piece(content.size, Digest(content.digest)) if content is not None else Piece(0, ZERO_DIGEST)
        self.size = self._whole.length
        self.top_level = -1
        if content is not None and not isinstance(content, Chunk):
            self.top_level = self._opened(self._whole, None).level

    def entry_at(self, level: int, position: int) -> tuple[int, Piece]:
        """Return (start, entry) of the entry of a level that holds a place inside the content."""
        if level > self.top_level:
            return 0, self._whole
        start, node = self._node_at(level, position)
        index = bisect_right(node.starts, position - start) - 1
        return start + node.starts[index], node.entries[index]

    def entries_from(self, level: int, position: int) -> Iterator[tuple[int, Piece]]:
        """Yield (start, entry) of a level from the one that holds `position` on; nothing behind the end."""
        while position < self.size:
            if level > self.top_level:
                yield 0, self._whole
                return
            start, node = self._node_at(level, position)
            for index in range(bisect_right(node.starts, position - start) - 1, len(node.entries)):
                position = start + node.starts[index]
                yield position, node.entries[index]
                position += node.entries[index].length

    def starts_at(self, level: int, position: int) -> bool:
        """Tell whether an entry of the level begins exactly there."""
        return position < self.size and self.entry_at(level, position)[0] == position

    def _node_at(self, level: int, position: int) -> tuple[int, _OpenNode]:
        start, node = 0, self._opened(self._whole, None)
        while node.level > level:
            index = bisect_right(node.starts, position - start) - 1
            start += node.starts[index]
            node = self._opened(node.entries[index], node.level - 1)
        return start, node

    def _opened(self, entry: Piece, level: int | None) -> _OpenNode:
        node = self._remembered.pop(entry.digest, None)
        if node is None or (level is not None and node.level != level) or node.starts[-1] != entry.length:
            found, entries = read_node(entry, level, self._fetch_node)
            node = _OpenNode(found, list(accumulate((piece.length for piece in entries), initial=0)), entries)
            if len(self._remembered) >= _REMEMBERED_NODES:
                del self._remembered[next(iter(self._remembered))]
        self._remembered[entry.digest] = node  # taken out and put behind: the first is the one longest not asked for
        return node
