"""All that a file system can hold: kinds, names, attributes, depths, holes, and what cannot be read."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from staging.changes import Kind, Recipe
from tests.branch.rig import REPOSITORY, Rig


@pytest.fixture
def share(rig: Rig) -> Rig:
    rig.protect()
    return rig


def test_every_kind_of_node_arrives(share: Rig) -> None:
    os.mkfifo(share.path("fifo"))
    os.mknod(share.path("null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(share.path("disk"), stat.S_IFBLK | 0o600, os.makedev(7, 200))
    os.symlink(b"../\xffanywhere", share.path("link"))
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(os.fsdecode(share.path("socket")))
    share.once()
    kinds = {path: thing.kind for path, thing in share.check().paths().items()}
    assert kinds[b"socket"] is Kind.SOCKET and kinds[b"disk"] is Kind.BLOCK_DEVICE
    bound.close()


@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", b"-rf", b" ", b"x" * 255, "\u202ertl".encode(), b"a\\b"])
def test_odd_names_arrive(share: Rig, name: bytes) -> None:
    os.mkdir(share.path(name))
    Path(os.fsdecode(share.path(name + b"/" + name))).write_text("inside")
    share.once()
    assert name + b"/" + name in share.check().paths()


def test_composed_and_decomposed_names_are_two(share: Rig) -> None:
    for name in ("\u00e9", "e\u0301"):
        (share.tree / name).write_text(name)
    share.once()
    assert len(share.check().paths()) == 3


def test_owners_modes_and_times_arrive(share: Rig) -> None:
    (share.tree / "file").write_text("x")
    os.chown(share.path("file"), 1, 12345)
    os.chmod(share.path("file"), 0o6751)
    os.utime(share.path("file"), ns=(0, -(10**9) + 7))
    share.once()
    attributes = share.check().find(b"file").attributes
    assert (attributes.user, attributes.group, attributes.mode) == (b"daemon", b"", 0o6751)


def test_xattrs_and_acls_arrive(share: Rig) -> None:
    (share.tree / "file").write_text("x")
    (share.tree / "folder").mkdir()
    os.symlink("file", share.path("link"))
    for path in ("file", "folder"):
        os.setxattr(share.path(path), "user.note", b"\0binary")
        os.setxattr(share.path(path), "trusted.deep", b"t" * 900)
    os.setxattr(share.path("link"), "trusted.own", b"link's", follow_symlinks=False)
    subprocess.run(["setfacl", "-m", "u:1:rwx", share.path("file")], check=True)
    subprocess.run(["setfacl", "-d", "-m", "g:2:r", share.path("folder")], check=True)
    share.once()
    names = {name for name, _ in share.check().find(b"folder").attributes.xattrs}
    assert {b"system.posix_acl_default", b"user.note", b"trusted.deep"} <= names


def test_a_hole_is_not_read_and_arrives_as_a_hole(share: Rig) -> None:
    with open(share.path("sparse"), "wb") as file:
        file.write(b"begin")
        file.truncate(300 * 1024 * 1024)
    share.once()
    content = share.replay.take_all(share.target).find(b"sparse").content
    assert isinstance(content, Recipe) and content.size == 300 * 1024 * 1024
    assert sum(len(data) for data in share.target.store.chunks.values()) < 200_000


def test_the_same_bytes_are_one_content_with_and_without_holes(share: Rig) -> None:
    data = os.urandom(200_000) + bytes(400_000) + os.urandom(50_000)
    (share.tree / "full").write_bytes(data)
    subprocess.run(["cp", "--sparse=always", share.path("full"), share.path("sparse")], check=True)
    share.once()
    replay = share.check()
    assert replay.find(b"full").content == replay.find(b"sparse").content


def test_a_tree_of_3000_levels_arrives(share: Rig) -> None:
    folder = os.open(share.tree, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir(b"d", dir_fd=folder)
        below = os.open(b"d", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(os.open(b"bottom", os.O_CREAT, dir_fd=folder))
    os.close(folder)
    share.once(60)
    assert b"/".join([b"d"] * 3000 + [b"bottom"]) in share.replay.take_all(share.target).paths()
    subprocess.run(["rm", "-rf", share.path("d")], check=True)


def test_only_changed_chunks_of_a_large_file_travel(share: Rig) -> None:
    data = bytearray(os.urandom(8_000_000))
    (share.tree / "big").write_bytes(data)
    share.once()
    store = share.target.store
    data[4_000_000:4_000_010] = b"0123456789"
    (share.tree / "big").write_bytes(data)
    store.asked = store.put_chunks = 0
    share.once()
    share.check()
    assert store.put_chunks <= 4 and store.asked <= 12  # a chunk or two, a node; the rest is neither sent nor asked


@pytest.fixture
def mounted(share: Rig) -> Iterator[Rig]:
    """A folder "disk" on which another file system is mounted, over a file."""
    (share.tree / "disk").mkdir()
    (share.tree / "disk" / "below").write_text("hidden")
    (share.tree / "file").write_text("x")
    share.once()
    subprocess.run(["mount", "-t", "tmpfs", "none", share.path("disk")], check=True)
    (share.tree / "disk" / "other").write_text("not ours")
    yield share
    subprocess.run(["umount", share.path("disk")], check=False)


def test_another_file_system_is_not_entered_and_hides_nothing(mounted: Rig) -> None:
    (status,) = mounted.once()
    assert [entry.path for entry in status.not_protected] == ["disk"]
    paths = mounted.replay.take_all(mounted.target).paths()
    assert b"disk/below" in paths and b"disk/other" not in paths
    subprocess.run(["umount", mounted.path("disk")], check=True)
    assert mounted.once()[0].not_protected == []
    mounted.check()


def test_an_unmounted_root_is_not_an_empty_share(rig: Rig) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "none", rig.tree], check=True)
    try:
        (rig.tree / "file").write_text("x")
        rig.protect()
        rig.once()
    finally:
        subprocess.run(["umount", rig.tree], check=True)
    durable = rig.target.durable()
    assert rig.command("run", "--once", "--timeout", "5") == 7
    assert rig.target.durable() == durable


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_missing_or_exchanged_root_is_not_an_empty_share(share: Rig, is_replaced: bool) -> None:
    (share.tree / "file").write_text("x")
    share.once()
    os.rename(share.tree, share.directory / "elsewhere")
    if is_replaced:
        share.tree.mkdir()
    durable = share.target.durable()
    assert share.command("run", "--once", "--timeout", "5") == 7
    assert share.target.durable() == durable
    if is_replaced:  # the operator says that this is the folder now
        share.protect()
        share.once()
        assert share.check().paths().keys() == {b""}


_BOUND = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]  # root, but bound by modes like everyone


def test_what_cannot_be_read_is_told_and_not_taken_for_gone(share: Rig) -> None:
    (share.tree / "readable").write_text("r")
    (share.tree / "secret").write_text("s")
    (share.tree / "closed").mkdir()
    (share.tree / "closed" / "inside").write_text("i")
    share.once()
    os.chmod(share.path("secret"), 0)
    os.chmod(share.path("closed"), 0)
    command = [*_BOUND, sys.executable, "-m", "branch", "run", "--once", "--json", "--state", str(share.state.path)]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 5, ended.stderr
    assert '"secret"' in ended.stdout and '"closed"' in ended.stdout and "Permission denied" in ended.stdout
    assert {b"secret", b"closed/inside"} <= share.replay.take_all(share.target).paths().keys()
