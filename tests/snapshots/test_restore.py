"""Restoring: everything comes back, nothing is written outside the target, what could not be applied is told."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from core.relpath import ROOT, RelPath
from snapshots.restore import restore_tree
from snapshots.target_folder import TargetNotEmpty
from staging.changes import Attributes, Create, Kind, Link, Mirror
from tests.share_rig import ShareRig

PLAIN = Attributes(0o644, os.geteuid(), os.getegid(), 1_600_000_000_123_456_789)
FOLDER = Attributes(0o750, os.geteuid(), os.getegid(), 1_500_000_000_000_000_001)
PATHS = [b"d", b"d/f", b"d/l", b"d/link", b"d/evil", b"s", b"fifo"]


@pytest.fixture
def rig(tmp_path: Path) -> ShareRig:
    (tmp_path / "store").mkdir()
    rig = ShareRig(tmp_path / "store")
    sparse = rig.put(b"begin" + bytes(5_000_000) + b"end")
    rig.send(
        PATHS,
        [
            Mirror(True),
            Create(0, Kind.FOLDER, FOLDER),
            Create(1, Kind.FILE, PLAIN, rig.put(b"content" * 1000)),
            Link(2, 1),
            Create(3, Kind.SYMLINK, PLAIN, target=b"../\xff"),
            Create(5, Kind.FILE, PLAIN, sparse),
            Create(6, Kind.FIFO, PLAIN),
            Mirror(False),
        ],
    )
    return rig


def test_a_tree_comes_back_with_links_holes_modes_and_times(rig: ShareRig, tmp_path: Path) -> None:
    report = restore_tree(rig.live(), ROOT, tmp_path / "out")
    assert (report.files, report.not_applied) == (5, [])
    folder = tmp_path / "out" / "d"
    assert (folder / "f").read_bytes() == b"content" * 1000
    assert (folder / "f").stat().st_ino == (folder / "l").stat().st_ino
    assert os.readlink(os.fsencode(folder / "link")) == b"../\xff"
    assert stat.S_ISFIFO((tmp_path / "out" / "fifo").stat().st_mode)
    sparse = (tmp_path / "out" / "s").stat()
    assert sparse.st_size == 5_000_008 and sparse.st_blocks * 512 < 300_000
    assert folder.stat().st_mtime_ns == FOLDER.mtime_ns and stat.S_IMODE(folder.stat().st_mode) == 0o750
    assert os.lstat(folder / "link").st_mtime_ns == PLAIN.mtime_ns


def test_a_part_and_a_single_file_can_be_restored(rig: ShareRig, tmp_path: Path) -> None:
    restore_tree(rig.live(), RelPath(b"d"), tmp_path / "part")
    assert sorted(os.listdir(tmp_path / "part")) == ["f", "l", "link"]
    restore_tree(rig.live(), RelPath(b"d/f"), tmp_path / "one")
    assert os.listdir(tmp_path / "one") == ["f"]


def test_a_target_that_is_not_empty_is_refused_and_left_alone(rig: ShareRig, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(TargetNotEmpty):
        restore_tree(rig.live(), ROOT, tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["mine"]


def test_links_in_the_target_lead_nowhere(rig: ShareRig, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("precious")
    target = tmp_path / "out"
    target.mkdir()
    os.symlink(outside, target / "d")
    os.symlink(outside / "precious", target / "s")
    report = restore_tree(rig.live(), ROOT, target, overwrite=True)
    assert report.not_applied == []
    assert os.listdir(outside) == ["precious"] and (outside / "precious").read_text() == "precious"
    assert not (target / "d").is_symlink() and not (target / "s").is_symlink()


def test_a_folder_in_the_way_of_a_file_is_told_and_kept(rig: ShareRig, tmp_path: Path) -> None:
    (tmp_path / "out" / "s").mkdir(parents=True)
    (tmp_path / "out" / "s" / "mine").write_text("mine")
    report = restore_tree(rig.live(), ROOT, tmp_path / "out", overwrite=True)
    assert [(miss.path, miss.damaged) for miss in report.not_applied] == [(b"s", False)]
    assert (tmp_path / "out" / "s" / "mine").read_text() == "mine"


def test_damage_leaves_one_file_out_and_is_told(rig: ShareRig, tmp_path: Path) -> None:
    view = rig.live()
    digest = view.node_at(RelPath(b"d/f")).digest
    assert digest is not None
    location = rig.store._index.locations([digest])[digest]
    assert location is not None
    path = rig.store._packs.path(location.pack)
    data = bytearray(path.read_bytes())
    data[location.end - 5] ^= 1
    path.write_bytes(bytes(data))
    report = restore_tree(view, ROOT, tmp_path / "out")
    assert {miss.path for miss in report.not_applied if miss.damaged} == {b"d/f", b"d/l"}
    assert not (tmp_path / "out" / "d" / "f").exists()
    assert (tmp_path / "out" / "s").stat().st_size == 5_000_008


def test_three_thousand_levels_come_back(rig: ShareRig, tmp_path: Path) -> None:
    levels = 3000
    paths = [b"/".join([b"n"] * (level + 1)) for level in range(levels)]
    for start in range(0, levels, 500):
        part = paths[start : start + 500]
        rig.send(part, [Create(n, Kind.FOLDER, FOLDER) for n in range(len(part))])
    report = restore_tree(rig.live(), RelPath(b"n"), tmp_path / "out")
    assert report.not_applied == []
    found = subprocess.run(["find", tmp_path / "out", "-type", "d"], capture_output=True, check=True).stdout.count(b"\n")
    assert found == levels
    subprocess.run(["rm", "-rf", tmp_path / "out"], check=True)


def test_without_root_what_could_not_be_applied_is_listed(rig: ShareRig, tmp_path: Path) -> None:
    assert os.geteuid() == 0, "this test drops root: run it as root"
    strange = Attributes(0o6755, 4242, 4242, 5, xattrs=((b"trusted.k", b"v"), (b"user.k", b"v")))
    rig.send([b"owned"], [Create(0, Kind.FILE, strange)])
    view = rig.live()
    target = tmp_path / "out"
    target.mkdir()
    os.chown(target, 65534, 65534)
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    for database in (tmp_path / "store").rglob("*.db*"):  # only the owner may open them: lent for this restore
        database.chmod(0o666)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # all is open and imported: only the restore itself runs without root
        try:
            os.setgid(65534)
            os.setuid(65534)
            missed = restore_tree(view, ROOT, target).not_applied
            os.write(writing, repr(sorted(miss.what for miss in missed if miss.path == b"owned")).encode())
            os._exit(0)
        finally:  # whatever is raised must not go on as a second test run
            os._exit(1)
    os.close(writing)
    assert os.waitpid(child, 0)[1] == 0
    assert os.read(reading, 10_000) == b"['attribute trusted.k', 'mode', 'owner']"
    assert stat.S_IMODE((target / "owned").stat().st_mode) == 0o755  # it must not run as whoever restored it
    assert (target / "owned").exists() and os.getxattr(target / "owned", "user.k") == b"v"


def test_an_owner_that_the_system_passes_over_is_listed_and_gets_no_set_id_bits(rig: ShareRig, tmp_path: Path) -> None:
    assert os.geteuid() == 0, "this test gives files away: run it as root"
    nobody = 2**32 - 1
    names = [b"file", b"folder", b"pipe", b"link", b"group"]
    rig.send(names, [
        Create(0, Kind.FILE, Attributes(0o6755, nobody, 4242, 5)),
        Create(1, Kind.FOLDER, Attributes(0o2755, 4242, nobody, 5)),
        Create(2, Kind.FIFO, Attributes(0o4644, nobody, nobody, 5)),
        Create(3, Kind.SYMLINK, Attributes(0o777, nobody, nobody, 5), target=b"file"),
        Create(4, Kind.FILE, Attributes(0o2755, 4242, 4242, 5)),
    ])  # fmt: skip
    missed = restore_tree(rig.live(), ROOT, tmp_path / "out").not_applied
    told = {(miss.path, miss.what) for miss in missed}
    assert told == {(name, "owner") for name in names[:4]} | {(name, "mode") for name in names[:3]}
    found = {name: (tmp_path / "out" / os.fsdecode(name)).lstat() for name in names}
    assert {name: (stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid) for name, seen in found.items()} == {
        b"file": (0o755, 0, 4242), b"folder": (0o755, 4242, 0), b"pipe": (0o644, 0, 0), b"link": (0o777, 0, 0),
        b"group": (0o2755, 4242, 4242),
    }  # fmt: skip


def test_what_a_single_file_lacks_is_told_under_its_own_path(rig: ShareRig, tmp_path: Path) -> None:
    odd = Attributes(0o644, os.geteuid(), os.getegid(), 1, xattrs=((b"nosuchspace.name", b"x"),))
    rig.send([b"xa", b"d/xb"], [Create(0, Kind.FILE, odd), Create(1, Kind.FILE, odd)])
    for path in (b"xa", b"d/xb"):
        (missed,) = restore_tree(rig.live(), RelPath(path), tmp_path / os.fsdecode(path)).not_applied
        assert (missed.path, missed.what) == (path, "attribute nosuchspace.name")
