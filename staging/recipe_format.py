"""Recipes: a content as a tree of nodes, each a list of (length, digest) cut by content.

A node (docs/formats/recipe.md, little endian): magic "SKR1", u8 level, u8 zero, u16 count of entries; then per entry
u64 length, 32 bytes digest. On level 0 an entry is a chunk, or a hole when its digest is all zeros; above, a node one
level lower. A node ends behind an entry whose length and digest say so (about every 256th), never on position, so
that a change in a large file makes a few new nodes.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from core.digest import ZERO_DIGEST, Digest
from core.errors import Damaged
from staging.changes import Chunk, ContentRef, Recipe
from staging.chunk_format import ChunkKind, PackedChunk, address_of, pack_chunk

MAGIC = b"SKR1"
MAX_ENTRIES = 2048  # 82 KB a node
_CUT_EVERY = 256
_MIN_ENTRIES = 32
MAX_LEVEL = 7

_HEAD = struct.Struct("<4sBBH")
_ENTRY = struct.Struct("<Q32s")


class RecipeDamaged(Damaged):
    """A recipe node is none, or does not fit its place."""


@dataclass(frozen=True, slots=True)
class Piece:
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
    return level, [Piece(length, Digest(digest)) for length, digest in _ENTRY.iter_unpack(memoryview(data)[_HEAD.size :])]


def build_recipe(pieces: Iterable[Piece], replaced: Iterable[Piece] = ()) -> tuple[ContentRef, list[PackedChunk]]:
    """Return the content that these pieces make, and the nodes to store (lower levels first).

    `replaced` are the pieces of the content that this one replaces: each node names the one that stood in its place.
    """
    entries = _entries(pieces)
    size = sum(piece.length for piece in entries)
    if not entries:
        return None, []
    if len(entries) == 1 and not entries[0].is_hole:
        return Chunk(entries[0].digest, size), []
    before = _NodesBefore(replaced)
    nodes: list[PackedChunk] = []
    top = ZERO_DIGEST
    for node in _tree(entries):
        top = node.address
        nodes.append(pack_chunk(ChunkKind.NODE, node.data, node.address, before.in_place_of(node)))
    return Recipe(top, size), nodes


@dataclass(frozen=True, slots=True)
class _Node:
    level: int
    start: int
    data: bytes
    address: Digest


def _tree(entries: list[Piece]) -> Iterator[_Node]:
    """Yield the nodes of a recipe, lower levels first, the top last."""
    level = 0
    while True:
        above: list[Piece] = []
        start = 0
        for group in _cut(entries):
            data = encode_node(level, group)
            node = _Node(level, start, data, address_of(ChunkKind.NODE, data))
            yield node
            above.append(Piece(sum(piece.length for piece in group), node.address))
            start += above[-1].length
        if len(above) == 1:
            return
        entries, level = above, level + 1


class _NodesBefore:
    """The nodes of the content before, by level and place."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        self._starts: dict[int, list[int]] = {}
        self._addresses: dict[int, list[Digest]] = {}
        entries = _entries(pieces)
        for node in _tree(entries) if len(entries) > 1 else ():
            self._starts.setdefault(node.level, []).append(node.start)
            self._addresses.setdefault(node.level, []).append(node.address)

    def in_place_of(self, node: _Node) -> Digest:
        """Return the node of the same level that stood where this one begins; zeros when there is none or it is the same."""
        starts = self._starts.get(node.level)
        if not starts:
            return ZERO_DIGEST
        found = self._addresses[node.level][bisect_right(starts, node.start) - 1]
        return found if found != node.address else ZERO_DIGEST


def _entries(pieces: Iterable[Piece]) -> list[Piece]:
    return [piece for piece in pieces if piece.length]


def read_pieces(content: ContentRef, fetch_node: Callable[[Digest], bytes | memoryview]) -> Iterator[Piece]:
    """Yield the chunks and holes of a content in order; `fetch_node` gives a node's checked bytes."""
    if content is None:
        return
    if isinstance(content, Chunk):
        yield Piece(content.size, Digest(content.digest))
        return
    total = 0
    for piece in _walk(Digest(content.digest), None, fetch_node):
        total += piece.length
        yield piece
    if total != content.size:
        raise RecipeDamaged(f"a recipe adds up to {total} bytes instead of {content.size}")


def read_pieces_from(
    content: ContentRef, offset: int, fetch_node: Callable[[Digest], bytes | memoryview]
) -> Iterator[tuple[int, Piece]]:
    """Yield (offset of the piece, piece) from the piece that holds `offset` on, visiting only the nodes needed."""
    if content is None or offset >= content.size:
        return
    if isinstance(content, Chunk):
        yield 0, Piece(content.size, Digest(content.digest))
        return
    yield from _seek(Digest(content.digest), 0, offset, fetch_node)


def _seek(
    digest: Digest, start: int, offset: int, fetch_node: Callable[[Digest], bytes | memoryview]
) -> Iterator[tuple[int, Piece]]:
    level, entries = decode_node(fetch_node(digest))
    for piece in entries:
        if start + piece.length > offset:
            if level:
                yield from _seek(piece.digest, start, offset, fetch_node)
            else:
                yield start, piece
        start += piece.length


def _walk(digest: Digest, expected_level: int | None, fetch_node: Callable[[Digest], bytes | memoryview]) -> Iterator[Piece]:
    level, entries = decode_node(fetch_node(digest))
    if expected_level is not None and level != expected_level:
        raise RecipeDamaged(f"a recipe node of level {level} stands where level {expected_level} belongs")
    if level == 0:
        yield from entries
        return
    for entry in entries:
        yield from _walk(entry.digest, level - 1, fetch_node)


def _cut(entries: list[Piece]) -> Iterator[list[Piece]]:
    group: list[Piece] = []
    for entry in entries:
        group.append(entry)
        ends = (entry.digest[0] if not entry.is_hole else entry.length >> 12) % _CUT_EVERY == 0
        if (ends and len(group) >= _MIN_ENTRIES) or len(group) == MAX_ENTRIES:
            yield group
            group = []
    if group:
        yield group
