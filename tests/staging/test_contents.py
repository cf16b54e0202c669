"""Cutting, recipes, editing: the same bytes give the same names however they came to be."""

import random
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.digest import ZERO_DIGEST, Digest, digest_of
from snapshots.content_edit import edit_content
from snapshots.edits import Edits
from staging.changes import Chunk, ContentRef, Recipe
from staging.chunk_format import (
    MAX_CHUNK_BYTES,
    ChunkDamaged,
    ChunkKind,
    Form,
    PackedChunk,
    address_of,
    checked_bytes,
    pack_chunk,
    read_items,
    unpack_chunk,
)
from staging.chunking import BLOCK_BYTES, MIN_HOLE_BYTES, cut_blocks
from staging.recipe_format import Piece, RecipeDamaged, build_recipe, decode_node, read_pieces, read_pieces_from

parts = st.one_of(
    st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 99), st.integers(1, 300_000)),
    st.builds(bytes, st.integers(1, 400_000)),
    st.builds(lambda byte, size: bytes([byte]) * size, st.integers(1, 255), st.integers(1, 70_000)),
)
contents = st.lists(parts, max_size=5).map(b"".join)


def cut(data: bytes, block: int, gather_bytes: int = BLOCK_BYTES) -> list[bytes | int]:
    runs = cut_blocks([data[i : i + block] for i in range(0, len(data), block)], gather_bytes)
    return [run if isinstance(run, int) else bytes(run) for run in runs]


@settings(max_examples=80, deadline=None)
@given(contents, st.integers(1000, 500_000), st.integers(1, 600_000))
def test_cuts_do_not_depend_on_how_the_blocks_fall(data: bytes, block: int, gather_bytes: int) -> None:
    runs = cut(data, max(len(data), 1))
    assert cut(data, block) == runs
    assert cut(data, block, gather_bytes) == runs
    assert b"".join(bytes(run) if isinstance(run, int) else run for run in runs) == data
    assert all(isinstance(run, int) or len(run) <= MAX_CHUNK_BYTES for run in runs)


@settings(max_examples=60, deadline=None)
@given(contents)
def test_exactly_the_zero_runs_of_64_kib_and_more_are_holes(data: bytes) -> None:
    runs, start = [], None
    for position, byte in enumerate(data + b"\1"):
        if byte == 0 and start is None:
            start = position
        elif byte and start is not None:
            runs.append(position - start)
            start = None
    assert [run for run in cut(data, 100_000) if isinstance(run, int)] == [r for r in runs if r >= MIN_HOLE_BYTES]


@pytest.mark.parametrize("block", [BLOCK_BYTES, BLOCK_BYTES - 1, BLOCK_BYTES // 3, 70_001])
def test_cuts_of_a_long_content_do_not_depend_on_how_its_blocks_fall(block: int) -> None:
    data = random.Random(1966).randbytes(2 * BLOCK_BYTES + 12_345)
    assert cut(data, block) == cut(data, len(data), 2 * len(data))


def test_long_blocks_are_cut_where_they_stand() -> None:
    block = random.Random(7).randbytes(BLOCK_BYTES)
    tracemalloc.start()
    try:
        for run in cut_blocks([block] * 4):
            assert isinstance(run, int) or len(run) <= MAX_CHUNK_BYTES
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_CHUNK_BYTES
    finally:
        tracemalloc.stop()


def test_golden_cuts() -> None:
    """The cuts of a known content, as the first release made them: a cutter that cuts otherwise ends all deduplication."""
    data = random.Random(2005).randbytes(600_000)
    assert [len(run) for run in cut(data, 600_000) if not isinstance(run, int)] == GOLDEN_CUTS
    assert digest_of(data).hex()[:16] == GOLDEN_DIGEST


GOLDEN_CUTS = [16855, 71002, 183211, 56963, 74820, 71668, 125481]
GOLDEN_DIGEST = "513fca64240b18f8"


class Shelf:
    """Chunks by address, as a store would give them."""

    def __init__(self) -> None:
        self.chunks: dict[Digest, bytes] = {}

    def keep(self, chunks: list[PackedChunk]) -> None:
        self.chunks.update((chunk.digest, bytes(checked_bytes(chunk))) for chunk in chunks)

    def fetch(self, digest: Digest) -> bytes:
        return self.chunks[digest]

    def build(self, data: bytes) -> ContentRef:
        pieces = []
        for run in cut(data, 1 << 20):
            if isinstance(run, int):
                pieces.append(Piece(run, ZERO_DIGEST))
            else:
                self.keep([pack_chunk(ChunkKind.DATA, run)])
                pieces.append(Piece(len(run), digest_of(run)))
        content, nodes = build_recipe(pieces)
        self.keep(nodes)
        return content

    def read(self, content: ContentRef) -> bytes:
        return b"".join(bytes(p.length) if p.is_hole else self.fetch(p.digest) for p in read_pieces(content, self.fetch))


writes = st.tuples(st.integers(0, 900_000), st.one_of(st.binary(min_size=1, max_size=300), parts))
edits = st.lists(st.one_of(writes, st.integers(0, 900_000)), min_size=1, max_size=8)


@settings(max_examples=120, deadline=None)
@given(contents, edits)
def test_an_edited_content_is_the_one_that_cutting_the_whole_would_give(data: bytes, changes: list[object]) -> None:
    shelf = Shelf()
    content = shelf.build(data)
    pending, expected = Edits(len(data)), bytearray(data)
    for change in changes:
        if isinstance(change, tuple):
            offset, piece = change
            pending.write(offset, piece)
            expected.extend(bytes(max(offset - len(expected), 0)))
            expected[offset : offset + len(piece)] = piece
        elif isinstance(change, int):
            pending.truncate(change)
            del expected[change:]
            expected.extend(bytes(change - len(expected)))
    chunks: list[PackedChunk] = []
    edited = edit_content(content, pending, shelf.fetch, shelf.fetch, chunks.append)
    shelf.keep(chunks)
    assert shelf.read(edited) == bytes(expected) and pending.size == len(expected)
    assert edited == Shelf().build(bytes(expected))


def test_a_small_write_in_a_large_content_makes_few_chunks() -> None:
    shelf = Shelf()
    data = random.Random(1).randbytes(20_000_000)
    pending = Edits(len(data))
    pending.write(9_000_000, b"x" * 150)
    chunks: list[PackedChunk] = []
    edit_content(shelf.build(data), pending, shelf.fetch, shelf.fetch, chunks.append)
    assert sum(chunk.kind is ChunkKind.DATA for chunk in chunks) <= 3


def pieces_of(count: int, seed: int = 1) -> Iterator[Piece]:
    chance = random.Random(seed)
    for _ in range(count):
        yield Piece(chance.randint(1, 100_000), Digest(chance.randbytes(32)))


@pytest.mark.parametrize("count", [0, 1, 2, 300, 30_000])
def test_a_recipe_gives_back_its_pieces_and_can_be_entered_anywhere(count: int) -> None:
    pieces = list(pieces_of(count))
    content, nodes = build_recipe(pieces)
    shelf = Shelf()
    shelf.keep(nodes)
    assert list(read_pieces(content, shelf.fetch)) == pieces
    starts = [0]
    for piece in pieces:
        starts.append(starts[-1] + piece.length)
    for index in range(0, count, max(count // 7, 1)):
        start, found = next(read_pieces_from(content, starts[index] + pieces[index].length - 1, shelf.fetch))
        assert (start, found) == (starts[index], pieces[index])
    assert list(read_pieces_from(content, starts[-1], shelf.fetch)) == []


def test_one_changed_piece_changes_few_nodes() -> None:
    pieces = list(pieces_of(100_000))
    _, before = build_recipe(pieces)
    pieces[50_000] = Piece(7, Digest(b"n" * 32))
    _, after = build_recipe(pieces)
    assert len({node.digest for node in after} - {node.digest for node in before}) <= 4


def test_forms_of_a_content() -> None:
    piece = Piece(10, Digest(b"a" * 32))
    assert build_recipe([])[0] is None
    assert build_recipe([piece])[0] == Chunk(piece.digest, 10)
    hole, nodes = build_recipe([Piece(100_000, ZERO_DIGEST)])
    assert isinstance(hole, Recipe) and hole.size == 100_000 and len(nodes) == 1


@given(st.binary(max_size=200))
def test_bytes_that_are_no_recipe_node_are_refused(data: bytes) -> None:
    with pytest.raises(RecipeDamaged):
        decode_node(data)


def test_a_recipe_that_adds_up_wrongly_is_damage() -> None:
    content, nodes = build_recipe(list(pieces_of(5)))
    shelf = Shelf()
    shelf.keep(nodes)
    assert isinstance(content, Recipe)
    with pytest.raises(RecipeDamaged, match="adds up"):
        list(read_pieces(Recipe(content.digest, content.size + 1), shelf.fetch))


def test_nodes_and_data_have_addresses_of_their_own() -> None:
    assert address_of(ChunkKind.DATA, b"same") != address_of(ChunkKind.NODE, b"same")


def test_what_does_not_shrink_is_kept_raw() -> None:
    noise, text = random.Random(3).randbytes(50_000), b"text " * 10_000
    assert pack_chunk(ChunkKind.DATA, noise).form is Form.RAW
    packed = pack_chunk(ChunkKind.DATA, text)
    assert packed.form is Form.ZSTD and len(packed.data) < 200
    assert checked_bytes(packed) == text


@given(st.binary(min_size=1, max_size=300))
def test_a_body_of_rubbish_is_never_taken_for_chunks(body: bytes) -> None:
    with pytest.raises(ChunkDamaged):
        for chunk in read_items(body):
            checked_bytes(chunk)


@pytest.mark.parametrize(("form", "size"), [(9, 10), (1, 0), (1, MAX_CHUNK_BYTES + 1), (0, 11)])
def test_wrong_forms_and_sizes_are_refused(form: int, size: int) -> None:
    with pytest.raises(ChunkDamaged):
        unpack_chunk(form, size, b"0123456789")


def test_a_packed_chunk_holds_no_more_memory_than_its_bytes() -> None:
    data = bytes(200_000)
    pack_chunk(ChunkKind.DATA, data)  # makes the compressor
    tracemalloc.start()
    try:
        chunks = [pack_chunk(ChunkKind.DATA, data) for _ in range(20)]
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < sum(len(chunk.data) for chunk in chunks) + 20 * 2000
