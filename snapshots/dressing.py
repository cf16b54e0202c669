"""Giving a restored file, folder or node its owner, mode, extended attributes and times.

What cannot be given is told as (what, why), and the rest is given all the same. Any thread may call.
"""

import os
import stat
from collections.abc import Callable

from core.relpath import show_path
from snapshots.target_folder import describe
from staging.changes import Attributes, Kind

Missed = list[tuple[str, str]]
"""What was not given, and why."""

_SET_IDS = stat.S_ISUID | stat.S_ISGID
_UNCHANGED = 2**32 - 1  # to chown(2) it means "leave it as it is"


def dress(descriptor: int, wanted: Attributes) -> Missed:
    """Set owner, mode, xattrs and times of an open file or folder, in the order in which none undoes another."""
    missed: Missed = []
    is_theirs = _give(missed, wanted, lambda: os.fchown(descriptor, wanted.uid, wanted.gid))
    mode = _mode_for(missed, wanted, is_theirs)
    _try(missed, "mode", lambda: os.fchmod(descriptor, mode))
    for name, value in wanted.xattrs:
        _try(missed, f"attribute {show_path(name)}", _setter(descriptor, name, value))
    _try(missed, "time", lambda: os.utime(descriptor, ns=(wanted.mtime_ns, wanted.mtime_ns)))
    return missed


def dress_by_name(name: bytes, folder: int, kind: Kind, wanted: Attributes) -> Missed:
    """Do the same for what cannot be opened without consequences: a symlink, a FIFO, a device."""
    missed: Missed = []
    is_theirs = _give(missed, wanted, lambda: os.chown(name, wanted.uid, wanted.gid, dir_fd=folder, follow_symlinks=False))
    if kind is not Kind.SYMLINK:
        mode = _mode_for(missed, wanted, is_theirs)
        _try(missed, "mode", lambda: os.chmod(name, mode, dir_fd=folder))
    for attribute, value in wanted.xattrs:
        by_handle = b"/proc/self/fd/%d/%s" % (folder, name)
        _try(missed, f"attribute {show_path(attribute)}", _link_setter(by_handle, attribute, value))
    times = (wanted.mtime_ns, wanted.mtime_ns)
    _try(missed, "time", lambda: os.utime(name, ns=times, dir_fd=folder, follow_symlinks=False))
    return missed


def _give(missed: Missed, wanted: Attributes, action: Callable[[], None]) -> bool:
    """Give it to its owner and return True, or tell what failed: also an id that the system passes over and calls it done."""
    is_given = _try(missed, "owner", action)
    if is_given and _UNCHANGED in (wanted.uid, wanted.gid):
        missed.append(("owner", f"the system gives nothing to {wanted.uid}:{wanted.gid}, it leaves the owner as it is"))
        return False
    return is_given


def _mode_for(missed: Missed, wanted: Attributes, is_theirs: bool) -> int:
    """Return the mode to set: a program must not run as whoever happens to own it here."""
    if is_theirs or not wanted.mode & _SET_IDS:
        return wanted.mode
    missed.append(("mode", "without its set-ID bits, as the owner is another"))
    return wanted.mode & ~_SET_IDS


def _try(missed: Missed, what: str, action: Callable[[], None]) -> bool:
    """Do it and return True, or tell what failed."""
    try:
        action()
        return True
    except OSError as error:
        missed.append((what, describe(error)))
    except (ValueError, OverflowError) as error:  # a value that this system's calls do not take
        missed.append((what, str(error)))
    return False


def _setter(descriptor: int, name: bytes, value: bytes) -> Callable[[], None]:
    return lambda: os.setxattr(descriptor, name, value)


def _link_setter(path: bytes, name: bytes, value: bytes) -> Callable[[], None]:
    return lambda: os.setxattr(path, name, value, follow_symlinks=False)
