"""What the tests of cartridges share: exporting, restoring with real tools, comparing with the source."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

from core.relpath import ROOT, RelPath, split
from snapshots.tree import Node, TreeView
from staging.changes import Kind
from tapeexport.export_job import run_export
from tapeexport.export_report import ExportReport, SnapshotSource
from tapeexport.inventory_db import InventoryDb

RESTORE = "tar --numeric-owner --acls --xattrs --xattrs-include='*' -xMpf A </dev/null"

_FORMATS = {
    Kind.FILE: stat.S_IFREG,
    Kind.FOLDER: stat.S_IFDIR,
    Kind.SYMLINK: stat.S_IFLNK,
    Kind.FIFO: stat.S_IFIFO,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
}


class FixedClock:
    """A clock that stands."""

    def now_ns(self) -> int:
        return 1_795_000_000_500_000_000

    def monotonic(self) -> float:
        return 0.0


def source_of(view: TreeView, snapshot_id: int = 3, label: str = "noon") -> SnapshotSource:
    return SnapshotSource(view, snapshot_id, label, 1_794_999_000_000_000_000)


def export(folder: Path, *views: TreeView) -> tuple[ExportReport, Path]:
    """Export to `folder` with an inventory of its own and return the report and the archive's path."""
    inventory = InventoryDb(folder / "inventory.db")
    try:
        report = run_export([source_of(view) for view in views], folder, inventory, FixedClock())
    finally:
        inventory.close()
    return report, Path(report.cartridges[0].path)


def need(tool: str, package: str) -> str:
    """Return the path of a tool, installed when it is missing; the test fails when that fails."""
    if shutil.which(tool) is None:
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update"], check=True, env=environment, capture_output=True)
        subprocess.run(["apt-get", "install", "-y", package], check=True, env=environment, capture_output=True)
    path = shutil.which(tool)
    assert path is not None, f"{tool} is needed for this test and apt-get did not bring it"
    return path


def restore(archive: Path, into: Path, locale: str = "C.UTF-8") -> str:
    """Restore with exactly the documented command and return what tar complained of, without what is documented."""
    assert os.geteuid() == 0, "owners, devices and trusted attributes are only restored by root"
    into.mkdir(exist_ok=True)
    command = RESTORE.replace(" A ", f" '{archive}' ")
    done = subprocess.run(
        ["sh", "-c", command], cwd=into, env={"PATH": os.environ["PATH"], "LC_ALL": locale}, capture_output=True
    )
    assert done.returncode == 0, done.stderr[-2000:].decode(errors="replace")
    harmless = "Ignoring unknown extended header keyword 'hdrcharset'"
    lines = done.stderr.decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if harmless not in line)


def check_sums(into: Path) -> None:
    """Run `sha256sum -c` over a restored directory."""
    done = subprocess.run(["sha256sum", "--quiet", "-c", ".cartridge/SHA256SUMS"], cwd=into, capture_output=True)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]


def assert_restored(view: TreeView, into: Path) -> None:
    """Compare all of a share with what stands below `into`: names, kinds, content and every attribute."""
    folders = _Folders(into)
    share = view.share.encode()
    numbers: dict[int, int] = {}
    for path, node in view.walk(ROOT):
        folder, name = split(RelPath(share + b"/" + path if path else share))
        descriptor = folders.open(folder)
        status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        _compare_status(path, node, status)
        if node.linked:
            assert numbers.setdefault(node.id, status.st_ino) == status.st_ino, path
        place = b"/proc/self/fd/%d/%b" % (descriptor, name)
        assert _xattrs(place) == dict(node.attributes.xattrs), path
        if node.kind is Kind.SYMLINK:
            assert os.readlink(name, dir_fd=descriptor) == node.target, path
        if node.kind is Kind.FOLDER:
            assert set(os.listdir(place)) == {entry for entry, _ in view.list_folder(path, limit=10**6)}, path
        if node.kind is Kind.FILE:
            _compare_content(view, node, place)
    folders.close()


def _compare_status(path: bytes, node: Node, status: os.stat_result) -> None:
    wanted = node.attributes
    assert stat.S_IFMT(status.st_mode) == _FORMATS[node.kind], path
    assert (status.st_uid, status.st_gid, status.st_mtime_ns) == (wanted.uid, wanted.gid, wanted.mtime_ns), path
    if node.kind is not Kind.SYMLINK:
        assert oct(stat.S_IMODE(status.st_mode)) == oct(wanted.mode), path
    if node.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
        assert status.st_rdev == node.device, path
    if node.kind is Kind.FILE:
        assert status.st_size == node.size_bytes, path
    if node.linked:
        assert status.st_nlink > 1, path


def _compare_content(view: TreeView, node: Node, place: bytes) -> None:
    with open(place, "rb") as file:
        for extent in view.extents(node.content):
            if extent.digest is not None:
                file.seek(extent.offset)
                assert file.read(extent.length) == view.chunk(extent.digest)
            else:
                for offset in {extent.offset, extent.offset + max(0, extent.length - 8192)}:
                    file.seek(offset)
                    data = file.read(min(8192, extent.offset + extent.length - offset))
                    assert not any(data)


def _xattrs(place: bytes) -> dict[bytes, bytes]:
    names = os.listxattr(place, follow_symlinks=False)
    return {os.fsencode(name): os.getxattr(place, name, follow_symlinks=False) for name in names}


class _Folders:
    """Opens folders step by step, as paths longer than one system call takes need it, and keeps the last one open."""

    def __init__(self, top: Path) -> None:
        self._top = top
        self._path: bytes | None = None
        self._descriptor = -1

    def open(self, folder: bytes) -> int:
        """Return a descriptor that is good until the next call."""
        if self._path is None:
            self._path, self._descriptor = b"", os.open(self._top, os.O_PATH)
        while self._path and not (folder + b"/").startswith(self._path + b"/"):
            self._step(b"..")
            self._path = self._path.rpartition(b"/")[0]
        rest = folder[len(self._path) :].strip(b"/")
        for name in rest.split(b"/") if rest else ():
            self._step(name)
        self._path = folder
        return self._descriptor

    def _step(self, name: bytes) -> None:
        below = os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._descriptor)
        os.close(self._descriptor)
        self._descriptor = below

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._path, self._descriptor = None, -1
