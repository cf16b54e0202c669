"""G13: real GNU tar restores everything that an export holds, bit for bit."""

import os
import subprocess
from pathlib import Path

import pytest

from core.relpath import RelPath
from snapshots.tree import Extent
from staging.changes import Kind
from tapeexport.acl_text import ACCESS_XATTR, DEFAULT_XATTR, acl_from_text
from tests.tapeexport.memory_tree import CHUNK_BYTES, MemoryTree, attributes
from tests.tapeexport.rig import assert_restored, check_sums, export, need, restore

CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def rich_tree() -> MemoryTree:
    """A share with one of everything."""
    tree = MemoryTree()
    tree.root(attributes(mode=0o2775, uid=12, gid=34))
    tree.folder(b"docs", attributes(mode=0o1777))
    tree.file(b"docs/empty")
    tree.file(b"docs/small", b"hello\n")
    tree.file(b"docs/block", b"x" * 512)
    tree.file(b"docs/long", os.urandom(5 * CHUNK_BYTES + 77))
    tree.file(b"docs/setuid", b"#!", attributes(mode=0o6755, uid=5, gid=6))
    tree.file(b"docs/nothing", b"secret", attributes(mode=0))
    tree.special(b"docs/relative", Kind.SYMLINK, target=b"small")
    tree.special(b"docs/absolute", Kind.SYMLINK, target=b"/etc/passwd")
    tree.special(b"docs/upward", Kind.SYMLINK, target=b"../../elsewhere")
    tree.special(b"docs/far", Kind.SYMLINK, target=b"t" * 300)
    tree.special(b"docs/raw\xff", Kind.SYMLINK, target=b"\xff\n" * 80)
    tree.link(b"docs/again", b"docs/small")
    tree.link(b"docs/zlong again", b"docs/long")
    tree.link(b"docs/upward again", b"docs/upward")
    tree.special(b"fifo", Kind.FIFO, attributes(mode=0o620))
    tree.link(b"fifo again", b"fifo")
    tree.special(b"tty", Kind.CHARACTER_DEVICE, device=os.makedev(4, 64))
    tree.special(b"disk", Kind.BLOCK_DEVICE, device=os.makedev(4095, 1048575))
    return tree


def test_tar_restores_every_kind_of_node(tmp_path: Path) -> None:
    tree = rich_tree()
    report, archive = export(tmp_path, tree)
    assert restore(archive, tmp_path / "out") == ""
    assert_restored(tree, tmp_path / "out")
    check_sums(tmp_path / "out")
    assert report.members == 1 + len(tree.paths_below(RelPath(b""))) - 1
    assert report.verified is True


def test_tar_restores_times_before_1970_and_after_2242_to_the_nanosecond(tmp_path: Path) -> None:
    tree = MemoryTree()
    for number, mtime_ns in enumerate(
        (0, 1, -1, -500_000_000, -4_999_999_877, -(10**9), -(10**18), 10**9 - 1, 8_589_934_591 * 10**9, 8_589_934_592 * 10**9 + 5)
    ):
        tree.file(b"%d" % number, b"x", attributes(mtime_ns=mtime_ns))
    _, archive = export(tmp_path, tree)
    restore(archive, tmp_path / "out")  # tar notes that such times are implausible, and sets them
    assert_restored(tree, tmp_path / "out")


def test_tar_restores_large_ids(tmp_path: Path) -> None:
    tree = MemoryTree()
    for number in (0, 65534, 2097151, 2097152, 4_000_000_000):
        tree.file(b"%d" % number, b"x", attributes(uid=number, gid=number, user=b"n" * 60, group="größe".encode()))
    _, archive = export(tmp_path, tree)
    restore(archive, tmp_path / "out")
    assert_restored(tree, tmp_path / "out")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_tar_restores_extended_attributes_as_raw_bytes(tmp_path: Path, locale: str) -> None:
    tree = MemoryTree()
    odd = ((b"user.a=b%c%3D", b"\0\xff\n=%3D"), (b"user.empty", b""), (b"user.new\nline", b"1"), (b"user.\xff\xfe", b"\xff"))
    tree.file(b"odd", b"x", attributes(xattrs=odd))
    tree.file(b"root's", b"x", attributes(mode=0o755, xattrs=((b"security.capability", CAPABILITY), (b"trusted.t", b"\0"))))
    tree.folder(b"folder", attributes(mode=0o755, xattrs=((b"user.f", b"v" * 3000), (b"trusted.f", b"1"))))
    tree.special(b"symlink", Kind.SYMLINK, attributes(mode=0o777, xattrs=((b"trusted.s", b"1"),)), target=b"odd")
    tree.special(b"fifo", Kind.FIFO, attributes(xattrs=((b"trusted.p", b"1"),)))
    _, archive = export(tmp_path, tree)
    assert restore(archive, tmp_path / "out", locale) == ""
    assert_restored(tree, tmp_path / "out")


def test_tar_restores_acls_and_children_inherit_none(tmp_path: Path) -> None:
    tree = MemoryTree()
    access = acl_from_text(b"user::rwx,user:7:-w-,user:4000000000:r--,group::r-x,group:1000:rwx,mask::rwx,other::---")
    default = acl_from_text(b"user::rwx,user:55:rwx,group::r-x,mask::rwx,other::r--")
    tree.folder(b"shared", attributes(mode=0o770, xattrs=((ACCESS_XATTR, access), (DEFAULT_XATTR, default))))
    tree.file(b"shared/plain", b"no acl of its own", attributes(mode=0o600))
    tree.folder(b"shared/sub", attributes(mode=0o700))
    tree.file(b"shared/sub/with", b"x", attributes(mode=0o770, xattrs=((ACCESS_XATTR, access),)))
    tree.special(b"shared/fifo", Kind.FIFO, attributes(mode=0o600))
    _, archive = export(tmp_path, tree)
    assert restore(archive, tmp_path / "out") == ""
    assert_restored(tree, tmp_path / "out")


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_tar_restores_every_name(tmp_path: Path, locale: str) -> None:
    tree = MemoryTree()
    names = [
        b"-rf", b"--checkpoint-action=exec=true", b"new\nline", b"tab\tcr\r", b"back\\slash", b"\xff\xfe invalid", b"*?[a]", b" ",
        "é".encode(), "e\u0301".encode(), "slash\u2215".encode(), "\u202egpj.exe".encode(), b"n" * 255, b"\xfe" * 255,
        "ü".encode() * 127, "u\u0308".encode() * 85, b"quote'\"", b"path=x", b"\x01\x7f", b"a" * 99, b"a" * 100, b"a" * 101,
    ]  # fmt: skip
    for name in names:
        tree.file(name, name)
        tree.folder(b"d" + name[:254])
        tree.special(b"s" + name[:254], Kind.SYMLINK, target=name)
    tree.link(b"zzz last", b"\xfe" * 255)
    _, archive = export(tmp_path, tree)
    restore(archive, tmp_path / "out", locale)
    assert_restored(tree, tmp_path / "out")
    check_sums(tmp_path / "out")


def test_tar_restores_long_paths_with_links_and_holes(tmp_path: Path) -> None:
    tree = MemoryTree()
    path = b""
    for level in range(12):
        path = (path + b"/" if path else b"") + (b"\xfffolder%02d" % level) * 5
        tree.folder(path)
        tree.file(path + b"/file", b"%d" % level)
        tree.sparse_file(path + b"/image", 1_000_000, {500_000: b"middle" * 1000})
        tree.link(path + b"/link", path + b"/file")
    _, archive = export(tmp_path, tree)
    restore(archive, tmp_path / "out")
    assert_restored(tree, tmp_path / "out")


@pytest.mark.parametrize(
    ("name", "levels"),
    [(b"d", 2300), pytest.param(b"d", 3000, marks=pytest.mark.long), ("ordner-ü".encode() * 8, 220)],
    ids=["2300 levels", "3000 levels", "16 kB path"],
)
def test_tar_restores_paths_longer_than_one_system_call_takes(tmp_path: Path, name: bytes, levels: int) -> None:
    tree = MemoryTree()
    path = b""
    for level in range(levels):
        path = path + b"/" + name if path else name
        tree.folder(path, attributes(mode=0o750, mtime_ns=level * 10**9 + level))
        tree.file(path + b"/" + b"f" * (level % 250 + 1), b"%d" % level)
    tree.link(path + b"/link", name + b"/f")
    tree.file(b"zzz behind", b"!")
    tree.folder(b"zzzz")
    _, archive = export(tmp_path, tree)
    assert restore(archive, tmp_path / "out") == ""
    assert_restored(tree, tmp_path / "out")
    check_sums(tmp_path / "out")
    remove_deep(tmp_path / "out")


def test_tar_restores_holes_as_holes(tmp_path: Path) -> None:
    tree = MemoryTree()
    tree.sparse_file(b"all hole", 10_000_000, {})
    tree.sparse_file(b"head", 5_000_000, {0: b"begin" * 1000})
    tree.sparse_file(b"tail", 5_000_001, {4_999_000: b"t" * 1001})
    tree.sparse_file(b"uneven", 3_000_000, {100_001: b"a" * 777, 200_000: b"b" * 5000, 2_500_000: b"c" * 70_000})
    tree.sparse_file(b"many", 400 * 200_000, {n * 200_000 + n: b"%d" % n for n in range(400)})
    tree.extents_file(b"small hole", 9000, [Extent(0, 4000, tree.keep(b"k" * 4000)), Extent(4000, 5000, None)])
    tree.sparse_file(b"no block", 6000, {0: b"k" * 100, 3100: b"j" * 2900})
    _, archive = export(tmp_path, tree)
    assert restore(archive, tmp_path / "out") == ""
    assert_restored(tree, tmp_path / "out")
    check_sums(tmp_path / "out")
    top = tmp_path / "out" / tree.share
    blocks = {path.name: path.stat().st_blocks * 512 for path in top.iterdir()}
    assert blocks["all hole"] == 0
    assert blocks["head"] <= 8192
    assert blocks["tail"] <= 8192
    assert blocks["uneven"] <= 8192 + 12288 + 77824 + 4096
    assert blocks["many"] <= 400 * 8192


@pytest.mark.long
def test_tar_restores_a_sparse_file_of_more_than_8_gib(tmp_path: Path) -> None:
    tree = MemoryTree()
    tree.sparse_file(
        b"image", 9 * 2**30 + 12345, {0: b"first" * 100, 8 * 2**30 + 5: b"behind 8 GiB", 9 * 2**30 + 12340: b"last!"}
    )
    _, archive = export(tmp_path, tree)
    assert archive.stat().st_size < 100_000
    assert restore(archive, tmp_path / "out") == ""
    assert_restored(tree, tmp_path / "out")
    assert (tmp_path / "out" / tree.share / "image").stat().st_blocks * 512 <= 5 * 4096


def test_tar_restores_two_shares_side_by_side(tmp_path: Path) -> None:
    first, second = rich_tree(), MemoryTree("lyon/files", 12)
    second.file(b"docs", b"a file here")
    report, archive = export(tmp_path, first, second)
    restore(archive, tmp_path / "out")
    assert_restored(first, tmp_path / "out")
    assert_restored(second, tmp_path / "out")
    assert [snapshot.share for snapshot in report.snapshots] == ["paris/files", "lyon/files"]


def test_what_tar_cannot_hold_is_named_and_the_rest_restored(tmp_path: Path) -> None:
    tree = MemoryTree()
    tree.special(b"socket", Kind.SOCKET)
    tree.link(b"socket again", b"socket")
    tree.special(b"odd", Kind.BLOCK_DEVICE, device=os.makedev(2**22, 1))
    tree.file(b"file", b"x", attributes(xattrs=((b"user.a\0b", b"1"), (b"user.kept", b"2"))))
    report, archive = export(tmp_path, tree)
    restore(archive, tmp_path / "out")
    assert [(left.path, left.what) for left in report.not_exported] == [
        ("paris/files/file", "attribute user.a\\x00b"),
        ("paris/files/odd", "block device"),
        ("paris/files/socket", "socket"),
        ("paris/files/socket again", "socket"),
    ]
    assert report.members == 2
    assert os.getxattr(tmp_path / "out/paris/files/file", "user.kept") == b"2"


def test_an_owner_that_no_system_can_set_is_named(tmp_path: Path) -> None:
    tree = MemoryTree()
    tree.file(b"file", b"x", attributes(uid=2**32 - 1))
    report, archive = export(tmp_path, tree)
    restore(archive, tmp_path / "out")
    assert [(left.path, left.what) for left in report.not_exported] == [("paris/files/file", "owner")]
    assert (tmp_path / "out/paris/files/file").read_bytes() == b"x"


def test_a_truncated_archive_makes_tar_fail(tmp_path: Path) -> None:
    _, archive = export(tmp_path, rich_tree())
    data = archive.read_bytes()
    for length in (len(data) // 2 // 512 * 512, len(data) // 3):
        cut = tmp_path / "cut.tar"
        cut.write_bytes(data[:length])
        with pytest.raises(AssertionError, match="EOF"):
            restore(cut, tmp_path / f"out{length}")


def test_plain_listings_name_every_member(tmp_path: Path) -> None:
    tree = MemoryTree()
    tree.folder(b"docs")
    tree.file(b"docs/file", b"x" * 1000)
    tree.sparse_file(b"image", 10_000_000, {5_000_000: b"x"})
    _, archive = export(tmp_path, tree)
    expected = ["paris/files/", "paris/files/docs/", "paris/files/docs/file", "paris/files/image"]
    own = [".cartridge/RESTORE.txt", ".cartridge/INDEX.jsonl", ".cartridge/SHA256SUMS"]
    for tool, package in (("tar", "tar"), ("bsdtar", "libarchive-tools"), ("busybox", "busybox")):
        command = [need(tool, package), *(["tar"] if tool == "busybox" else []), "-tf", str(archive)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        listed = [line.replace("GNUSparseFile.0/", "") for line in done.stdout.splitlines() if line != "SK0001L9"]
        assert listed == expected + own, tool
        assert done.stderr == "", tool


def test_bsdtar_restores_the_same_tree(tmp_path: Path) -> None:
    tree = rich_tree()
    tree.sparse_file(b"image", 5_000_000, {1_000_001: b"x" * 5000, 4_000_000: b"y"})
    tree.file(b"names e\xcc\x81" + b"\xff" * 120, b"x")
    tree.file(b"attributed", b"x", attributes(xattrs=((b"user.raw", b"\0\xff"), (b"trusted.t", b"1"))))
    _, archive = export(tmp_path, tree)
    out = tmp_path / "out"
    out.mkdir()
    command = [need("bsdtar", "libarchive-tools"), "--numeric-owner", "-xpf", str(archive)]
    done = subprocess.run(command, cwd=out, capture_output=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert_restored(tree, out)


def test_one_member_can_be_cut_out_by_its_place_in_the_index(tmp_path: Path) -> None:
    tree = rich_tree()
    _, archive = export(tmp_path, tree)
    index = (tmp_path / "SK0001L9.index.jsonl").read_text().splitlines()
    line = next(line for line in index if '"paris/files/docs/long"' in line)
    offset, length = line.partition('"extents":[[1,')[2].partition("]]")[0].split(",")
    script = f"tail -c +$(({offset} + 1)) {archive} | head -c {length} | tar --numeric-owner -xpf -"
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True)
    node = tree.node_at(RelPath(b"docs/long"))
    assert (tmp_path / "paris/files/docs/long").read_bytes() == tree.read(node.content, 0, node.size_bytes)


def remove_deep(folder: Path) -> None:
    subprocess.run(["rm", "-rf", str(folder)], check=True)
