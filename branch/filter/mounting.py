"""Putting the file system over a share's folder, and taking it away: also what an agent left that was killed."""

import errno
import os
import re
from collections.abc import Iterator

from branch.filter.system_calls import mount, unmount
from core.errors import Refused, TryLater
from core.relpath import show_path

KIND = b"fuse.stagekeeper"
_DEVICE = b"/dev/fuse"
_INHERITED = os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC  # the numbers of mount(2) are the same
_OCTAL = re.compile(rb"\\([0-7]{3})")


class FilterUnavailable(Refused):
    """This machine does not let the file system be mounted."""


class MountBusy(TryLater):
    """Programs use the mount."""


def check_available() -> None:
    """Raise `FilterUnavailable` naming what is missing."""
    try:
        os.close(os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        raise FilterUnavailable(
            f"the filter capture needs {os.fsdecode(_DEVICE)}: {error.strerror}",
            remedy="load the kernel's fuse module and run the agent as root, or use --capture watch",
        ) from error
    if os.geteuid() != 0:
        raise FilterUnavailable("the filter capture mounts a file system", remedy="run as root, or use --capture watch")


def mount_over(path: bytes, root: int, share: str) -> int:
    """Mount over the folder `path`, open as `root`; return the device by which calls come. Raise `FilterUnavailable`."""
    check_available()
    device = os.open(_DEVICE, os.O_RDWR | os.O_CLOEXEC)
    options = b"fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other" % (device, os.fstat(root).st_mode)
    try:
        mount(b"stagekeeper:" + share.encode(), path, KIND, os.fstatvfs(root).f_flag & _INHERITED, options)
    except OSError as error:
        os.close(device)
        raise FilterUnavailable(
            f"nothing can be mounted over {show_path(path)}: {error.strerror}", remedy="run as root, or use --capture watch"
        ) from error
    return device


def is_mounted(path: bytes) -> bool:
    """Tell whether the topmost mount at a path is one of ours, alive or dead."""
    kinds = [kind for place, kind in _mounts() if place == path]
    return bool(kinds) and kinds[-1] == KIND


def release(path: bytes, detach: bool) -> None:
    """Take our topmost mount at a path away. Without `detach` raise `MountBusy` while programs use it."""
    try:
        unmount(path, detach)
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise MountBusy(f"programs use {show_path(path)}", remedy="end them first") from error
        raise FilterUnavailable(
            f"{show_path(path)} cannot be unmounted: {error.strerror}", remedy=f"as root: umount -l {show_path(path)}"
        ) from error


def _mounts() -> Iterator[tuple[bytes, bytes]]:
    """Yield (place, kind) of all mounts, later ones over earlier ones."""
    with open(b"/proc/self/mountinfo", "rb") as file:
        for line in file:
            fields = line.split(b" ")
            place = _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), fields[4])
            yield place, fields[fields.index(b"-", 6) + 1]
