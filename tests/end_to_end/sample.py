"""A share of real files with everything that Linux can store, and rounds of edits to it. Needs root, as the agent has."""

import os
import random
import shutil
import subprocess
import sysconfig
from itertools import islice
from pathlib import Path

SOURCES = [Path(sysconfig.get_paths()["stdlib"]), Path(sysconfig.get_paths()["purelib"]), Path("/usr/share"), Path("/usr/lib")]


def fill(share: Path, count: int) -> None:
    """Copy `count` real files and add every oddity."""
    files = (Path(parent, name) for source in SOURCES for parent, _, names in os.walk(source) for name in names)
    wanted = (path for path in files if path.is_file() and not path.is_symlink() and path.stat().st_size < 200_000)
    for number, path in enumerate(islice(wanted, count)):
        target = share / f"{number % 13:02d}" / f"{number // 13 % 17:02d}" / f"{number:05d}-{path.name[:100]}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    _odd_names(share / "odd")
    _attributes(share / "attributes")
    _links_and_holes(share / "links")


def _odd_names(folder: Path) -> None:
    folder.mkdir()
    top = os.fsencode(folder)
    names = [
        b"\xff\xfe invalid",
        b"new\nline",
        b"x" * 255,
        b"-rf",
        b" ",
        b"tab\t",
        b"'\"\\",
        "Ünïcödé".encode(),
        b"...",
        b"*?[a]",
    ]
    for name in names:
        with open(os.path.join(top, name), "wb") as file:
            file.write(name * 10)
    deep = top
    for level in range(60):
        deep = os.path.join(deep, b"level-%02d" % level)
        os.mkdir(deep)
    with open(os.path.join(deep, b"bottom"), "wb") as file:
        file.write(b"down here")


def _attributes(folder: Path) -> None:
    folder.mkdir()
    plain = folder / "xattrs"
    plain.write_bytes(b"with attributes")
    os.setxattr(plain, "user.comment", b"\0binary\xff\n")
    os.setxattr(plain, "user.empty", b"")
    os.setxattr(plain, "trusted.overlay", b"y")
    owned = folder / "owned"
    owned.write_bytes(b"someone else's")
    os.chown(owned, 12_345, 54_321)
    os.chmod(owned, 0o4751)
    os.utime(owned, ns=(1_000_000_000, 1_234_567_890_123_456_789))
    old = folder / "before-1970"
    old.write_bytes(b"old")
    os.utime(old, ns=(0, -86_400_000_000_000))
    subprocess.run(["setfacl", "-m", "u:1234:rw-,g:4321:r--", plain], check=True)
    subprocess.run(["setfacl", "-d", "-m", "u:1234:rwx", folder], check=True)
    os.mkfifo(folder / "fifo", 0o640)
    os.mknod(folder / "null", 0o020666, os.makedev(1, 3))


def _links_and_holes(folder: Path) -> None:
    folder.mkdir()
    (folder / "one").write_bytes(b"one file, three names")
    os.link(folder / "one", folder / "two")
    (folder / "sub").mkdir()
    os.link(folder / "one", folder / "sub" / "three")
    os.symlink("../odd/x", folder / "dangling")
    os.symlink(b"\xff/absolute", os.fsencode(folder / "invalid"))
    os.symlink("/etc", folder / "folder-link")
    with (folder / "sparse").open("wb") as file:
        file.seek(50_000_000)
        file.write(b"in the middle")
        file.truncate(120_000_000)
    (folder / "empty").touch()
    (folder / "large").write_bytes(random.Random(5).randbytes(3_000_000))


def edit(share: Path, number: int) -> None:
    """One round: contents, renames of files and folders, swaps, deletions, kinds, attributes, links, holes."""
    chance = random.Random(number)
    files = sorted(path for path in share.glob("[0-9]*/*/*") if path.is_file())
    picked = chance.sample(files, 60)
    for path in picked[:20]:
        with path.open("r+b") as file:
            file.seek(chance.randrange(path.stat().st_size + 1))
            file.write(chance.randbytes(150))
    for path in picked[20:30]:
        path.rename(path.with_name(f"renamed-{number}-{path.name}"[:200]))
    for path in picked[30:40]:
        path.unlink()
    for path in picked[40:44]:
        path.unlink()
        path.mkdir()
        (path / "now a folder").write_bytes(b"inside")
    one, other = picked[44:46]
    swapped = one.with_name("swap")
    one.rename(swapped)
    other.rename(one)
    swapped.rename(other)
    for path in picked[46:50]:
        os.chmod(path, chance.choice([0o600, 0o640, 0o755]))
        os.setxattr(path, "user.round", str(number).encode())
    folders = sorted(path for path in share.glob("[0-9][0-9]/[0-9][0-9]"))
    folders[number].rename(share / f"moved-folder-{number}")
    shutil.rmtree(folders[-number - 1])
    _edit_oddities(share, number, chance)


def _edit_oddities(share: Path, number: int, chance: random.Random) -> None:
    links = share / "links"
    with (links / "large").open("r+b") as file:
        file.seek(chance.randrange(2_900_000))
        file.write(chance.randbytes(150))
    with (links / "sparse").open("r+b") as file:
        file.seek(20_000_000 * number)
        file.write(b"another island")
    (links / "one").write_bytes(b"all three names changed %d" % number)
    os.link(links / "one", links / f"name-{number}")
    if number == 2:
        (links / "two").unlink()
        os.remove(share / "attributes" / "fifo")
        os.removexattr(share / "attributes" / "xattrs", "user.comment")
    temporary = links / "empty.tmp"
    temporary.write_bytes(b"saved atomically %d" % number)
    temporary.rename(links / "empty")
    (share / f"new-{number}").mkdir()
    (share / f"new-{number}" / "file").write_bytes(chance.randbytes(100_000))
