"""The kernel's inotify, through ctypes: watches on open folders, and their events as they come.

Only what may change a file is asked for, never opening or reading one. Events say that something happened at a name; what
is true is found by looking.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_UNMOUNT = 0x2000
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000
IN_ONLYDIR = 0x1000000
IN_DONT_FOLLOW = 0x2000000
IN_ISDIR = 0x40000000

_ASKED = (
    IN_MODIFY | IN_ATTRIB | IN_CLOSE_WRITE | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE
    | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR | IN_DONT_FOLLOW
)  # fmt: skip
OF_ITSELF = IN_DELETE_SELF | IN_MOVE_SELF | IN_UNMOUNT  # of the watched folder, not of what is in it
_EVENT = struct.Struct("iIII")
_READ_BYTES = 256 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class WatchLimit(Exception):
    """The kernel grants no more watches (or no inotify at all)."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened at `name` in the folder watched as `watch`."""

    watch: int
    mask: int
    cookie: int
    name: bytes


class Inotify:
    """One inotify instance. Adding watches may go on beside reading."""

    def __init__(self) -> None:
        """Open an instance; raise `WatchLimit` when the user has too many."""
        self.descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self.descriptor < 0:
            raise WatchLimit(os.strerror(ctypes.get_errno()))

    def add(self, folder: int, mask: int = _ASKED) -> int | None:
        """Watch an open folder for `mask` and return the watch; None when it cannot be watched. Raise `WatchLimit`."""
        path = b"/proc/self/fd/%d/." % folder
        watch = _libc.inotify_add_watch(self.descriptor, path, mask)
        if watch >= 0:
            return int(watch)
        number = ctypes.get_errno()
        if number in (errno.ENOSPC, errno.ENOMEM):
            raise WatchLimit(os.strerror(number))
        return None

    def remove(self, watch: int) -> None:
        """End a watch, if it still is one."""
        _libc.inotify_rm_watch(self.descriptor, watch)

    def read(self) -> Iterator[Event]:
        """Yield the events that are there."""
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            watch, mask, cookie, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = data[offset : offset + length].split(b"\0", 1)[0]
            offset += length
            yield Event(watch, mask, cookie, name)

    def close(self) -> None:
        """End all watches; may be called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
