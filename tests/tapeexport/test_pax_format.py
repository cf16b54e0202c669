"""Headers, byte by byte: corners of the encoding that the restores would not pin down, and golden bytes."""

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snapshots.tree import Node
from staging.changes import Kind
from tapeexport.acl_text import acl_from_text, acl_to_text
from tapeexport.pax_format import byte_sum, encode_member, format_mtime, pax_record, why_not_exportable
from tests.tapeexport.memory_tree import MemoryTree, attributes
from tests.tapeexport.rig import export


def file_node(size_bytes: int = 0, **more: object) -> Node:
    return Node(5, Kind.FILE, size_bytes, attributes(mtime_ns=0, **more))  # type: ignore[arg-type]


@given(st.binary(min_size=1, max_size=30), st.binary(max_size=10_000))
def test_a_record_counts_its_own_length(keyword: bytes, value: bytes) -> None:
    record = pax_record(keyword, value)
    assert record == b"%d %b=%b\n" % (len(record), keyword, value)


@pytest.mark.parametrize("length", [1, 2, 91, 92, 93, 989, 990, 991, 9987, 9988, 9989])
def test_a_record_counts_its_own_length_where_digits_change(length: int) -> None:
    record = pax_record(b"k", b"v" * length)
    assert int(record.split()[0]) == len(record)


@given(st.binary(min_size=512, max_size=512))
def test_the_check_sum_is_the_plain_sum(block: bytes) -> None:
    assert byte_sum(block) == sum(block)


def test_the_check_sum_does_not_overflow() -> None:
    assert byte_sum(b"\xff" * 512) == 512 * 255


@pytest.mark.parametrize(
    ("mtime_ns", "text"),
    [
        (0, b"0"),
        (5_000_000_000, b"5"),
        (-5_000_000_000 + 123, b"-4.999999877"),
        (-500_000_000, b"-0.500000000"),
        (-1, b"-0.000000001"),
        (1, b"0.000000001"),
    ],
)
def test_times_are_signed_decimals(mtime_ns: int, text: bytes) -> None:
    assert format_mtime(mtime_ns) == text


def test_plain_members_need_one_block() -> None:
    assert len(encode_member(b"a/b", file_node(size_bytes=3))) == 512


def test_sizes_from_8_gib_on_stand_in_a_record() -> None:
    assert b"size=" not in encode_member(b"a", file_node(2**33 - 1))
    assert b"19 size=8589934592\n" in encode_member(b"a", file_node(2**33))


def test_names_up_to_256_bytes_need_no_record() -> None:
    name = b"f" * 155 + b"/" + b"n" * 100
    header = encode_member(name, file_node())
    assert (len(header), header[:100], header[345:500]) == (512, b"n" * 100, b"f" * 155)
    assert b" path=" in encode_member(b"f" + name, file_node())


def test_a_long_folder_name_never_leaves_an_empty_last_part() -> None:
    header = encode_member(b"f" * 120 + b"/", Node(5, Kind.FOLDER, 0, attributes(mtime_ns=0)))
    assert b"131 path=" + b"f" * 120 + b"/\n" in header


def test_only_long_odd_names_ask_for_binary() -> None:
    assert b"hdrcharset" not in encode_member(b"\xff" * 100, file_node())
    assert b"hdrcharset" not in encode_member("ü".encode() * 120, file_node())
    assert b"21 hdrcharset=BINARY\n" in encode_member("u\u0308".encode() * 120, file_node())
    assert b"21 hdrcharset=BINARY\n" in encode_member(b"\xff" * 120, file_node())


def test_what_tar_cannot_hold_is_told() -> None:
    assert why_not_exportable(Node(1, Kind.SOCKET, 0, attributes())) is not None
    assert why_not_exportable(Node(1, Kind.SYMLINK, 0, attributes())) is not None
    assert why_not_exportable(file_node()) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\2\0\0\0",
        b"\3\0\0\0" + acl_from_text(b"user::rwx")[4:],
        acl_from_text(b"user::rwx")[:-1],
        b"\2\0\0\0" + bytes.fromhex("0100 0f00 ffffffff"),
        b"\2\0\0\0" + bytes.fromhex("0200 0700 ffffffff"),
        b"\2\0\0\0" + bytes.fromhex("4000 0700 ffffffff"),
    ],
)
def test_an_acl_that_text_cannot_express_is_kept_raw(raw: bytes) -> None:
    assert acl_to_text(raw) is None
    xattrs = ((b"system.posix_acl_access", raw),)
    assert b"SCHILY.xattr.system.posix_acl_access=" + raw + b"\n" in encode_member(b"a", file_node(xattrs=xattrs))


@pytest.mark.parametrize("text", [b"user:x:rwx", b"user::rwz", b"nobody::rwx", b"", b"user:4294967296:rwx"])
def test_other_texts_are_no_acl(text: bytes) -> None:
    with pytest.raises(ValueError, match="not an"):
        acl_from_text(text)


def golden_tree() -> MemoryTree:
    tree = MemoryTree("paris/files", 7)
    tree.folder(b"docs")
    tree.file(b"docs/hello.txt", b"hello\n", attributes(user=b"anna", group=b"staff", xattrs=((b"user.k=v", b"\0\xff"),)))
    tree.link(b"docs/hello again.txt", b"docs/hello.txt")
    tree.sparse_file(b"image", 300_000, {100_000: b"middle"})
    tree.special(b"link", Kind.SYMLINK, attributes(mode=0o777, mtime_ns=-1), target=b"docs/hello.txt")
    return tree


def test_golden_bytes(tmp_path: Path) -> None:
    """The cartridge kept in `golden/` is what this release writes. When the format changes, add a file, keep the old."""
    _, archive = export(tmp_path, golden_tree())
    golden = Path(__file__).with_name("golden") / "SK0001L9.v1.tar"
    assert archive.read_bytes() == golden.read_bytes()
    assert hashlib.sha256(golden.read_bytes()).hexdigest() == GOLDEN_SHA256


GOLDEN_SHA256 = "0299b6038b2ce108bf98d818e49467c06250031ae51cff9902b16d0d4c62e401"
