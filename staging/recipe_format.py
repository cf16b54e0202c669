"""Recipes: a content as a tree of nodes, each a list of (length, digest) cut by content.

A node (docs/formats/recipe.md, little endian): magic "SKR1", u8 level, u8 zero, u16 count of entries; then per entry
u64 length, 32 bytes digest. On level 0 an entry is a chunk, or a hole when its digest is all zeros; above, a node one
level lower. A node ends behind an entry whose length and digest say so (about every 256th), never on position, so
that a change in a large file makes a few new nodes. Nodes are made and read one by one: nothing here holds a recipe.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import starmap

from msgspec import Struct

from core.digest import ZERO_DIGEST, Digest
from core.errors import Damaged
from staging.changes import Chunk, ContentRef, Recipe
from staging.chunk_format import ChunkKind, PackedChunk, address_of, pack_chunk

MAGIC = b"SKR1"
MAX_ENTRIES = 2048  # 82 KB a node
MAX_LEVEL = 7

_HEAD = struct.Struct("<4sBBH")
_ENTRY = struct.Struct("<Q32s")


class RecipeDamaged(Damaged):
    """A recipe node is none, or does not fit its place."""


class Piece(Struct, frozen=True, gc=False):
    """One entry of a recipe: `length` bytes; the zero digest is a hole."""

    length: int
    digest: Digest

    @property
    def is_hole(self) -> bool:
        """Tell whether these bytes are zeros that take no space."""
        return self.digest == ZERO_DIGEST


def encode_node(level: int, pieces: list[Piece]) -> bytes:
    """Return a node's bytes."""
    return _HEAD.pack(MAGIC, level, 0, len(pieces)) + b"".join(_ENTRY.pack(p.length, p.digest) for p in pieces)


def decode_node(data: bytes | memoryview) -> tuple[int, list[Piece]]:
    """Return (level, entries) of a node; raise `RecipeDamaged`."""
    if len(data) < _HEAD.size:
        raise RecipeDamaged("a recipe node is cut short")
    magic, level, zero, count = _HEAD.unpack_from(data)
    if (
        magic != MAGIC
        or zero
        or level > MAX_LEVEL
        or not 1 <= count <= MAX_ENTRIES
        or len(data) != _HEAD.size + count * _ENTRY.size
    ):
        raise RecipeDamaged("bytes that should be a recipe node are none")
    return level, list(starmap(Piece, _ENTRY.iter_unpack(memoryview(data)[_HEAD.size :])))


@dataclass(frozen=True, slots=True)
class CutRule:
    """Where a node ends, by what its last entry is. The format has one such rule; others serve to look at small trees."""

    min_entries: int = 32
    max_entries: int = MAX_ENTRIES
    every: int = 256  # entries on average behind the least

    def ends(self, count: int, last: Piece) -> bool:
        """Tell whether a node of so many entries ends behind its last one."""
        if count < self.min_entries:
            return False
        mark = last.digest[0] or (last.length >> 12 if last.is_hole else 0)
        return mark % self.every == 0 or count >= self.max_entries


RULE = CutRule()


def build_recipe(
    pieces: Iterable[Piece], replaced: Iterable[Piece] = (), rule: CutRule = RULE
) -> tuple[ContentRef, list[PackedChunk]]:
    """Return the content that these pieces make, and the nodes to store (each behind those below it).

    `replaced` are the pieces of the content that this one replaces: each node names the one that stood in its place.
    """
    before = _NodesBefore(replaced, rule)
    nodes: list[PackedChunk] = []

    def keep(node: NewNode) -> None:
        nodes.append(pack_chunk(ChunkKind.NODE, node.data, node.address, before.in_place_of(node)))

    content = build_nodes(pieces, keep, rule)
    return content, nodes


@dataclass(frozen=True, slots=True)
class NewNode:
    """A node that was made: where its bytes begin in the content, and how many they are."""

    level: int
    start: int
    length: int
    data: bytes
    address: Digest


def make_node(level: int, start: int, entries: list[Piece]) -> NewNode:
    """Return the node that lists these entries."""
    data = encode_node(level, entries)
    return NewNode(level, start, sum(entry.length for entry in entries), data, address_of(ChunkKind.NODE, data))


def build_nodes(entries: Iterable[Piece], keep: Callable[[NewNode], None], rule: CutRule = RULE, level: int = 0) -> ContentRef:
    """Give all nodes above these entries of a level to `keep`, each behind those below it, and return the content.

    Holds one unfinished node of each level.
    """
    lowest = _OpenLevel(level, keep, rule)
    only, count = None, 0
    for entry in entries:
        if entry.length:
            only, count = entry, count + 1
            lowest.add(entry)
    if only is None:
        return None
    if count == 1 and level == 0 and not only.is_hole:
        return Chunk(only.digest, only.length)
    top = lowest.finish()
    return Recipe(top.digest, top.length)


class _OpenLevel:
    """The last, unfinished node of one level."""

    def __init__(self, level: int, keep: Callable[[NewNode], None], rule: CutRule) -> None:
        self._level, self._keep, self._rule = level, keep, rule
        self._entries: list[Piece] = []
        self._start = self._made = 0
        self._last = Piece(0, ZERO_DIGEST)
        self._above: _OpenLevel | None = None

    def add(self, entry: Piece) -> None:
        self._entries.append(entry)
        if self._rule.ends(len(self._entries), entry):
            self._close()

    def finish(self) -> Piece:
        """End all levels and return the top: the first node that is alone on its level."""
        if self._entries:
            self._close()
        return self._last if self._made == 1 or self._above is None else self._above.finish()

    def _close(self) -> None:
        node = make_node(self._level, self._start, self._entries)
        self._keep(node)
        self._entries = []
        self._start += node.length
        self._made += 1
        self._last = Piece(node.length, node.address)
        if self._above is None:
            self._above = _OpenLevel(self._level + 1, self._keep, self._rule)
        self._above.add(self._last)


class _NodesBefore:
    """The nodes of the content before, by level and place."""

    def __init__(self, pieces: Iterable[Piece], rule: CutRule) -> None:
        self._starts: dict[int, list[int]] = {}
        self._addresses: dict[int, list[Digest]] = {}
        build_nodes(pieces, self._note, rule)

    def in_place_of(self, node: NewNode) -> Digest:
        """Return the node of the same level that stood where this one begins; zeros when there is none or it is the same."""
        starts = self._starts.get(node.level)
        if not starts:
            return ZERO_DIGEST
        found = self._addresses[node.level][bisect_right(starts, node.start) - 1]
        return found if found != node.address else ZERO_DIGEST

    def _note(self, node: NewNode) -> None:
        self._starts.setdefault(node.level, []).append(node.start)
        self._addresses.setdefault(node.level, []).append(node.address)


FetchNode = Callable[[Digest], bytes | memoryview]
"""Gives a recipe node's bytes, compared with their address; so no node can stand below itself."""


def read_pieces(content: ContentRef, fetch_node: FetchNode) -> Iterator[Piece]:
    """Yield the chunks and holes of a content in order; raise `RecipeDamaged` at the first node that does not fit."""
    for _, piece in read_pieces_from(content, 0, fetch_node):
        yield piece


def read_pieces_from(content: ContentRef, offset: int, fetch_node: FetchNode) -> Iterator[tuple[int, Piece]]:
    """Yield (offset of the piece, piece) from the piece that holds `offset` on, visiting only the nodes needed."""
    if content is None or offset >= content.size:
        return
    if isinstance(content, Chunk):
        yield 0, Piece(content.size, Digest(content.digest))
        return
    top = Piece(content.size, Digest(content.digest))
    yield from _walk(top, None, 0, offset, fetch_node)


def read_node(entry: Piece, level: int | None, fetch_node: FetchNode) -> tuple[int, list[Piece]]:
    """Return (level, entries that have a length) of the node that an entry names, once it is as the entry says."""
    found, entries = decode_node(fetch_node(entry.digest))
    if level is not None and found != level:
        raise RecipeDamaged(f"a recipe node of level {found} stands where level {level} belongs")
    total = sum(piece.length for piece in entries)
    if total != entry.length:
        raise RecipeDamaged(f"a recipe node adds up to {total} bytes instead of {entry.length}")
    return found, [piece for piece in entries if piece.length]


def _walk(entry: Piece, expected: int | None, start: int, offset: int, fetch_node: FetchNode) -> Iterator[tuple[int, Piece]]:
    level, entries = read_node(entry, expected, fetch_node)
    for piece in entries:
        if start + piece.length > offset:
            if level:
                yield from _walk(piece, level - 1, start, offset, fetch_node)
            else:
                yield start, piece
        start += piece.length
