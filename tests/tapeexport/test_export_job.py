"""Exports as a whole: reports, refusals, faults at every step, streams."""

import errno
import hashlib
import io
import os
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from core.digest import Digest
from core.durable import NoSpace
from core.errors import Damaged, StagekeeperError, TryLater
from snapshots.tree import Extent
from tapeexport.archive_reader import verify_cartridge
from tapeexport.cartridge_files import CartridgeExists
from tapeexport.export_checks import DestinationMissing, DestinationRefused, NoRoomForExport, NothingToExport
from tapeexport.export_job import CartridgeNotVerified, run_export
from tapeexport.export_recovery import recover_exports
from tapeexport.inventory_db import InventoryDb
from tapeexport.medium_errors import CartridgeNotWritten
from tapeexport.member_writer import SourceUnreadable
from tests.tapeexport.faulty_files import FaultyFiles, FlippingFiles, TornFiles, fail_with, kill
from tests.tapeexport.memory_tree import MemoryTree
from tests.tapeexport.rig import FixedClock, assert_restored, export, need, source_of
from tests.tapeexport.test_tar_restore import rich_tree


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[InventoryDb]:
    database = InventoryDb(tmp_path / "inventory.db")
    yield database
    database.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cartridges"
    path.mkdir()
    return path


def small_tree() -> MemoryTree:
    tree = MemoryTree()
    tree.file(b"a", b"a" * 3000)
    tree.file(b"b", b"b" * 200_000)
    tree.link(b"c", b"a")
    return tree


def test_the_report_has_the_shape_of_the_interface(folder: Path, inventory: InventoryDb) -> None:
    report = run_export([source_of(small_tree())], folder, inventory, FixedClock())
    archive = folder / "SK0001L9.tar"
    assert msgspec.json.decode(msgspec.json.encode(report)) == {
        "set": "SK0001L9-2026-11-18T110640Z",
        "snapshots": [
            {"share": "paris/files", "id": 3, "sequence": 7, "taken_at": "2026-11-18T10:50:00.000000Z", "label": "noon"}
        ],
        "cartridges": [{"sequence": 1, "barcode": "SK0001L9", "path": str(archive), "size_bytes": archive.stat().st_size}],
        "members": 4,
        "bytes": 203_000,
        "verified": True,
        "not_exported": [],
    }
    assert sorted(os.listdir(folder)) == ["SK0001L9.index.jsonl", "SK0001L9.tar", "SK0001L9.tar.sha256"]
    subprocess.run(["sha256sum", "--quiet", "-c", "SK0001L9.tar.sha256"], cwd=folder, check=True)
    assert archive.stat().st_size % 10240 == 0


def verified_sets(inventory: InventoryDb) -> list[str]:
    sets = inventory.media_sets()
    return [one.id for one in sets if all(cartridge.state == "verified" for cartridge in one.cartridges)]


def test_the_inventory_knows_the_export(folder: Path, inventory: InventoryDb) -> None:
    report = run_export([source_of(small_tree())], folder, inventory, FixedClock())
    (cartridge,) = inventory.media_set(report.set).cartridges
    assert (cartridge.state, cartridge.path) == ("verified", os.fsencode(folder / "SK0001L9.tar"))
    assert cartridge.sha256 == verify_cartridge(folder / "SK0001L9.tar").sha256
    assert inventory.media_set(report.set).snapshots == report.snapshots
    assert verified_sets(inventory) == [report.set]


def test_equal_exports_are_equal_bytes(folder: Path, tmp_path: Path, inventory: InventoryDb) -> None:
    run_export([source_of(small_tree())], folder, inventory, FixedClock())
    _, second = export(tmp_path_with(tmp_path, "other"), small_tree())
    assert (folder / "SK0001L9.tar").read_bytes() == second.read_bytes()


def test_each_chunk_is_read_once(folder: Path, inventory: InventoryDb) -> None:
    tree = small_tree()
    tree.file(b"long", os.urandom(5_000_000))
    run_export([source_of(tree)], folder, inventory, FixedClock())
    assert tree.chunks_read == 1 + 2 + -(-5_000_000 // 65536)  # three of the four chunks of 200 000 equal bytes are one


def test_progress_is_told(folder: Path, inventory: InventoryDb) -> None:
    told: list[tuple[int, int]] = []
    tree = small_tree()
    tree.file(b"z", os.urandom(5_000_000))
    run_export([source_of(tree)], folder, inventory, FixedClock(), progress=lambda *done: told.append(done))
    assert len(told) >= 5
    assert told == sorted(told)
    assert told[-1] == (5, 5_203_000)


def test_a_destination_that_is_none_is_refused(tmp_path: Path, inventory: InventoryDb) -> None:
    with pytest.raises(DestinationMissing, match="no directory"):
        run_export([source_of(small_tree())], tmp_path / "none", inventory, FixedClock())
    (tmp_path / "file").touch()
    with pytest.raises(DestinationRefused, match="not a directory"):
        run_export([source_of(small_tree())], tmp_path / "file", inventory, FixedClock())
    assert inventory.media_sets() == []


def test_a_taken_name_is_refused_and_kept(folder: Path, inventory: InventoryDb) -> None:
    (folder / "SK0001L9.tar").write_text("somebody's")
    with pytest.raises(CartridgeExists) as caught:
        run_export([source_of(small_tree())], folder, inventory, FixedClock())
    assert "next barcode" in caught.value.remedy
    assert (folder / "SK0001L9.tar").read_text() == "somebody's"
    report = run_export([source_of(small_tree())], folder, inventory, FixedClock())
    assert report.cartridges[0].barcode == "SK0002L9"
    assert [row.barcode for row in inventory.cartridges_in("failed")] == ["SK0001L9"]


def test_nothing_and_the_same_share_twice_are_refused(folder: Path, inventory: InventoryDb) -> None:
    with pytest.raises(NothingToExport):
        run_export([], folder, inventory, FixedClock())
    with pytest.raises(NothingToExport, match="paris/files"):
        run_export([source_of(small_tree(), 1), source_of(small_tree(), 2)], folder, inventory, FixedClock())


def test_an_export_that_does_not_fit_is_refused_before_it_begins(folder: Path, inventory: InventoryDb) -> None:
    tree = MemoryTree()
    tree.extents_file(b"huge", 2**60, [Extent(0, 2**60, Digest(b"h" * 32))])
    with pytest.raises(NoRoomForExport, match=str(folder)):
        run_export([source_of(tree)], folder, inventory, FixedClock())
    assert (os.listdir(folder), inventory.media_sets()) == ([], [])


def test_holes_need_no_room(folder: Path, inventory: InventoryDb) -> None:
    tree = MemoryTree()
    tree.sparse_file(b"hole", 200_000_000, {})
    run_export([source_of(tree)], folder, inventory, FixedClock())
    assert (folder / "SK0001L9.tar").stat().st_size < 50_000


def test_a_disk_that_fills_up_midway_fails_the_cartridge_and_leaves_nothing(folder: Path, inventory: InventoryDb) -> None:
    with pytest.raises(NoSpace):
        run_export([source_of(small_tree())], folder, inventory, FixedClock(), files=TornFiles())
    assert os.listdir(folder) == []
    assert [row.barcode for row in inventory.cartridges_in("failed")] == ["SK0001L9"]
    assert verified_sets(inventory) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_at_any_step_fails_the_cartridge_and_leaves_no_archive(
    folder: Path, inventory: InventoryDb, number: int
) -> None:
    for step in range(1, 100):
        files = FaultyFiles(step, fail_with(number))
        try:
            run_export([source_of(small_tree())], folder, inventory, FixedClock(), files=files)
        except TryLater as error:
            assert error.remedy
            left = os.listdir(folder)
            assert [name for name in left if not name.endswith(".failed")] == [], step
            assert len(inventory.cartridges_in("failed")) == step
        else:
            assert not files.has_fired
            break
    assert step > 20
    assert len(inventory.cartridges_in("verified")) == 1


def test_a_kill_at_any_step_is_settled_by_recovery(folder: Path, tmp_path: Path) -> None:
    for step in range(1, 100):
        killed = run_killed(folder, tmp_path, step)
        inventory = InventoryDb(tmp_path / "inventory.db")
        try:
            assert (len(recover_exports(inventory, FixedClock())) == 1) == killed
            assert not inventory.cartridges_in("writing")
            assert not [name for name in os.listdir(folder) if name.endswith(".part")], step
            verified = {os.fsdecode(row.path) for row in inventory.cartridges_in("verified")}
            assert {str(path) for path in folder.glob("*.tar")} == verified, step
            assert len(list(folder.glob("*.index.jsonl"))) == len(list(folder.glob("*.sha256"))) == len(verified), step
            for path in verified:
                assert verify_cartridge(Path(path)).is_sound
        finally:
            inventory.close()
        if not killed:
            break
    assert step > 20


def run_killed(folder: Path, tmp_path: Path, step: int) -> bool:
    """Run an export in a child that is killed before its file step `step`; tell whether it was."""
    child = os.fork()
    if child == 0:
        inventory = InventoryDb(tmp_path / "inventory.db")
        run_export([source_of(small_tree())], folder, inventory, FixedClock(), files=FaultyFiles(step, kill))
        os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_recovery_does_not_touch_a_file_that_is_not_the_export_s_own(folder: Path, inventory: InventoryDb) -> None:
    inventory.begin_set((), 0, folder)
    (folder / "SK0001L9.tar").write_text("somebody's")
    assert recover_exports(inventory, FixedClock()) == ["SK0001L9"]
    assert (folder / "SK0001L9.tar").read_text() == "somebody's"
    assert inventory.cartridges_in("failed")[0].reason == "the export was cut off"


def test_a_cartridge_that_reads_back_wrong_is_failed_loudly(folder: Path, inventory: InventoryDb) -> None:
    with pytest.raises(CartridgeNotVerified, match="SK0001L9") as caught:
        run_export([source_of(small_tree())], folder, inventory, FixedClock(), files=FlippingFiles())
    assert isinstance(caught.value, Damaged)
    assert caught.value.remedy
    assert os.listdir(folder) == ["SK0001L9.tar.failed"]
    (row,) = inventory.cartridges_in("failed")
    assert "did not read back" in row.reason


def test_a_bad_chunk_fails_the_export_and_names_the_file(folder: Path, inventory: InventoryDb) -> None:
    tree = small_tree()
    digest = tree.keep(b"short")
    tree.extents_file(b"bad file", 10, [Extent(0, 10, digest)])
    with pytest.raises(SourceUnreadable, match="paris/files/bad file"):
        run_export([source_of(tree)], folder, inventory, FixedClock())
    assert os.listdir(folder) == []


def test_a_stream_goes_straight_into_tar(tmp_path: Path, inventory: InventoryDb) -> None:
    tree = rich_tree()
    out = tmp_path / "out"
    out.mkdir()
    command = ["tar", "--numeric-owner", "--acls", "--xattrs", "--xattrs-include=*", "-xpf", "-"]
    with subprocess.Popen(command, cwd=out, stdin=subprocess.PIPE) as tar:
        assert tar.stdin is not None
        report = run_export([source_of(tree)], tar.stdin, inventory, FixedClock())
        tar.stdin.close()
        assert tar.wait() == 0
    assert_restored(tree, out)
    assert report.verified is None
    assert [cartridge.path for cartridge in report.cartridges] == ["-"]
    assert [row.state for row in inventory.media_set(report.set).cartridges] == ["streamed"]
    assert verified_sets(inventory) == []


def test_a_stream_has_the_bytes_of_the_file(folder: Path, inventory: InventoryDb, tmp_path: Path) -> None:
    _, archive = export(tmp_path_with(tmp_path, "other"), small_tree())
    stream = io.BytesIO()
    report = run_export([source_of(small_tree())], stream, inventory, FixedClock())
    assert stream.getvalue() == archive.read_bytes()
    assert report.cartridges[0].size_bytes == len(stream.getvalue())


def test_a_reader_that_goes_away_fails_the_export(inventory: InventoryDb) -> None:
    tree = MemoryTree()
    tree.file(b"long", os.urandom(3_000_000))
    with subprocess.Popen(["true"], stdin=subprocess.PIPE, bufsize=0) as gone:
        gone.wait()
        assert gone.stdin is not None
        with pytest.raises(CartridgeNotWritten, match="Broken pipe"):
            run_export([source_of(tree)], gone.stdin, inventory, FixedClock())
    assert len(inventory.cartridges_in("failed")) == 1


def test_a_full_stream_fails_the_export(inventory: InventoryDb) -> None:
    with open("/dev/full", "wb") as full, pytest.raises(NoSpace):
        try:
            run_export([source_of(small_tree())], full, inventory, FixedClock())
        finally:
            full.raw.close()  # its buffer can never be written


def test_memory_stays_flat(inventory: InventoryDb) -> None:
    tree = MemoryTree()
    chunk = os.urandom(256 * 1024)
    digest = tree.keep(chunk)
    tree.extents_file(b"long", 800 * len(chunk), [Extent(n * len(chunk), len(chunk), digest) for n in range(800)])
    for number in range(3000):
        tree.file(b"small %d" % number, b"x" * 100)
    with open("/dev/null", "wb") as null:
        tracemalloc.start()
        try:
            run_export([source_of(tree)], null, inventory, FixedClock())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 12_000_000


@pytest.mark.long
def test_a_file_of_more_than_8_gib_passes_through_tar(inventory: InventoryDb) -> None:
    tree = MemoryTree()
    chunk = os.urandom(1024 * 1024)
    digest = tree.keep(chunk)
    count = 8 * 1024 + 3
    tree.extents_file(b"long", count * len(chunk), [Extent(n * len(chunk), len(chunk), digest) for n in range(count)])
    command = f"{need('tar', 'tar')} -xOf - paris/files/long | sha256sum; true"
    with subprocess.Popen(["bash", "-c", command], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tar:
        assert tar.stdin is not None
        assert tar.stdout is not None
        report = run_export([source_of(tree)], tar.stdin, inventory, FixedClock())
        tar.stdin.close()
        sum_seen = tar.stdout.read().split()[0]
    assert report.bytes == count * len(chunk)
    assert sum_seen == sha256_of_repeated(chunk, count)


def sha256_of_repeated(chunk: bytes, count: int) -> bytes:
    hasher = hashlib.sha256()
    for _ in range(count):
        hasher.update(chunk)
    return hasher.hexdigest().encode()


def tmp_path_with(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    path.mkdir()
    return path


def test_every_error_has_a_reaction() -> None:
    for error in (CartridgeExists, NoRoomForExport, NothingToExport, CartridgeNotWritten, SourceUnreadable):
        assert issubclass(error, StagekeeperError)
