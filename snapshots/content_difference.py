"""How many bytes of a content are new against an earlier one: two recipes compared node by node, equal nodes not opened.

What is counted are the chunks of the new content that the changed parts of the old one do not have; each once, holes never.
A chunk that moved from an unchanged part of a large file into a changed one counts as new: to know better would mean to read
both recipes whole.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from core.digest import ZERO_DIGEST, Digest
from staging.changes import Chunk, ContentRef
from staging.recipe_format import Piece, decode_node

_REMEMBERED_CHUNKS = 200_000  # of the old content, around the place compared: about 30 MB, 13 GB of content
_AHEAD_BYTES = 4 * 1024**3  # how far the old content is read ahead of the new: what was moved back by less is found

Fetch = Callable[[Digest], bytes | memoryview]
Placed = tuple[int, Piece]
"""(offset in the content, piece)"""

_CHUNKS = -1


@dataclass(slots=True)
class _Level:
    """The pieces of a content on one level of its recipe; `level` -1 are chunks."""

    level: int
    pieces: list[Placed]

    def digests(self) -> set[Digest]:
        return {piece.digest for _, piece in self.pieces}

    def without(self, digests: set[Digest]) -> "_Level":
        return _Level(self.level, [placed for placed in self.pieces if placed[1].digest not in digests])


def different_bytes(before: ContentRef, after: ContentRef, fetch_node: Fetch) -> int:
    """Return the bytes of the chunks that `after` has and `before` has not."""
    if before == after:
        return 0
    old, new = _top(before, fetch_node), _top(after, fetch_node)
    while max(old.level, new.level) > 0:
        level = max(old.level, new.level)
        if old.level == new.level:
            both = old.digests() & new.digests()
            old, new = old.without(both), new.without(both)
        old = _opened(old, fetch_node) if old.level == level else old
        new = _opened(new, fetch_node) if new.level == level else new
    if old.level == new.level:
        both = old.digests() & new.digests()
        old, new = old.without(both), new.without(both)
    return _new_bytes(old, new, fetch_node)


def new_digests(befores: Sequence[ContentRef], after: ContentRef, fetch_node: Fetch, named: set[Digest]) -> set[Digest]:
    """Return the chunks and nodes of `after` that none of `befores` has in its changed parts.

    What is looked at of `befores` is put into `named`: chunks and nodes that something names.
    """
    olds, new = [_top(before, fetch_node) for before in befores], _top(after, fetch_node)
    found: set[Digest] = set()
    while True:
        level = max(new.level, *(old.level for old in olds)) if olds else new.level
        here = set().union(*(old.digests() for old in olds if old.level == level))
        named |= here
        if new.level == level:
            found |= new.digests() - here
            both = new.digests() & here
            new = new.without(both)
            olds = [old.without(both) if old.level == level else old for old in olds]
        if level == _CHUNKS:
            return found - named - {ZERO_DIGEST}
        new = _opened(new, fetch_node) if new.level == level else new
        olds = [_opened(old, fetch_node) if old.level == level else old for old in olds]


def named_digests(content: ContentRef, fetch_node: Fetch, opened: set[Digest]) -> Iterator[Digest]:
    """Yield the chunks and nodes that a content names, but for what stands below nodes that were opened before."""
    if content is None:
        return
    todo = [Digest(content.digest)]
    yield todo[0]
    while todo and not isinstance(content, Chunk):
        node = todo.pop()
        if node in opened:
            continue
        if len(opened) >= _REMEMBERED_CHUNKS:
            opened.clear()  # what was opened may be opened again: only slower
        opened.add(node)
        level, pieces = decode_node(fetch_node(node))
        yield from (piece.digest for piece in pieces if piece.digest != ZERO_DIGEST)
        todo += [piece.digest for piece in pieces] if level else []


def _top(content: ContentRef, fetch_node: Fetch) -> _Level:
    if content is None:
        return _Level(_CHUNKS, [])
    piece = Piece(content.size, Digest(content.digest))
    if isinstance(content, Chunk):
        return _Level(_CHUNKS, [(0, piece)])
    return _Level(decode_node(fetch_node(piece.digest))[0], [(0, piece)])


def _opened(level: _Level, fetch_node: Fetch) -> _Level:
    """Return the nodes one level lower, each once."""
    found: dict[Digest, Placed] = {}
    for start, node in level.pieces:
        for piece in decode_node(fetch_node(node.digest))[1]:
            found.setdefault(piece.digest, (start, piece))
            start += piece.length
    return _Level(level.level - 1, list(found.values()))


def _chunks(level: _Level, fetch_node: Fetch) -> Iterator[Placed]:
    """Yield the chunks below the lowest nodes, node by node."""
    if level.level == _CHUNKS:
        yield from level.pieces
        return
    for start, node in level.pieces:
        for piece in decode_node(fetch_node(node.digest))[1]:
            if not piece.is_hole:
                yield start, piece
            start += piece.length


def _new_bytes(old: _Level, new: _Level, fetch_node: Fetch) -> int:
    """Go through both in order; remembered are the old chunks around the place and the new ones that were counted."""
    known: dict[Digest, None] = {}
    behind = _chunks(old, fetch_node)
    upcoming = next(behind, None)
    total = 0
    for start, piece in _chunks(new, fetch_node):
        while upcoming is not None and upcoming[0] <= start + _AHEAD_BYTES:
            _remember(known, upcoming[1].digest)
            upcoming = next(behind, None)
        if piece.digest not in known:
            total += piece.length
            _remember(known, piece.digest)
    return total


def _remember(known: dict[Digest, None], digest: Digest) -> None:
    known[digest] = None
    if len(known) > _REMEMBERED_CHUNKS:
        del known[next(iter(known))]
