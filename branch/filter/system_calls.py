"""Calls of the kernel that Python does not offer, made on the files of a share.

Not for files of the agent's own state: those are synced and renamed by `core.durable` alone. Each call raises `OSError`.
"""

import ctypes
import os

RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE = 0x01, 0x02, 0x10
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
_CLONE_FS = 0x200
_AT_SYMLINK_FOLLOW = 0x400
_AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)
_int, _long, _text, _unsigned = ctypes.c_int, ctypes.c_int64, ctypes.c_char_p, ctypes.c_ulong
_libc.mount.argtypes = (_text, _text, _text, _unsigned, _text)
_libc.umount2.argtypes = (_text, _int)
_libc.renameat2.argtypes = (_int, _text, _int, _text, ctypes.c_uint)
_libc.linkat.argtypes = (_int, _text, _int, _text, _int)
_libc.fallocate64.argtypes = (_int, _int, _long, _long)
for _name in ("syncfs", "fsync", "fdatasync", "unshare"):
    getattr(_libc, _name).argtypes = (_int,)


def _check(result: int) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def mount(source: bytes, target: bytes, kind: bytes, flags: int, options: bytes) -> None:
    """Mount a file system of `kind` at `target`."""
    _check(_libc.mount(source, target, kind, flags, options))


def unmount(target: bytes, detach: bool) -> None:
    """Take the topmost mount at `target` away; with `detach` also while it is in use, for those who come later."""
    _check(_libc.umount2(target, _UMOUNT_NOFOLLOW | (_MNT_DETACH if detach else 0)))


def rename(folder: int, name: bytes, new_folder: int, new_name: bytes, flags: int) -> None:
    """Rename between open folders."""
    _check(_libc.renameat2(folder, name, new_folder, new_name, flags))


def link_open_file(descriptor: int, folder: int, name: bytes) -> None:
    """Give an open file a further name."""
    _check(_libc.linkat(_AT_FDCWD, b"/proc/self/fd/%d" % descriptor, folder, name, _AT_SYMLINK_FOLLOW))


def allocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    """Reserve, punch or zero a range of an open file."""
    _check(_libc.fallocate64(descriptor, mode, offset, length))


def sync_file(descriptor: int, only_data: bool) -> None:
    """Return when an open file is on its disk."""
    _check(_libc.fdatasync(descriptor) if only_data else _libc.fsync(descriptor))


def sync_file_system(descriptor: int) -> None:
    """Return when all of the file system that an open file lies on is on its disk."""
    _check(_libc.syncfs(descriptor))


def leave_shared_umask() -> None:
    """Give the calling thread a umask (and a current folder) of its own."""
    _check(_libc.unshare(_CLONE_FS))
