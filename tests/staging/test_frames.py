"""Frames: golden bytes, every damage refused, bombs refused early, and what a 150-byte write costs."""

import random
import struct
import time

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from core.digest import ZERO_DIGEST, Digest, digest_of
from core.relpath import PathRefused
from staging.changes import (
    Attributes,
    Barrier,
    Change,
    Chunk,
    Consistency,
    Content,
    Create,
    Group,
    Kind,
    Link,
    Mirror,
    Recipe,
    Rename,
    SetAttributes,
    Truncate,
    Unlink,
    Write,
)
from staging.chunk_format import ChunkKind
from staging.frame_format import (
    HEADER_BYTES,
    MAX_UNPACKED_BYTES,
    FrameDamaged,
    FrameTooNew,
    check_frame,
    read_header,
    seal_frame,
    unpack_frame,
)
from staging.references import checked_references

SHARE = bytes(range(16))
PREVIOUS = digest_of(b"the frame before")
ATTRIBUTES = Attributes(0o640, 1000, 100, -1_500_000_000, b"ann", b"users", ((b"user.k", b"\0v"),))
EVERY_KIND: list[Change] = [
    Create(0, Kind.FILE, ATTRIBUTES, Chunk(bytes(32), 5)),
    Create(1, Kind.SYMLINK, ATTRIBUTES, target=b"a\xff"),
    Link(1, 0),
    Write(0, 2**40, b"data"),
    Content(0, Recipe(b"\1" * 32, 10**12), ATTRIBUTES),
    Content(0, None),
    Truncate(0, 7),
    Rename(0, 1, True),
    Unlink(1),
    SetAttributes(0, ATTRIBUTES),
    Barrier("before the upgrade", Consistency.APPLICATION),
    Mirror(True),
    Group((Write(0, 0, b"x"), Rename(0, 1))),
]


def sealed(changes: list[Change], paths: list[bytes] | None = None) -> bytes:
    return seal_frame(SHARE, 3, 17, PREVIOUS, paths or [b"a\xff\n", b"b"], changes)


def test_a_frame_gives_back_what_was_sealed() -> None:
    frame = unpack_frame(sealed(EVERY_KIND))
    assert list(frame.changes) == EVERY_KIND
    assert frame.paths == (b"a\xff\n", b"b")
    assert (frame.header.epoch, frame.header.first_sequence, frame.header.last_sequence) == (3, 17, 29)


def test_golden_frame_is_still_read() -> None:
    """Bytes written by the first release; see docs/formats/frame.md."""
    golden = bytes.fromhex(GOLDEN)
    header = check_frame(golden, SHARE, PREVIOUS)
    frame = unpack_frame(golden, header)
    assert frame.paths == (b"d/\xff",)
    assert frame.changes == (Write(0, 4096, b"hello"), Truncate(0, 5000), Barrier("x"))


GOLDEN = (
    "534b46310100000003000000000000001100000000000000030000002900000020000000de3f00eb1b806b444486e8819cda1525768d0c"
    "bff5abf3b99b0d32f0ed8a963928b52ffd20200101009291c403642fff93940300cd1000c40568656c6c6f930500cd13889309a17801"
)


@given(st.data())
def test_one_altered_bit_anywhere_is_refused(data: st.DataObject) -> None:
    frame = bytearray(sealed(EVERY_KIND))
    position = data.draw(st.integers(0, len(frame) - 1))
    frame[position] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((FrameDamaged, FrameTooNew)):
        check_frame(bytes(frame), SHARE, PREVIOUS)


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 3, -1])
def test_a_truncated_frame_is_refused(length: int) -> None:
    with pytest.raises(FrameDamaged):
        check_frame(sealed(EVERY_KIND)[:length], SHARE, PREVIOUS)


def test_a_frame_of_another_share_or_behind_another_frame_is_refused() -> None:
    frame = sealed(EVERY_KIND)
    with pytest.raises(FrameDamaged, match="hash"):
        check_frame(frame, bytes(16), PREVIOUS)
    with pytest.raises(FrameDamaged, match="hash"):
        check_frame(frame, SHARE, ZERO_DIGEST)


def test_a_newer_format_is_refused_by_name() -> None:
    frame = bytearray(sealed(EVERY_KIND))
    frame[4] = 2
    with pytest.raises(FrameTooNew):
        read_header(frame)


@pytest.mark.parametrize(("offset", "size"), [(8, 8), (16, 8), (24, 4), (28, 4), (32, 4)])
@pytest.mark.parametrize("value", [0, -1, 2**31])
def test_lengths_and_numbers_out_of_bounds_are_refused(offset: int, size: int, value: int) -> None:
    frame = bytearray(sealed(EVERY_KIND))
    mask = 2 ** (8 * size) - 1
    frame[offset : offset + size] = (value & mask).to_bytes(size, "little")
    with pytest.raises(FrameDamaged):
        check_frame(bytes(frame), SHARE, PREVIOUS)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    bomb = zstandard.ZstdCompressor(level=19).compress(bytes(2**30))
    claims = struct.pack("<4sHHQQIII", b"SKF1", 1, 0, 1, 1, 1, len(bomb), MAX_UNPACKED_BYTES) + bytes(32) + bomb
    began = time.monotonic()
    with pytest.raises(FrameDamaged):
        unpack_frame(claims)
    assert time.monotonic() - began < 0.05  # the promise, not a benchmark: a refusal must cost nothing


def test_a_label_that_is_no_text_is_refused() -> None:
    frame = sealed([Barrier("LABEL")])
    unpacked = zstandard.ZstdDecompressor().decompress(frame[HEADER_BYTES:]).replace(b"LABEL", b"\xff\xfe\xed\xa0\x80")
    body = zstandard.ZstdCompressor().compress(unpacked)
    claims = struct.pack("<4sHHQQIII", b"SKF1", 1, 0, 3, 17, 1, len(body), len(unpacked)) + bytes(32) + body
    with pytest.raises(FrameDamaged, match="cannot be read"):
        unpack_frame(claims)


@pytest.mark.parametrize("path", [b"../etc/passwd", b"/abs", b"a//b", b"a/../../b"])
def test_a_path_that_leaves_the_share_is_refused(path: bytes) -> None:
    with pytest.raises(PathRefused):
        unpack_frame(sealed([Unlink(0)], [path]))


def test_a_path_index_behind_the_table_is_refused() -> None:
    for change in (Unlink(2), Rename(0, 9), Link(0, 5), Group((Write(7, 0, b"x"),))):
        with pytest.raises(FrameDamaged, match="names path"):
            checked_references(unpack_frame(sealed([change])))


def test_the_contents_that_a_frame_names_are_found_inside_groups_too() -> None:
    frame = unpack_frame(sealed([Group((Content(0, Chunk(b"c" * 32, 1)),)), Content(0, Recipe(b"r" * 32, 2))]))
    assert checked_references(frame) == {(ChunkKind.DATA, b"c" * 32, 1), (ChunkKind.NODE, b"r" * 32, 2)}


def test_a_write_of_150_bytes_costs_at_most_170_on_the_wire_when_batched() -> None:
    chance = random.Random(7)
    writes: list[Change] = [Write(0, chance.randrange(2**32), chance.randbytes(150)) for _ in range(1000)]
    assert len(seal_frame(SHARE, 1, 1, Digest(bytes(32)), [b"some/long/path/to/a/mailbox.edb"], writes)) <= 170 * 1000
