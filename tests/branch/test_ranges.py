"""Ranges: what a look sends of a changed file is what changed, and makes the same content out of the old one."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from branch.block_sums import SUM_BYTES, WINDOW_BYTES, BlockSums, block_bytes_for, differing
from branch.contents import ReadContent, encode_content, read_content, whole_windows
from branch.pieces import OldPieces, encode_pieces
from branch.ranges import MAX_RANGE_BYTES, read_ranges
from branch.signature import NOTHING_EARLIER, Earlier, Signature, SignatureWriter, Signing
from core.digest import Digest
from snapshots.content_edit import edit_content
from snapshots.edits import Edits
from staging.changes import Chunk
from staging.chunk_format import ChunkKind, PackedChunk, checked_bytes
from staging.recipe_format import Piece

SHARE_ID = bytes(range(16))
KIB = 1024


class Pages:
    """Pages in a dict."""

    def __init__(self) -> None:
        self.kept: dict[tuple[int, int], bytes] = {}

    def begin(self) -> int:
        return max((number for number, _ in self.kept), default=0) + 1

    def add_page(self, number: int, page: int, sums: bytes) -> None:
        self.kept[number, page] = sums

    def page(self, number: int, page: int) -> bytes:
        return self.kept.get((number, page), b"")

    def drop(self, number: int) -> None:
        self.kept = {key: sums for key, sums in self.kept.items() if key[0] != number}

    def of(self, number: int) -> list[bytes]:
        return [sums for (owner, _), sums in sorted(self.kept.items()) if owner == number]


class Sink:
    """Takes everything; `at_window` is called before each window of a longer file."""

    def __init__(self) -> None:
        self.stored: dict[tuple[ChunkKind, Digest], bytes] = {}
        self.at_window: Callable[[], None] = lambda: None

    def chunk(self, digest: Digest, data: bytes | memoryview, replaces: Digest) -> None:
        self.stored[ChunkKind.DATA, digest] = bytes(data)

    def nodes(self, nodes: list[PackedChunk]) -> None:
        for node in nodes:
            self.stored[node.kind, node.digest] = bytes(checked_bytes(node))

    def check(self) -> None:
        self.at_window()


class File:
    """A file as the agent and the appliance know it, in step as long as every reading is applied."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self.path = folder / "file"
        self.pages, self.sink = Pages(), Sink()
        self.signing = Signing(BlockSums(SHARE_ID), self.pages)
        self.path.write_bytes(data)
        self.earlier = NOTHING_EARLIER
        self.take(self.read_whole())

    def read_whole(self) -> ReadContent:
        with self.path.open("rb") as file:
            writer = SignatureWriter(self.signing)
            return read_content(file.fileno(), os.fstat(file.fileno()), self.sink, self.earlier, writer)

    def read_ranges(self) -> ReadContent | None:
        with self.path.open("rb") as file:
            windows = whole_windows(file.fileno(), os.fstat(file.fileno()), self.sink)
            return read_ranges(windows, self.earlier, self.signing)

    def take(self, read: ReadContent) -> None:
        encoded = encode_content(read.content)
        pieces = read.pieces
        if not pieces and isinstance(read.content, Chunk):
            pieces = encode_pieces([Piece(read.content.size, Digest(read.content.digest))])
        made = read.signature
        for page, length, spots in made.patches if made is not None else ():
            assert made is not None
            sums = bytearray(self.pages.page(made.signature.number, page)[:length].ljust(length, b"\0"))
            for place, part in spots:
                sums[place : place + len(part)] = part
            self.pages.add_page(made.signature.number, page, bytes(sums))
        self.content = read.content
        self.earlier = Earlier(pieces, encoded, made.signature if made is not None else None)

    def folded(self, read: ReadContent) -> object:
        """Return what the appliance makes of a reading."""
        written = read.written
        assert written is not None
        edits = Edits(written.old_size)
        if written.needs_truncate:
            edits.truncate(written.size)
        for offset, data in written.writes:
            edits.write(offset, data)
        stored = self.sink.stored
        fetch = lambda kind: lambda digest: stored[kind, digest]  # noqa: E731
        made: list[PackedChunk] = []
        content = edit_content(self.content, edits, fetch(ChunkKind.DATA), fetch(ChunkKind.NODE), made.append)
        for chunk in made:
            stored[chunk.kind, chunk.digest] = bytes(checked_bytes(chunk))
        return content


def fresh_signature(file: File) -> list[bytes]:
    other = Pages()
    writer = SignatureWriter(Signing(BlockSums(SHARE_ID), other))
    with file.path.open("rb") as opened:
        read = read_content(opened.fileno(), os.fstat(opened.fileno()), Sink(), NOTHING_EARLIER, writer)
    return other.of(read.signature.signature.number) if read.signature is not None else []


def write(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


places = st.integers(0, 900 * KIB)
edits = st.one_of(
    st.tuples(st.just("write"), places, st.integers(1, 2000)),
    st.tuples(st.just("zeros"), places, st.integers(1, 100 * KIB)),
    st.tuples(st.just("append"), st.integers(1, 4000), st.just(0)),
    st.tuples(st.just("truncate"), st.integers(60 * KIB, 1400 * KIB), st.just(0)),
    st.tuples(st.just("insert"), places, st.integers(1, 600)),
)


def edit(path: Path, verb: str, one: int, other: int, random: Random) -> None:
    if verb == "write":
        write(path, one, random.randbytes(other))
    elif verb == "zeros":
        write(path, one, bytes(other))
    elif verb == "append":
        write(path, path.stat().st_size, random.randbytes(one))
    elif verb == "truncate":
        os.truncate(path, one)
    else:
        data = path.read_bytes()
        path.write_bytes(data[:one] + random.randbytes(other) + data[one:])


@settings(max_examples=60, deadline=None)
@given(size=st.integers(66 * KIB, 1000 * KIB), rounds=st.lists(st.lists(edits, max_size=4), max_size=5), seed=st.integers(0, 99))
def test_ranges_make_the_new_content_of_the_old_one(
    tmp_path_factory: pytest.TempPathFactory, size: int, rounds: list[list[tuple[str, int, int]]], seed: int
) -> None:
    random = Random(seed)
    file = File(tmp_path_factory.mktemp("ranges"), random.randbytes(size // 2) + bytes(size - size // 2))
    for verbs in rounds:
        for verb, one, other in verbs:
            edit(file.path, verb, one, other, random)
        read = file.read_ranges()
        if read is None:
            read = file.read_whole()
        else:
            assert file.folded(read) == read.content
        whole = file.read_whole()
        assert whole.content == read.content
        if whole.signature is not None:
            file.pages.drop(whole.signature.signature.number)
        file.take(read)
        if file.earlier.signature is not None:
            assert file.pages.of(file.earlier.signature.number)[: len(fresh_signature(file))] == fresh_signature(file)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[File]:
    yield File(tmp_path, Random(1).randbytes(9_000_000))


def test_a_small_write_takes_at_most_two_blocks(file: File) -> None:
    random = Random(2)
    for _ in range(20):
        write(file.path, random.randrange(8_999_000), random.randbytes(150))
        read = file.read_ranges()
        assert read is not None and read.written is not None
        assert 1 <= sum(len(data) for _, data in read.written.writes) <= 1024
        assert not read.written.needs_truncate
        file.take(read)


def test_appended_bytes_alone_are_sent_of_an_append(file: File) -> None:
    for count in (1, 511, 700):
        size = file.path.stat().st_size
        write(file.path, size, b"x" * count)
        read = file.read_ranges()
        assert read is not None and read.written is not None
        assert read.written.writes == ((size, b"x" * count),)
        file.take(read)


def test_a_file_extended_with_zeros_sends_no_bytes(file: File) -> None:
    os.truncate(file.path, 12_000_001)
    read = file.read_ranges()
    assert read is not None and read.written is not None
    assert read.written.writes == () and read.written.needs_truncate and read.written.size == 12_000_001
    assert file.folded(read) == read.content


def test_what_stayed_the_same_is_nothing_to_write(file: File) -> None:
    os.utime(file.path)
    read = file.read_ranges()
    assert read is not None and read.written is not None and read.written.writes == ()
    assert encode_content(read.content) == file.earlier.content


def test_an_insertion_goes_by_chunks(file: File) -> None:
    data = file.path.read_bytes()
    file.path.write_bytes(data[:8_500_000] + b"x" + data[8_500_000:])
    assert file.read_ranges() is None


def test_more_than_a_frame_holds_goes_by_chunks(tmp_path: Path) -> None:
    size = 24_000_000
    file = File(tmp_path, Random(1).randbytes(size))
    for offset in range(0, size, 1 + size // (MAX_RANGE_BYTES // 512)):
        write(file.path, offset, b"x")
    assert file.read_ranges() is not None
    for offset in range(2000, size, size // (MAX_RANGE_BYTES // 512)):
        write(file.path, offset, b"x")
    assert file.read_ranges() is None


def test_a_chunk_that_changed_where_no_block_did_is_not_believed(file: File) -> None:
    """As when two blocks have one sum: the page is made to say that the changed block was as it is."""
    write(file.path, 5_000_000, b"x" * 100)
    signature = file.earlier.signature
    assert signature is not None
    with file.path.open("rb") as opened:
        os.lseek(opened.fileno(), WINDOW_BYTES, os.SEEK_SET)
        lying = BlockSums(SHARE_ID).of(os.read(opened.fileno(), WINDOW_BYTES), signature.block_bytes)
    file.pages.add_page(signature.number, 1, lying)
    assert file.read_ranges() is None
    write(file.path, 100, b"another change, elsewhere")
    assert file.read_ranges() is None


def test_a_signature_with_a_page_missing_serves_nothing(file: File) -> None:
    assert file.earlier.signature is not None
    del file.pages.kept[file.earlier.signature.number, 2]
    write(file.path, 0, b"x")
    assert file.read_ranges() is None


def test_ranges_are_of_the_bytes_that_were_compared(file: File) -> None:
    """What is written to the file behind the place of reading is not sent now, and found by the next look."""
    first = file.path.read_bytes()
    passed: list[int] = []

    def change_what_was_passed() -> None:
        passed.append(1)
        write(file.path, 10, b"%d" % len(passed))

    write(file.path, 8_999_990, b"end")
    file.sink.at_window = change_what_was_passed
    read = file.read_ranges()
    assert read is not None and read.written is not None and len(passed) > 2
    assert file.folded(read) == read.content
    sent = bytearray(first)
    for offset, data in read.written.writes:
        sent[offset : offset + len(data)] = data
    assert sent[10:11] == b"1" and sent[8_999_990:8_999_993] == b"end"
    file.take(read)
    file.sink.at_window = lambda: None
    read = file.read_ranges()
    assert read is not None and read.written is not None and [offset for offset, _ in read.written.writes] == [0]
    assert file.folded(read) == read.content == file.read_whole().content


def test_sums_tell_where_two_contents_differ() -> None:
    sums, random = BlockSums(SHARE_ID), Random(3)
    old = random.randbytes(100_000)
    new = bytearray(old)
    for place in (0, 511, 70_000, 99_999):
        new[place] ^= 1
    assert list(differing(sums.of(old, 512), sums.of(bytes(new), 512))) == [0, 136, 195]
    assert list(differing(sums.of(old[:700], 512), sums.of(old[:1200], 512))) == [1, 2]
    assert len(sums.of(old, 512)) == SUM_BYTES * 196
    assert sums.of(old, 512) != BlockSums(SHARE_ID[::-1]).of(old, 512)


def test_blocks_grow_with_the_file_and_signatures_stay_small() -> None:
    assert [block_bytes_for(size) for size in (1, 1024**3, 1024**3 + 1, 4 * 1024**3 + 1, 2**40, 2**50)] == [
        512, 512, 1024, 2048, 16384, 16384,
    ]  # fmt: skip
    for size in (900_000_000, 5 * 10**9, 10**12):
        assert size // block_bytes_for(size) * SUM_BYTES <= size / 60
    assert Signature(1, 0, 512).serves(4 * 1024**3) and not Signature(1, 0, 512).serves(4 * 1024**3 + 1)


def test_a_chunk_made_of_ranges_is_not_believed_to_be_held() -> None:
    one, other = Digest(b"a" * 32), Digest(b"b" * 32)
    old = OldPieces(encode_pieces([Piece(5, one), Piece(6, other)], {other}))
    assert old.pieces == [Piece(5, one), Piece(6, other)]
    assert one in old and other in old and old.never_put == {other}
