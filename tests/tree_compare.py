"""Comparing two trees on disk: everything that a restore must bring back."""

import os
import stat
from pathlib import Path


def describe_tree(root: Path, with_times: bool = True) -> dict[bytes, tuple[object, ...]]:
    """Return path → (type, mode, owner, mtime ns, xattrs, content or target or device, first name of a hard link)."""
    found: dict[bytes, tuple[object, ...]] = {}
    first_names: dict[tuple[int, int], bytes] = {}
    pending = [b""]
    top = os.fsencode(root)
    while pending:
        path = pending.pop()
        full = os.path.join(top, path) if path else top
        status = os.lstat(full)
        kind = stat.S_IFMT(status.st_mode)
        body: object = None
        if kind == stat.S_IFDIR:
            pending += sorted((os.path.join(path, name) if path else name for name in os.listdir(full)), reverse=True)
        elif kind == stat.S_IFREG:
            body = Path(os.fsdecode(full)).read_bytes()
        elif kind == stat.S_IFLNK:
            body = os.readlink(full)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            body = status.st_rdev
        first = first_names.setdefault((status.st_dev, status.st_ino), path) if kind != stat.S_IFDIR else path
        names = os.listxattr(full, follow_symlinks=False)
        xattrs = tuple(sorted((name, os.getxattr(full, name, follow_symlinks=False)) for name in names))
        owner = (status.st_uid, status.st_gid)
        mtime = status.st_mtime_ns if with_times else 0
        found[path] = (kind, stat.S_IMODE(status.st_mode), owner, mtime, xattrs, body, first)
    return found


def differences(left: Path, right: Path) -> list[str]:
    """Return what differs between two trees, in sentences; empty when nothing does."""
    a, b = describe_tree(left), describe_tree(right)
    found = [f"only left: {path!r}" for path in sorted(a.keys() - b.keys())]
    found += [f"only right: {path!r}" for path in sorted(b.keys() - a.keys())]
    parts = ("type", "mode", "owner", "mtime", "xattrs", "content", "links")
    for path in sorted(a.keys() & b.keys()):
        for part, one, other in zip(parts, a[path], b[path], strict=True):
            if one != other:
                shown = "" if part == "content" else f": {one!r} != {other!r}"
                found.append(f"{part} of {path!r}{shown}")
    return found
