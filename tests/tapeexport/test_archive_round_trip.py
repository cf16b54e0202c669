"""What the writer encodes, the reader gives back: for any tree, and for the corners by name."""

import base64
import subprocess
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from core.relpath import ROOT
from staging.changes import Attributes, Kind
from tapeexport.archive_reader import open_cartridge, verify_cartridge
from tapeexport.cartridge_format import FOLDER, IndexEntry
from tapeexport.pax_format import device_numbers
from tests.tapeexport.memory_tree import CHUNK_BYTES, MemoryTree
from tests.tapeexport.rig import assert_restored, export, restore
from tests.tapeexport.strategies import trees

FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def sorted_xattrs(attributes: Attributes) -> Attributes:
    return msgspec.structs.replace(attributes, xattrs=tuple(sorted(attributes.xattrs)))


def assert_reads_back(tree: MemoryTree, archive: Path) -> None:
    """Compare what the reader finds with the source, member by member."""
    source = tree.walk(ROOT)
    first_names: dict[int, bytes] = {}
    with open_cartridge(archive) as cartridge:
        for path, member in cartridge.members():
            if path.startswith(FOLDER):
                continue
            source_path, node = next(source)
            full_path = b"b/s/" + source_path if source_path else b"b/s"
            assert path == full_path
            if node.linked and first_names.setdefault(node.id, path) != path:
                assert (member.type_name, member.target) == ("link", first_names[node.id])
                continue
            assert member.type_name == node.kind.name.lower()
            assert sorted_xattrs(member.attributes()) == sorted_xattrs(node.attributes)
            assert member.target == node.target
            if node.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
                assert member.device() == device_numbers(node)
            if node.kind is Kind.FILE:
                assert member.size_bytes == node.size_bytes
                assert b"".join(cartridge.content(member)) == tree.read(node.content, 0, node.size_bytes)
    assert next(source, None) is None


@FEW
@given(tree=trees())
def test_any_tree_reads_back_as_it_was(tree: MemoryTree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        report, archive = export(Path(folder), tree)
        assert_reads_back(tree, archive)
        proof = verify_cartridge(archive)
        assert proof.problems == ()
        assert (proof.members, proof.content_bytes) == (report.members, report.bytes)


@pytest.mark.long
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=trees(possible=True))
def test_any_tree_comes_out_of_gnu_tar_as_it_was(tree: MemoryTree) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _, archive = export(Path(folder), tree)
        try:
            restore(archive, Path(folder) / "out")
            assert_restored(tree, Path(folder) / "out")
        finally:
            subprocess.run(["rm", "-rf", f"{folder}/out"], check=True)


def test_the_index_names_every_member_with_its_place(tmp_path: Path) -> None:
    tree = MemoryTree("b/s")
    tree.file(b"odd\xff", b"x" * 700)
    tree.file(b"plain", b"y" * (CHUNK_BYTES + 1))
    tree.link(b"zlink", b"plain")
    _, archive = export(tmp_path, tree)
    lines = (tmp_path / "SK0001L9.index.jsonl").read_bytes().splitlines()
    entries = [msgspec.json.decode(line, type=IndexEntry) for line in lines[1:-1]]
    assert [base64.b64decode(entry.path_base64) or entry.path.encode() for entry in entries] == [
        b"b/s",
        b"b/s/odd\xff",
        b"b/s/plain",
        b"b/s/zlink",
        b".cartridge/RESTORE.txt",
    ]
    assert entries[1].path == "b/s/odd\\xff"
    assert entries[3].target == "b/s/plain"
    position = entries[0].extents[0].offset
    for entry in entries:
        (span,) = entry.extents
        assert (span.sequence, span.offset) == (1, position)
        position += span.length
    assert msgspec.json.decode(lines[-1]) == {"end": True, "members": 4, "content_bytes": 700 + CHUNK_BYTES + 1}
    assert lines == archive_member(archive, b".cartridge/INDEX.jsonl").splitlines()


def test_members_may_be_skipped_unread(tmp_path: Path) -> None:
    tree = MemoryTree("b/s")
    tree.file(b"1", b"1" * 3_000_000)
    tree.sparse_file(b"2", 9_000_000, {5_000_000: b"22"})
    tree.file(b"3", b"3")
    _, archive = export(tmp_path, tree)
    assert archive_member(archive, b"b/s/3") == b"3"
    with open_cartridge(archive) as cartridge:
        for path, member in cartridge.members():
            if path == b"b/s/1":
                assert bytes(next(cartridge.content(member))[:1]) == b"1"  # the rest is skipped
            if path == b"b/s/3":
                assert b"".join(cartridge.content(member)) == b"3"


def archive_member(archive: Path, wanted: bytes) -> bytes:
    with open_cartridge(archive) as cartridge:
        for path, member in cartridge.members():
            if path == wanted:
                return b"".join(cartridge.content(member))
    raise AssertionError(f"{wanted!r} is not on the cartridge")
