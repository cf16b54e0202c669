"""The frames and the archive of a backup: any cut, any damage, flat memory."""

import random
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.backup_archive import ArchiveReader, Contents, FileChanged, Member, Source, list_members, write_archive
from appliance.backup_format import FRAME_BYTES, TAG_BYTES, BackupDamaged, decode_head, open_frames, seal_frames
from core.digest import digest_of

KEY = bytes(range(32))
SIZES = st.one_of(st.integers(1, 100), st.sampled_from([FRAME_BYTES - 1, FRAME_BYTES, FRAME_BYTES + 1, 2 * FRAME_BYTES]))


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def opened(sealed: bytes, size: int = 100_000) -> bytes:
    return b"".join(open_frames(cut(sealed, size), KEY))


@settings(max_examples=30, deadline=None)
@given(SIZES, st.integers(50_000, 3_000_000), st.integers(50_000, 3_000_000))
def test_frames_give_back_what_they_hold_however_they_are_cut(size: int, written: int, read: int) -> None:
    data = random.Random(size).randbytes(size)
    sealed = b"".join(seal_frames(cut(data, written), KEY))
    frames = -(-size // FRAME_BYTES)
    assert len(sealed) == size + frames * TAG_BYTES
    assert opened(sealed, read) == data


def test_frames_cut_off_exchanged_repeated_or_changed_do_not_open() -> None:
    frame = FRAME_BYTES + TAG_BYTES
    sealed = b"".join(seal_frames([bytes(3 * FRAME_BYTES + 5)], KEY))
    wrong = {
        "cut behind a frame": sealed[: 2 * frame],
        "cut inside a frame": sealed[:-1],
        "no frame": b"",
        "exchanged": sealed[frame : 2 * frame] + sealed[:frame] + sealed[2 * frame :],
        "repeated": sealed[:frame] + sealed,
        "continued": sealed + sealed[-21:],
        "one bit": sealed[:-30] + bytes((sealed[-30] ^ 1,)) + sealed[-29:],
    }
    for what, bytes_ in wrong.items():
        with pytest.raises(BackupDamaged, match="frame"):
            opened(bytes_)
            raise AssertionError(what)
    with pytest.raises(BackupDamaged):
        b"".join(open_frames([sealed], bytes(32)))


@given(st.binary(max_size=200))
def test_nothing_but_a_head_is_taken_for_one(data: bytes) -> None:
    for wrong in (data, b"SKB1" + data):
        with pytest.raises(BackupDamaged):
            decode_head(wrong)


def sources(folder: Path, *contents: bytes) -> list[Source]:
    found = []
    for number, content in enumerate(contents):
        path = folder / str(number)
        path.write_bytes(content)
        found.append(Source(f"audit/{number:016d}.audit", path, len(content)))
    return found


def archive(folder: Path, *contents: bytes) -> bytes:
    taken = sources(folder, *contents)
    listed = Contents(1, bytes(16), 5, list_members(taken))
    return b"".join(write_archive(listed, taken, lambda done: None))


def read(data: bytes, size: int = 1000) -> list[bytes]:
    return [b"".join(blocks) for _, blocks in ArchiveReader(cut(data, size)).files()]


def test_an_archive_gives_back_its_files(tmp_path: Path) -> None:
    contents = [b"", b"one", bytes(5_000_000), random.Random(1).randbytes(2_500_000), b""]
    assert read(archive(tmp_path, *contents)) == contents
    assert read(archive(tmp_path, *contents), 10_000_000) == contents


def test_a_file_that_grows_meanwhile_is_taken_as_it_was_and_one_that_changes_is_refused(tmp_path: Path) -> None:
    taken = sources(tmp_path, b"entries")
    listed = Contents(1, bytes(16), 5, list_members(taken))
    taken[0].path.write_bytes(b"entries and more")
    assert read(b"".join(write_archive(listed, taken, lambda done: None))) == [b"entries"]
    for changed in (b"Entries and more", b"entr"):
        taken[0].path.write_bytes(changed)
        with pytest.raises(FileChanged):
            list(write_archive(listed, taken, lambda done: None))


def packed(members: list[Member], data: bytes) -> bytes:
    listed = msgspec.msgpack.encode(Contents(1, bytes(16), 5, members))
    return zlib.compress(len(listed).to_bytes(4, "little") + listed + data)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "db/../x", "tls/../key.pem", "tls/.hidden", "run/lock", "", "db/index.db", "/x"]
)
def test_an_archive_may_hold_only_files_of_an_appliance(name: str) -> None:
    with pytest.raises(BackupDamaged, match="no file of an appliance"):
        read(packed([Member(name, 1, digest_of(b"x"))], b"x"))


def test_an_archive_that_does_not_add_up_is_refused() -> None:
    one = Member("tls/key.pem", 3, digest_of(b"key"))
    assert read(packed([one], b"key")) == [b"key"]
    for members, data in [([one], b"ke"), ([one], b"keys"), ([one], b"kex"), ([], b"key"), ([one, one], b"key")]:
        with pytest.raises(BackupDamaged):
            read(packed(members, data))
    with pytest.raises(BackupDamaged):
        read(packed([one], b"key")[:-3])
    with pytest.raises(BackupDamaged):
        read(packed([one], b"key") + b"more")
    with pytest.raises(BackupDamaged, match="too long"):
        read(zlib.compress((2**31).to_bytes(4, "little") + bytes(100)))


def test_a_large_file_is_never_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        for number in range(48):
            file.write(random.Random(number).randbytes(1024 * 1024))
    taken = [Source("audit/0000000000000001.audit", path, path.stat().st_size)]

    def through() -> Iterator[int]:
        listed = Contents(1, bytes(16), 5, list_members(taken))
        sealed = seal_frames(write_archive(listed, taken, lambda done: None), KEY)
        for _, blocks in ArchiveReader(open_frames(sealed, KEY)).files():
            yield from map(len, blocks)

    tracemalloc.start()
    try:
        assert sum(through()) == 48 * 1024 * 1024
        assert tracemalloc.get_traced_memory()[1] < 24 * 1024 * 1024
    finally:
        tracemalloc.stop()
