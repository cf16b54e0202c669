"""Every kind of harm to a cartridge is found, and named as far as the index is there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tapeexport.archive_reader import CartridgeMissing, Verification, verify_cartridge
from tapeexport.cartridge_scan import CartridgeTooNew
from tapeexport.pax_format import byte_sum
from tests.tapeexport.memory_tree import MemoryTree, attributes
from tests.tapeexport.rig import export

Change = Callable[[bytearray], None]


@pytest.fixture(scope="module")
def cartridge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small cartridge with files, holes, attributes and links."""
    tree = MemoryTree("b/s")
    tree.folder(b"docs")
    tree.file(b"docs/a", b"a" * 700)
    tree.file(b"docs/b", bytes(range(256)) * 8, attributes(xattrs=((b"user.x", b"1"),)))
    tree.sparse_file(b"image", 50_000, {20_000: b"middle" * 100})
    tree.link(b"link", b"docs/a")
    _, archive = export(tmp_path_factory.mktemp("cartridge"), tree)
    return archive


def harmed(cartridge: Path, folder: Path, change: Change, *, with_copy: bool = False) -> Verification:
    """Verify a copy of the cartridge to which `change` was done."""
    data = bytearray(cartridge.read_bytes())
    change(data)
    copy = folder / cartridge.name
    copy.write_bytes(data)
    if with_copy:
        shutil.copy(cartridge.with_name("SK0001L9.index.jsonl"), folder)
    return verify_cartridge(copy)


def flip(offset: int, bit: int = 0) -> Change:
    def change(data: bytearray) -> None:
        data[offset] ^= 1 << bit

    return change


def named(proof: Verification) -> set[str]:
    return {problem.path for problem in proof.problems if problem.path}


def test_a_sound_cartridge_has_no_problems(cartridge: Path, tmp_path: Path) -> None:
    proof = harmed(cartridge, tmp_path, lambda data: None)
    assert proof.is_sound
    assert proof.label is not None
    assert (proof.label.barcode, proof.members, proof.size_bytes) == ("SK0001L9", 6, cartridge.stat().st_size)
    assert cartridge.with_name("SK0001L9.tar.sha256").read_text() == f"{proof.sha256}  SK0001L9.tar\n"


def test_one_flipped_bit_is_found_wherever_it_is(cartridge: Path, tmp_path: Path) -> None:
    size = cartridge.stat().st_size
    for number, offset in enumerate([*range(0, size, 31), *range(size - 1030, size, 7)]):
        proof = harmed(cartridge, tmp_path, flip(offset, number % 8))
        assert proof.problems, f"bit {number % 8} of byte {offset}"


@pytest.mark.long
def test_a_flipped_bit_is_found_in_each_byte(cartridge: Path, tmp_path: Path) -> None:
    for offset in range(cartridge.stat().st_size):
        bit = (offset * 5 + offset // 512) % 8
        assert not harmed(cartridge, tmp_path, flip(offset, bit)).is_sound, f"bit {bit} of byte {offset}"


def test_every_truncation_is_found(cartridge: Path, tmp_path: Path) -> None:
    size = cartridge.stat().st_size
    for length in [*range(0, size, 512), *range(1, size, 997), size - 1]:
        assert not harmed(cartridge, tmp_path, lambda data, length=length: data.__delitem__(slice(length, None))).is_sound, length


def test_swapped_blocks_are_found(cartridge: Path, tmp_path: Path) -> None:
    original = cartridge.read_bytes()
    blocks = len(original) // 512
    for first in range(blocks - 1):
        for second in (first + 1, (first * 7 + 3) % blocks):
            one, two = slice(first * 512, first * 512 + 512), slice(second * 512, second * 512 + 512)
            if original[one] == original[two]:
                continue

            def swap(data: bytearray, one: slice = one, two: slice = two) -> None:
                data[one], data[two] = data[two], data[one]

            assert not harmed(cartridge, tmp_path, swap).is_sound, (first, second)


def test_zeroed_blocks_are_found(cartridge: Path, tmp_path: Path) -> None:
    original = cartridge.read_bytes()
    for start in range(0, len(original), 512):
        if any(original[start : start + 512]):
            proof = harmed(cartridge, tmp_path, lambda data, s=start: data.__setitem__(slice(s, s + 512), bytes(512)))
            assert not proof.is_sound, start


def test_what_is_appended_is_found(cartridge: Path, tmp_path: Path) -> None:
    assert not harmed(cartridge, tmp_path, lambda data: data.extend(bytes(10240))).is_sound
    assert not harmed(cartridge, tmp_path, lambda data: data.extend(b"x")).is_sound


def test_a_removed_member_is_named(cartridge: Path, tmp_path: Path) -> None:
    begin, end = span_of(cartridge, b'"b/s/docs/b"')
    proof = harmed(cartridge, tmp_path, lambda data: data.__delitem__(slice(begin, end)))
    assert "b/s/docs/b" in named(proof)


def test_a_doubled_member_is_found(cartridge: Path, tmp_path: Path) -> None:
    begin, end = span_of(cartridge, b'"b/s/link"')
    proof = harmed(cartridge, tmp_path, lambda data: data.__setitem__(slice(begin, begin), data[begin:end]))
    assert [problem.what for problem in proof.problems[1:]] == ["another member stands in its place"]


@pytest.mark.parametrize("path", ["b/s/docs", "b/s/docs/a", "b/s/docs/b", "b/s/image", "b/s/link"])
def test_a_harmed_member_is_named_and_no_other(cartridge: Path, tmp_path: Path, path: str) -> None:
    begin, end = span_of(cartridge, f'"{path}"'.encode())
    for offset in range(begin, end, 37):
        proof = harmed(cartridge, tmp_path, flip(offset))
        assert named(proof) == {path}, offset


def test_harmed_content_and_headers_are_told_apart(cartridge: Path, tmp_path: Path) -> None:
    content = cartridge.read_bytes().index(b"a" * 700)
    times = cartridge.read_bytes().index(b" mtime=", content - 2000)
    assert what(harmed(cartridge, tmp_path, flip(content))) == "its content is changed"
    assert what(harmed(cartridge, tmp_path, flip(times + 10))) == "its headers or its padding are changed"


def test_members_lost_with_the_end_are_named_by_the_index_beside(cartridge: Path, tmp_path: Path) -> None:
    begin, _ = span_of(cartridge, b'"b/s/image"')
    proof = harmed(cartridge, tmp_path, lambda data: data.__delitem__(slice(begin + 600, None)), with_copy=True)
    assert named(proof) == {"b/s/image", "b/s/link", ".cartridge/RESTORE.txt"}
    proof = harmed(cartridge, tmp_path / "..", lambda data: data.__delitem__(slice(begin + 600, None)))
    assert [problem.path for problem in proof.problems] == ["", ".cartridge/INDEX.jsonl"]


def test_another_file_is_no_sound_cartridge(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar at all" * 1000)
    assert not verify_cartridge(tmp_path / "x.tar").is_sound
    (tmp_path / "empty.tar").write_bytes(b"")
    assert not verify_cartridge(tmp_path / "empty.tar").is_sound
    with pytest.raises(CartridgeMissing):
        verify_cartridge(tmp_path / "none.tar")


def test_a_newer_format_is_refused_by_name(cartridge: Path, tmp_path: Path) -> None:
    def newer(data: bytearray) -> None:
        data[:20] = b".cartridge/LABEL.2\0\0"
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % byte_sum(bytes(data[:512]))

    with pytest.raises(CartridgeTooNew, match="format 2"):
        harmed(cartridge, tmp_path, newer)


def what(proof: Verification) -> str:
    return proof.problems[-1].what


def span_of(cartridge: Path, quoted_path: bytes) -> tuple[int, int]:
    index = cartridge.with_name("SK0001L9.index.jsonl").read_bytes()
    line = next(line for line in index.splitlines() if line.startswith(b'{"path":' + quoted_path))
    offset, length = line.partition(b'"extents":[[1,')[2].partition(b"]]")[0].split(b",")
    return int(offset), int(offset) + int(length)
