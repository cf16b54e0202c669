"""Recipes edited as trees: from the entries that changed on one level to the nodes that change on the next.

What stays keeps its place (an edit moves no bytes), so a change of a level is a list of splices: from one old boundary to
another other entries stand. Nodes are cut anew from the start of the first one touched until a cut falls on an old
boundary, level by level: the tree is the one that cutting all entries would give, and only nodes around splices are read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from core.digest import Digest
from snapshots.recipe_tree import RecipeTree
from staging.changes import Chunk, ContentRef, Recipe
from staging.chunk_format import ChunkKind, PackedChunk, pack_chunk
from staging.recipe_format import CutRule, NewNode, Piece, build_nodes, make_node


@dataclass(frozen=True, slots=True)
class Splice:
    """From `start` to `end` these entries stand instead of the old ones; without an end, the content ends behind them."""

    start: int
    end: int | None
    entries: list[Piece]


def edit_recipe(old: RecipeTree, pieces: list[Splice], keep: Callable[[PackedChunk], None], rule: CutRule) -> ContentRef:
    """Return the content that differs from the old one by spliced pieces; its new nodes go to `keep`, lower levels first.

    The splices are in order and do not overlap; there is at least one.
    """
    splices = pieces
    for level in range(old.top_level + 1):
        alone = _alone(old, level, splices)
        if alone is not None:
            return alone
        splices = _LevelEdit(old, level, splices, keep, rule).splices()
    top = old.top_level + 1  # here no entry is left as it was
    return _alone(old, top, splices) or build_nodes(
        merged(old, top, splices), lambda node: keep(pack_chunk(ChunkKind.NODE, node.data, node.address)), rule, top
    )


def merged(old: RecipeTree, level: int, splices: list[Splice]) -> Iterator[Piece]:
    """Yield all entries of a level as they are now."""
    return (piece for _, piece in _Merge(old, level, splices).entries(0, 0))


def _alone(old: RecipeTree, level: int, splices: list[Splice]) -> ContentRef:
    """Return the content whose only chunk, or whose top, is the one entry left on a level; None when there are more or none."""
    end = splices[-1].end
    if end is not None and end < old.size and level <= old.top_level:
        return None  # behind a new entry an old one stands
    first = list(islice(merged(old, level, splices), 2))
    if len(first) != 1 or (level == 0 and first[0].is_hole):
        return None
    only = first[0]
    return Recipe(only.digest, only.length) if level else Chunk(only.digest, only.length)


class _Merge:
    """The entries of one level, old and spliced, from any place on."""

    def __init__(self, old: RecipeTree, level: int, splices: list[Splice]) -> None:
        self._old, self._level, self._splices = old, level, splices
        self.following = 0  # the first splice not yet begun

    def entries(self, position: int, following: int) -> Iterator[tuple[int, Piece]]:
        """Yield (position behind, entry) from an old boundary on; `following` is the first splice from there on."""
        self.following = following
        while self.following < len(self._splices):
            splice = self._splices[self.following]
            while position < splice.start:
                for start, entry in self._old.entries_from(self._level, position):
                    position = start + entry.length
                    yield position, entry
                    if position >= splice.start:
                        break
            self.following += 1
            position = splice.start
            for entry in splice.entries:
                position += entry.length
                yield position, entry
            if splice.end is None:
                return
        for start, entry in self._old.entries_from(self._level, position):
            yield start + entry.length, entry


class _LevelEdit:
    """Cuts the nodes of one level anew around the splices of its entries."""

    def __init__(
        self, old: RecipeTree, level: int, splices: list[Splice], keep: Callable[[PackedChunk], None], rule: CutRule
    ) -> None:
        self._old, self._level, self._splices, self._keep, self._rule = old, level, splices, keep, rule
        self._merge = _Merge(old, level, splices)

    def splices(self) -> list[Splice]:
        """Return how the nodes of this level change: the splices of the level above."""
        found = []
        following = 0
        while following < len(self._splices):
            found.append(self._recut(following))
            following = self._merge.following
        return found

    def _recut(self, following: int) -> Splice:
        start = behind = self._first_touched(self._splices[following])
        nodes: list[Piece] = []
        entries: list[Piece] = []
        for position, entry in self._merge.entries(start, following):
            entries.append(entry)
            if self._rule.ends(len(entries), entry):
                nodes.append(self._made(behind, entries))
                entries, behind = [], position
                if self._merge.following > following and self._is_in_step(position):
                    return Splice(start, position, nodes)
        if entries:
            nodes.append(self._made(behind, entries))
        return Splice(start, None, nodes)

    def _first_touched(self, splice: Splice) -> int:
        """Return the start of the old node that a splice touches: the last one, which only the end of the content had ended,
        when the splice begins there.
        """
        return self._old.entry_at(self._level + 1, min(splice.start, self._old.size - 1))[0]

    def _is_in_step(self, position: int) -> bool:
        """Tell whether from here on, where a new node has ended, nodes are as they were up to the next splice."""
        last = self._splices[self._merge.following - 1]
        return last.end is not None and position >= last.end and self._old.starts_at(self._level + 1, position)

    def _made(self, start: int, entries: list[Piece]) -> Piece:
        node = make_node(self._level, start, entries)
        replaced = self._node_before(node)
        if replaced != node.address:
            self._keep(pack_chunk(ChunkKind.NODE, node.data, node.address, replaced))
        return Piece(node.length, node.address)

    def _node_before(self, node: NewNode) -> Digest:
        """Return the old node of this level in whose place a new one begins, the last one behind the old end."""
        return self._old.entry_at(self._level + 1, min(node.start, self._old.size - 1))[1].digest
