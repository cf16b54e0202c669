"""What the kernel's FUSE device says and is told, byte by byte (linux/fuse.h, protocol 7.31 to 7.45, the machine's byte order).

Only layouts and numbers stand here. `Request` is one message of the kernel; answers are a header and parts.
"""

import os
import struct
from dataclasses import dataclass
from enum import IntEnum

PROTOCOL_MAJOR, PROTOCOL_MINOR, OLDEST_MINOR = 7, 31, 31
ROOT_ID = 1
MAX_WRITE_BYTES = 1024 * 1024  # of one request: 256 pages, the most that the kernel grants, and one change
REQUEST_BYTES = MAX_WRITE_BYTES + 4096
VALID_SECONDS = 60  # every change comes this way, so what the kernel remembers stays true; the limit is for what went past it


class Call(IntEnum):
    """What the kernel asks for."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    READLINK = 5
    SYMLINK = 6
    MKNOD = 8
    MKDIR = 9
    UNLINK = 10
    RMDIR = 11
    RENAME = 12
    LINK = 13
    OPEN = 14
    READ = 15
    WRITE = 16
    STATFS = 17
    RELEASE = 18
    FSYNC = 20
    SETXATTR = 21
    GETXATTR = 22
    LISTXATTR = 23
    REMOVEXATTR = 24
    FLUSH = 25
    INIT = 26
    OPENDIR = 27
    READDIR = 28
    RELEASEDIR = 29
    FSYNCDIR = 30
    CREATE = 35
    INTERRUPT = 36
    DESTROY = 38
    BATCH_FORGET = 42
    FALLOCATE = 43
    READDIRPLUS = 44
    RENAME2 = 45
    LSEEK = 46
    SYNCFS = 50


class Set(IntEnum):
    """Which fields of a SETATTR count."""

    MODE = 1 << 0
    UID = 1 << 1
    GID = 1 << 2
    SIZE = 1 << 3
    ATIME = 1 << 4
    MTIME = 1 << 5
    HANDLE = 1 << 6
    ATIME_NOW = 1 << 7
    MTIME_NOW = 1 << 8
    KILL_PRIVILEGES = 1 << 11


WRITE_KILLS_PRIVILEGES = 1 << 2
GETATTR_BY_HANDLE = 1
SYNC_ONLY_DATA = 1
KEEP_CACHE = 1 << 1
CACHE_LISTING = 1 << 3

_BIG_WRITES = 1 << 5
_DONT_MASK = 1 << 6
_READDIRPLUS = 1 << 13
_READDIRPLUS_AUTO = 1 << 14
_ASYNC_READ = 1 << 0
_POSIX_ACL = 1 << 20
_MAX_PAGES = 1 << 22
_CACHE_SYMLINKS = 1 << 23
_HANDLE_KILLPRIV_V2 = 1 << 28
# Not wanted, which matters: the write-back cache (order and time of writes would be lost), locks (the kernel keeps them itself,
# as all programs come through this one mount), truncation at open (it comes as a SETATTR of its own).
_WANTED = (
    _ASYNC_READ | _BIG_WRITES | _DONT_MASK | _READDIRPLUS | _READDIRPLUS_AUTO | _POSIX_ACL | _MAX_PAGES | _CACHE_SYMLINKS
    | _HANDLE_KILLPRIV_V2
)  # fmt: skip

IN_HEADER = struct.Struct("=IIQQIIIHH")
OUT_HEADER = struct.Struct("=IiQ")
_INIT_IN = struct.Struct("=IIII")
_INIT_OUT = struct.Struct("=IIIIHHIIHHI28x")
_ATTRIBUTES = struct.Struct("=6Q10I")
_ENTRY = struct.Struct("=QQQQII")
_VALIDITY = struct.Struct("=QII")
_STATFS = struct.Struct("=5Q4I24x")
_ENTRY_NAME = struct.Struct("=QQII")

SETATTR_IN = struct.Struct("=II6Q8I")
GETATTR_IN = struct.Struct("=IIQ")
TWO_WORDS = struct.Struct("=II")
MKNOD_IN = struct.Struct("=IIII")
RENAME2_IN = struct.Struct("=QII")
ONE_LONG = struct.Struct("=Q")
CREATE_IN = struct.Struct("=IIII")
HANDLE_IN = struct.Struct("=QII")
READ_IN = struct.Struct("=QQIIQII")
WRITE_IN = READ_IN
FALLOCATE_IN = struct.Struct("=QQQII")
LSEEK_IN = struct.Struct("=QQII")
FORGET_ONE = struct.Struct("=QQ")
OPEN_OUT = struct.Struct("=QIi")

_U64 = 2**64 - 1


@dataclass(slots=True)
class Request:
    """One call of the kernel; `body` is valid until the next one is read."""

    call: int
    unique: int
    node: int
    uid: int
    gid: int
    body: memoryview


def read_request(buffer: memoryview) -> Request:
    """Take a message of the kernel apart."""
    _, call, unique, node, uid, gid, _, _, _ = IN_HEADER.unpack_from(buffer)
    return Request(call, unique, node, uid, gid, buffer[IN_HEADER.size :])


def read_init(body: memoryview) -> tuple[int, int, int, int]:
    """Return (major, minor, read-ahead, flags) that the kernel offers."""
    major, minor, readahead, flags = _INIT_IN.unpack_from(body)
    return major, minor, readahead, flags


def init_answer(readahead: int, offered: int) -> bytes:
    """Return what is wanted of what the kernel offers."""
    flags, pages = _WANTED & offered, MAX_WRITE_BYTES // 4096
    return _INIT_OUT.pack(PROTOCOL_MAJOR, PROTOCOL_MINOR, readahead, flags, 64, 48, MAX_WRITE_BYTES, 1, pages, 0, 0)


def attributes(found: os.stat_result) -> bytes:
    """Return a node's attributes."""
    times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    seconds = [time // 1_000_000_000 & _U64 for time in times]
    return _ATTRIBUTES.pack(
        found.st_ino & _U64, found.st_size, found.st_blocks, *seconds, *(time % 1_000_000_000 for time in times),
        found.st_mode, found.st_nlink, found.st_uid, found.st_gid, _device(found.st_rdev), found.st_blksize, 0,
    )  # fmt: skip


def attributes_answer(found: os.stat_result) -> bytes:
    """Return the answer to GETATTR and SETATTR."""
    return _VALIDITY.pack(VALID_SECONDS, 0, 0) + attributes(found)


def entry_answer(node: int, found: os.stat_result) -> bytes:
    """Return the answer to calls that find or make a name."""
    return _ENTRY.pack(node, 0, VALID_SECONDS, VALID_SECONDS, 0, 0) + attributes(found)


NO_ENTRY = _ENTRY.pack(0, 0, VALID_SECONDS, 0, 0, 0) + bytes(_ATTRIBUTES.size)
"""Stands for a name that is not there (LOOKUP), or of which a listing does not say more."""


def listing_entry(inode: int, offset: int, kind: int, name: bytes) -> bytes:
    """Return one name of a listing; `offset` is where the next one is."""
    entry = _ENTRY_NAME.pack(inode & _U64, offset, len(name), kind) + name
    return entry + bytes(-len(entry) % 8)


def statfs_answer(found: os.statvfs_result) -> bytes:
    """Return the answer to STATFS."""
    return _STATFS.pack(
        found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree, found.f_bsize, found.f_namemax,
        found.f_frsize, 0,
    )  # fmt: skip


def names_of(body: memoryview, offset: int, count: int) -> list[bytes]:
    """Return the `count` names, each ended by NUL, that stand at `offset`."""
    return bytes(body[offset:]).split(b"\0", count)[:count]


def time_of(seconds: int, nanoseconds: int) -> int:
    """Return a time in nanoseconds; the kernel sends seconds before 1970 as large numbers."""
    return (seconds - 2**64 if seconds >= 2**63 else seconds) * 1_000_000_000 + nanoseconds


def device_of(number: int) -> int:
    """Return the device number that stands in a MKNOD."""
    return os.makedev((number & 0xFFF00) >> 8, (number & 0xFF) | (number >> 12 & 0xFFF00))


def _device(number: int) -> int:
    major, minor = os.major(number), os.minor(number)
    return (minor & 0xFF) | major << 8 | (minor & ~0xFF) << 12
