"""The kernel's fanotify, through ctypes: one mark on a whole file system, and its events as they come.

An event names the folder by a file handle, not by a path, and the entry by its name. As with `branch.inotify`, only what may
change a file is asked for, and events only say that something happened there. Marking a file system and opening handles
both need capabilities (CAP_SYS_ADMIN, CAP_DAC_READ_SEARCH), and not every file system allows it.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

FAN_MODIFY = 0x2
FAN_ATTRIB = 0x4
FAN_CLOSE_WRITE = 0x8
FAN_MOVED_FROM = 0x40
FAN_MOVED_TO = 0x80
FAN_CREATE = 0x100
FAN_DELETE = 0x200
FAN_Q_OVERFLOW = 0x4000
FAN_ONDIR = 0x40000000

ITSELF = b"."  # the name in an event about the folder itself

_CLOEXEC, _NONBLOCK, _UNLIMITED_QUEUE, _REPORT_DIR_FID, _REPORT_NAME = 0x1, 0x2, 0x10, 0x400, 0x800
_REPORTING = _CLOEXEC | _NONBLOCK | _REPORT_DIR_FID | _REPORT_NAME
_MARK_ADD, _MARK_FILESYSTEM = 0x1, 0x100
_ASKED = (
    FAN_MODIFY | FAN_ATTRIB | FAN_CLOSE_WRITE | FAN_MOVED_FROM | FAN_MOVED_TO | FAN_CREATE | FAN_DELETE | FAN_ONDIR
)  # fmt: skip
_EVENT = struct.Struct("=IBxHQii")  # length, version, length of this, mask, descriptor, process
_INFO = struct.Struct("=BxHQ")  # type, length, file system
_HANDLE = struct.Struct("=Ii")  # bytes behind it, type
_FOLDER_AND_NAME = 2  # the type of the only information asked for
_VERSION = 3
_READ_BYTES = 256 * 1024
_AT_EMPTY_PATH = 0x1000
_LARGEST_HANDLE = 128

_libc = ctypes.CDLL(None, use_errno=True)
_libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
_libc.open_by_handle_at.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int]


class MarkRefused(Exception):
    """The kernel does not let this process watch a file system as a whole; the text is the kernel's reason."""


@dataclass(frozen=True, slots=True)
class FolderEvent:
    """Something happened at `name` in the folder that `handle` stands for."""

    mask: int
    handle: bytes
    name: bytes


class Fanotify:
    """One fanotify group. Marking may go on beside reading."""

    def __init__(self) -> None:
        """Open a group whose queue has no limit; raise `MarkRefused`."""
        self.descriptor = _libc.fanotify_init(_REPORTING | _UNLIMITED_QUEUE, os.O_RDONLY)
        if self.descriptor < 0:
            raise MarkRefused(os.strerror(ctypes.get_errno()))

    def mark_file_system(self, folder: int) -> None:
        """Watch the file system of an open folder, from now on; again changes nothing. Raise `MarkRefused`."""
        if _libc.fanotify_mark(self.descriptor, _MARK_ADD | _MARK_FILESYSTEM, _ASKED, folder, b".") < 0:
            raise MarkRefused(os.strerror(ctypes.get_errno()))

    def read(self) -> Iterator[FolderEvent]:
        """Yield the events that are there; one with an empty handle says that events were lost."""
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            length, version, head, mask, _, _ = _EVENT.unpack_from(data, offset)
            assert version == _VERSION
            handle, name = _folder_and_name(data, offset + head, offset + length)
            yield FolderEvent(mask, handle, name)
            offset += length

    def close(self) -> None:
        """End the group; may be called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _folder_and_name(data: bytes, begin: int, end: int) -> tuple[bytes, bytes]:
    while begin < end:
        kind, length, _ = _INFO.unpack_from(data, begin)
        if kind == _FOLDER_AND_NAME:
            handle = begin + _INFO.size
            name = handle + _HANDLE.size + _HANDLE.unpack_from(data, handle)[0]
            return data[handle:name], data[name : begin + length].split(b"\0", 1)[0]
        begin += length
    return b"", b""


def open_handle(mount: int, handle: bytes) -> int:
    """Open a folder by its handle, as a path only; `mount` is an open folder of its file system. Raise `OSError`."""
    descriptor = _libc.open_by_handle_at(mount, handle, os.O_PATH | os.O_CLOEXEC)
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return int(descriptor)


def handle_of(folder: int) -> bytes:
    """Return the handle of an open folder; raise `OSError` where its file system has none."""
    handle = ctypes.create_string_buffer(_HANDLE.size + _LARGEST_HANDLE)
    _HANDLE.pack_into(handle, 0, _LARGEST_HANDLE, 0)
    mount = ctypes.c_int()
    if _libc.name_to_handle_at(folder, b"", handle, ctypes.byref(mount), _AT_EMPTY_PATH) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return handle.raw[: _HANDLE.size + _HANDLE.unpack_from(handle, 0)[0]]
