"""Editing recipes as trees: the same root as building anew, and no more nodes touched than stand around the change."""

import random
from collections.abc import Callable, Iterator
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.digest import ZERO_DIGEST, Digest, digest_of
from snapshots.content_edit import edit_content
from snapshots.edits import Edits
from snapshots.recipe_edit import Splice, edit_recipe, merged
from snapshots.recipe_tree import RecipeTree
from staging.changes import Chunk, ContentRef, Recipe
from staging.chunk_format import MAX_CHUNK_BYTES, ChunkKind, PackedChunk, address_of, checked_bytes, pack_chunk
from staging.chunking import MIN_HOLE_BYTES, cut_blocks
from staging.recipe_format import (
    CutRule,
    Piece,
    RecipeDamaged,
    build_recipe,
    decode_node,
    encode_node,
    read_pieces,
    read_pieces_from,
)

SMALL = CutRule(min_entries=2, max_entries=9, every=3)
GIB = 1024**3


class Shelf:
    """Chunks by address; counts what is fetched from it, by level (data: -1)."""

    def __init__(self, rule: CutRule = SMALL) -> None:
        self.rule = rule
        self.chunks: dict[Digest, bytes] = {}
        self.fetched: list[int] = []
        self.kept: list[PackedChunk] = []

    def keep(self, chunk: PackedChunk) -> None:
        self.kept.append(chunk)
        self.chunks[chunk.digest] = bytes(checked_bytes(chunk))

    def data(self, digest: Digest) -> bytes:
        self.fetched.append(-1)
        return self.chunks[digest]

    def node(self, digest: Digest) -> bytes:
        self.fetched.append(self.chunks[digest][4])
        return self.chunks[digest]

    def build(self, pieces: list[Piece]) -> ContentRef:
        content, nodes = build_recipe(pieces, (), self.rule)
        for node in nodes:
            self.keep(node)
        return content

    def cut(self, data: bytes) -> ContentRef:
        pieces = []
        for run in cut_blocks([data]):
            pieces.append(Piece(run, ZERO_DIGEST) if isinstance(run, int) else Piece(len(run), digest_of(run)))
            if not isinstance(run, int):
                self.keep(pack_chunk(ChunkKind.DATA, run))
        return self.build(pieces)

    def edit(self, content: ContentRef, edits: Edits) -> ContentRef:
        self.fetched, self.kept = [], []
        return edit_content(content, edits, self.data, self.node, self.keep, self.rule)

    def levels_kept(self) -> list[int]:
        return [self.chunks[chunk.digest][4] if chunk.kind is ChunkKind.NODE else -1 for chunk in self.kept]


def some_pieces(chance: random.Random, total: int) -> list[Piece]:
    """Return pieces that add up to `total`, never two holes in a row."""
    pieces: list[Piece] = []
    while total:
        length = min(chance.choice([1, 2, 4096 * chance.randrange(1, 9)]), total)
        hole = chance.random() < 0.2 and not (pieces and pieces[-1].is_hole)
        pieces.append(Piece(length, ZERO_DIGEST if hole else Digest(chance.randbytes(32))))
        total -= length
    return pieces


def some_splices(chance: random.Random, pieces: list[Piece]) -> list[Splice]:
    bounds = [0]
    for piece in pieces:
        bounds.append(bounds[-1] + piece.length)
    places = sorted(chance.sample(bounds, min(2 * chance.randrange(1, 6), len(bounds) // 2 * 2)))
    splices = []
    for start, end in zip(places[::2], places[1::2], strict=True):
        splices.append(Splice(start, end, some_pieces(chance, end - start)))
    if not splices or chance.random() < 0.4:
        start = chance.choice([bound for bound in bounds if not splices or bound >= (splices[-1].end or 0)])
        splices.append(Splice(start, None, some_pieces(chance, chance.choice([0, 0, 1, 20_000, 500_000]))))
    return splices


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([0, 1, 5, 100_000, 1_000_000, 4_000_000]))
def test_a_spliced_recipe_is_the_one_that_building_it_anew_gives(seed: int, total: int) -> None:
    chance, shelf = random.Random(seed), Shelf()
    pieces = some_pieces(chance, total)
    content = shelf.build(pieces)
    splices = some_splices(chance, pieces)
    tree = RecipeTree(content, shelf.node)
    expected = list(merged(tree, 0, splices))
    edited = edit_recipe(tree, splices, shelf.keep, SMALL)
    assert edited == Shelf().build(expected)
    assert list(read_pieces(edited, shelf.node)) == expected


fills = st.tuples(
    st.sampled_from([b"noise", b"\0", b"x"]), st.sampled_from([1, 150, 5000, 30_000, 64 * 1024, 66_000, 200_000, 400_000])
)


def filled(kind: bytes, size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size) if kind == b"noise" else kind * size


@settings(max_examples=250, deadline=None)
@given(st.lists(fills, max_size=8), st.integers(0, 9), st.data())
def test_edit_after_edit_a_content_is_the_one_that_cutting_it_anew_gives(
    parts: list[tuple[bytes, int]], seed: int, choice: st.DataObject
) -> None:
    """Places are chosen around the boundaries of the pieces, where a hole may grow, shrink, vanish or come to be."""
    data = bytearray(b"".join(filled(kind, size, seed + number) for number, (kind, size) in enumerate(parts)))
    shelf = Shelf()
    content = shelf.cut(bytes(data))
    for _ in range(choice.draw(st.integers(1, 3), "rounds")):
        bounds = [0, len(data)]
        for piece in read_pieces(content, shelf.node):
            bounds.append(bounds[-1] + piece.length if len(bounds) > 2 else piece.length)
        edits = Edits(len(data))
        for number in range(choice.draw(st.integers(1, 5), "changes")):
            near = st.sampled_from([-MIN_HOLE_BYTES, -5000, -150, -1, 0, 1, 150, 5000, MIN_HOLE_BYTES])
            place = max(choice.draw(st.sampled_from(bounds)) + choice.draw(near), 0)
            if choice.draw(st.integers(0, 5)) == 0:
                edits.truncate(place)
                del data[place:]
                data.extend(bytes(place - len(data)))
                continue
            piece = filled(*choice.draw(fills), seed + number)
            edits.write(place, piece)
            data.extend(bytes(max(place - len(data), 0)))
            data[place : place + len(piece)] = piece
        content = shelf.edit(content, edits)
        whole = Shelf()
        assert content == whole.cut(bytes(data))
        assert list(read_pieces(content, shelf.node)) == list(read_pieces(content, whole.node))
        assert all(piece.is_hole or piece.digest in shelf.chunks for piece in read_pieces(content, shelf.node))


def cut_places(shelf: Shelf, content: ContentRef) -> list[int]:
    return list(accumulate(piece.length for piece in read_pieces(content, shelf.node)))


@pytest.mark.parametrize("behind", [0, 1])
def test_a_write_right_behind_a_cut_may_move_the_cut(behind: int) -> None:
    data = bytearray(random.Random(0).randbytes(300_000))
    for number in range(256):
        shelf = Shelf()
        content = shelf.cut(bytes(data))
        place = cut_places(shelf, content)[1] + behind
        data[place] = number
        edits = Edits(len(data))
        edits.write(place, bytes([number]))
        assert shelf.edit(content, edits) == Shelf().cut(bytes(data))


@pytest.mark.parametrize("left", [0, 1, 2, 3])
def test_a_cut_needs_two_bytes_behind_it_before_the_end_and_before_a_hole(left: int) -> None:
    data = random.Random(0).randbytes(300_000)
    shelf = Shelf()
    content = shelf.cut(data)
    for place in cut_places(shelf, content)[:-1]:
        shorter, hollow = Edits(len(data)), Edits(len(data))
        shorter.truncate(place + left)
        hollow.write(place + left, bytes(MIN_HOLE_BYTES))
        assert shelf.edit(content, shorter) == Shelf().cut(data[: place + left])
        after = data[: place + left] + bytes(MIN_HOLE_BYTES) + data[place + left + MIN_HOLE_BYTES :]
        assert shelf.edit(content, hollow) == Shelf().cut(after)


@pytest.mark.parametrize("before", [100, 20_000, 50_000])
@pytest.mark.parametrize("rest", [b"\0", b"x"])
def test_zeros_across_a_cut_become_a_hole_that_begins_in_the_chunk_before(before: int, rest: bytes) -> None:
    """The cutter ends the first chunk at its longest, amid 60 000 zeros."""
    zeros_from, longest = MAX_CHUNK_BYTES - before, MAX_CHUNK_BYTES
    data = b"x" * zeros_from + bytes(60_000) + random.Random(1).randbytes(200_000)
    shelf = Shelf()
    content = shelf.cut(data)
    assert cut_places(shelf, content)[0] == longest
    for place in (zeros_from + 60_000, longest, longest + 1):
        edits = Edits(len(data))
        edits.write(place, bytes(20_000) + rest)
        after = data[:place] + bytes(20_000) + rest + data[place + 20_001 :]
        assert shelf.edit(content, edits) == Shelf().cut(after)


def islands(count: int, spread: int) -> tuple[Shelf, ContentRef]:
    """Return a file of `count` chunks that lie `spread` bytes apart in a hole."""
    shelf, chance = Shelf(CutRule()), random.Random(7)
    pieces = []
    for _ in range(count):
        data = chance.randbytes(9000)
        shelf.keep(pack_chunk(ChunkKind.DATA, data))
        pieces += [Piece(9000, digest_of(data)), Piece(spread - 9000, ZERO_DIGEST)]
    return shelf, shelf.build(pieces)


@pytest.mark.parametrize("place", [0, 50 * GIB, 50 * GIB + 3_000_000, 50 * GIB + 8_000, 100 * GIB - 150, 100 * GIB, 150 * GIB])
def test_a_small_write_into_a_sparse_file_of_100_gib_touches_a_handful_of_nodes(place: int) -> None:
    count = 12_800
    shelf, content = islands(count, 100 * GIB // count)
    assert content is not None and content.size == 100 * GIB
    edits = Edits(content.size)
    edits.write(place, b"w" * 150)
    edited = shelf.edit(content, edits)
    assert edited is not None and edited.size == max(100 * GIB, place + 150)
    assert_few(shelf)
    assert sum(piece.length for piece in read_pieces(edited, shelf.node)) == edited.size


def test_a_hole_of_100_gib_alone_takes_one_node() -> None:
    shelf = Shelf(CutRule())
    content = shelf.build([Piece(100 * GIB, ZERO_DIGEST)])
    edits = Edits(100 * GIB)
    edits.write(50 * GIB, b"w" * 150)
    edited = shelf.edit(content, edits)
    lengths = [piece.length for piece in read_pieces(edited, shelf.node)]
    assert lengths == [50 * GIB, 150, 50 * GIB - 150] and shelf.levels_kept() == [-1, 0]


def assert_few(shelf: Shelf) -> None:
    assert shelf.fetched.count(-1) <= 4
    for level in range(8):
        assert shelf.fetched.count(level) <= 4 and shelf.levels_kept().count(level) <= 4, f"level {level}"
    assert shelf.levels_kept().count(-1) <= 3
    nodes = [chunk for chunk in shelf.kept if chunk.kind is ChunkKind.NODE]
    assert nodes and all(node.replaces in shelf.chunks for node in nodes[:1])


@pytest.fixture(scope="module")
def million() -> tuple[Shelf, Recipe, Callable[[Digest], bytes]]:
    """A recipe of a million average chunks: the same bytes over and over, each chunk with an address of its own."""
    chance, shelf = random.Random(11), Shelf(CutRule())
    datas = cycle(chance.randbytes(8_000_000))
    pieces = []
    for number in range(1_000_000):
        place = number % len(datas)
        pieces.append(Piece(len(datas[place]), Digest(chance.randbytes(24) + place.to_bytes(8, "big"))))
    content = shelf.build(pieces)
    assert isinstance(content, Recipe)

    def fetch(digest: Digest) -> bytes:
        shelf.fetched.append(-1)
        return datas[int.from_bytes(digest[24:], "big")]

    return shelf, content, fetch


def cycle(data: bytes) -> list[bytes]:
    """Return the chunks into which the bytes are cut that repeat without end, from one cut to the same one round later."""
    runs = [bytes(run) for run in cut_blocks([data * 3]) if not isinstance(run, int)]
    ends = list(accumulate(len(run) for run in runs))
    first, last = next((place, ends.index(end + len(data))) for place, end in enumerate(ends) if end + len(data) in ends)
    return runs[first + 1 : last + 1]


@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.77, 1.0])
def test_a_small_write_into_a_million_pieces_touches_a_handful_of_nodes(
    million: tuple[Shelf, Recipe, Callable[[Digest], bytes]], part: float
) -> None:
    shelf, content, fetch = million
    edits = Edits(content.size)
    edits.write(int((content.size - 150) * part), b"w" * 150)
    shelf.fetched, shelf.kept = [], []
    edited = edit_content(content, edits, fetch, shelf.node, shelf.keep)
    assert edited is not None and edited.digest != content.digest and edited.size == content.size
    assert_few(shelf)
    assert [chunk.kind for chunk in shelf.kept] == sorted((chunk.kind for chunk in shelf.kept), key=int)
    for chunk in shelf.kept:
        assert chunk.replaces != ZERO_DIGEST


def test_work_grows_with_the_writes_and_not_with_the_recipe(million: tuple[Shelf, Recipe, Callable[[Digest], bytes]]) -> None:
    """What is fetched is what may be held: a tree remembers no more than 32 nodes of it at a time."""
    shelf, content, fetch = million
    edits = Edits(content.size)
    chance = random.Random(3)
    for _ in range(50):
        edits.write(chance.randrange(content.size), b"w" * 150)
    edits.truncate(content.size - 5_000_000)
    edits.truncate(content.size + 10 * GIB)
    shelf.fetched, shelf.kept = [], []
    edited = edit_content(content, edits, fetch, shelf.node, shelf.keep)
    assert edited is not None and edited.size == content.size + 10 * GIB
    assert shelf.fetched.count(-1) <= 51 * 4 and len(shelf.kept) <= 51 * 6
    assert sum(level >= 0 for level in shelf.fetched) <= 51 * 8


def test_a_file_written_over_as_a_whole_is_not_read() -> None:
    shelf = Shelf()
    content = shelf.cut(random.Random(1).randbytes(3_000_000))
    edits = Edits(3_000_000)
    edits.write(0, random.Random(2).randbytes(3_000_000))
    assert shelf.edit(content, edits) == Shelf().cut(random.Random(2).randbytes(3_000_000))
    assert shelf.fetched.count(-1) == 0


def test_a_change_names_the_chunk_and_the_nodes_that_it_replaces() -> None:
    shelf = Shelf()
    data = random.Random(1).randbytes(3_000_000)
    content = shelf.cut(data)
    edits = Edits(len(data))
    edits.write(1_500_000, b"w" * 150)
    old = dict(way_to(shelf, content, 1_500_000))
    edited = shelf.edit(content, edits)
    new = dict(way_to(shelf, edited, 1_500_000))
    replaced = {chunk.digest: chunk.replaces for chunk in shelf.kept}
    assert {level: replaced[digest] for level, digest in new.items()} == old and len(old) > 2


def way_to(shelf: Shelf, content: ContentRef, position: int) -> Iterator[tuple[int, Digest]]:
    """Yield (level, address) of the nodes and the chunk (-1) that hold a byte."""
    tree = RecipeTree(content, shelf.node)
    for level in range(tree.top_level + 2):
        yield level - 1, tree.entry_at(level, position)[1].digest


def test_writing_what_stands_there_keeps_nothing_new() -> None:
    shelf = Shelf()
    data = random.Random(1).randbytes(1_000_000)
    content = shelf.cut(data)
    edits = Edits(len(data))
    edits.write(500_000, data[500_000:500_150])
    assert shelf.edit(content, edits) == content and shelf.kept == []
    assert shelf.edit(content, Edits(len(data))) == content and shelf.kept == []


def node(level: int, entries: list[Piece]) -> tuple[Piece, bytes]:
    data = encode_node(level, entries)
    return Piece(sum(entry.length for entry in entries), address_of(ChunkKind.NODE, data)), data


LEAF, LEAF_DATA = node(0, [Piece(100, Digest(b"a" * 32)), Piece(50, ZERO_DIGEST)])
DAMAGED = {
    "a level is left out": (2, [LEAF]),
    "an entry is longer than its node": (1, [Piece(151, LEAF.digest)]),
    "an entry is shorter than its node": (1, [LEAF, Piece(149, LEAF.digest)]),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_every_reader_refuses_a_tree_that_does_not_fit(what: str) -> None:
    level, entries = DAMAGED[what]
    top, data = node(level, entries)
    chunks = {LEAF.digest: LEAF_DATA, top.digest: data}
    content = Recipe(top.digest, top.length)
    with pytest.raises(RecipeDamaged):
        list(read_pieces(content, chunks.__getitem__))
    with pytest.raises(RecipeDamaged):
        list(read_pieces_from(content, top.length - 1, chunks.__getitem__))
    edits = Edits(top.length)
    edits.write(top.length - 1, b"w")
    with pytest.raises(RecipeDamaged):
        edit_content(content, edits, chunks.__getitem__, chunks.__getitem__, [].append)


def test_a_content_that_gives_another_size_than_its_recipe_is_refused() -> None:
    chunks = {LEAF.digest: LEAF_DATA}
    for size in (149, 151):
        with pytest.raises(RecipeDamaged, match="adds up"):
            next(read_pieces_from(Recipe(LEAF.digest, size), 0, chunks.__getitem__))
        with pytest.raises(RecipeDamaged, match="adds up"):
            RecipeTree(Recipe(LEAF.digest, size), chunks.__getitem__)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_a_tree_that_no_one_would_cut_so_is_still_edited_to_the_right_bytes(seed: int) -> None:
    """Holes side by side, chunks of one byte, entries without a length, nodes of one entry, needless levels."""
    chance, chunks = random.Random(seed), dict[Digest, bytes]()
    content, entries = bytearray(), list[Piece]()
    for _ in range(chance.randrange(1, 30)):
        data = chance.choice([bytes(chance.choice([0, 1, 70_000])), chance.randbytes(chance.choice([1, 20_000]))])
        content += data
        digest = ZERO_DIGEST if not any(data) else digest_of(data)
        chunks[digest] = data
        entries.append(Piece(len(data), digest))
    level = 0
    while len(entries) > 1 or level < 3:
        above = []
        while entries:
            count = chance.randrange(1, 6)
            entry, encoded = node(level, entries[:count])
            chunks[entry.digest] = encoded
            above.append(entry)
            del entries[:count]
        entries, level = above, level + 1
        if level == 7:
            break
    if len(entries) > 1 or not content:
        return
    shelf = Shelf()
    shelf.chunks = chunks
    edits = Edits(len(content))
    for _ in range(3):
        place = chance.randrange(len(content) + 10)
        piece = chance.choice([b"w" * 150, bytes(66_000)])
        edits.write(place, piece)
        content.extend(bytes(max(place - len(content), 0)))
        content[place : place + len(piece)] = piece
    edited = shelf.edit(Recipe(entries[0].digest, entries[0].length), edits)
    found = b"".join(bytes(p.length) if p.is_hole else shelf.data(p.digest) for p in read_pieces(edited, shelf.node))
    assert found == content


def test_nodes_made_one_by_one_hold_to_the_rule() -> None:
    shelf = Shelf()
    content = shelf.build(some_pieces(random.Random(5), 3_000_000))
    assert content is not None
    for chunk in shelf.kept:
        _, entries = decode_node(shelf.chunks[chunk.digest])
        assert len(entries) <= SMALL.max_entries
        assert not any(SMALL.ends(count, entries[count - 1]) for count in range(1, len(entries)))
    assert isinstance(content, Recipe) and not isinstance(content, Chunk)
