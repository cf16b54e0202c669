"""Reading everything about a node but its content: mode, owners with their names, times, xattrs, POSIX ACLs.

What the reader may not see is left out (a folder that only search permission is given for has no readable xattrs).
"""

import grp
import os
import pwd
import stat

import msgspec

from core.digest import digest_of
from staging.changes import MAX_XATTR_BYTES, Attributes

_PREFIXES = ("user.", "trusted.")
_NAMES = frozenset({"security.capability", "system.posix_acl_access", "system.posix_acl_default"})
_MAX_ALL_XATTRS_BYTES = 4 * 1024 * 1024  # half of what a frame may hold unpacked
_LATEST_NS = 2**63 - 1
LONGEST_MARK_BYTES = 80  # a file without xattrs, with owners of usual names
_encoder = msgspec.msgpack.Encoder()


class AttributesTooLarge(Exception):
    """A node's xattrs do not fit into a frame."""


class Owners:
    """Names of user and group ids, asked once each until `forget`."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._users: dict[int, bytes] = {}
        self._groups: dict[int, bytes] = {}

    def forget(self) -> None:
        """Ask anew from here on: names may have changed."""
        self._users.clear()
        self._groups.clear()

    def user(self, uid: int) -> bytes:
        """Return a user's name, empty when the id has none."""
        name = self._users.get(uid)
        if name is None:
            try:
                name = os.fsencode(pwd.getpwuid(uid).pw_name)[:255]
            except KeyError:
                name = b""
            self._users[uid] = name
        return name

    def group(self, gid: int) -> bytes:
        """Return a group's name, empty when the id has none."""
        name = self._groups.get(gid)
        if name is None:
            try:
                name = os.fsencode(grp.getgrgid(gid).gr_name)[:255]
            except KeyError:
                name = b""
            self._groups[gid] = name
        return name


class AttributeReader:
    """Reads attributes of open files, or of names in open folders."""

    def __init__(self, owners: Owners) -> None:
        """Take the names of owners from `owners`."""
        self._owners = owners

    def of_descriptor(self, descriptor: int, found: os.stat_result) -> Attributes:
        """Return the attributes of an open file or folder in the state `found`."""
        return self._attributes(descriptor, found)

    def of_name(self, folder: int, name: bytes, found: os.stat_result) -> Attributes:
        """Return the attributes of a name in an open folder; a symlink's own, not its target's."""
        return self._attributes(b"/proc/self/fd/%d/%s" % (folder, name), found)

    def _attributes(self, place: int | bytes, found: os.stat_result) -> Attributes:
        uid, gid = found.st_uid, found.st_gid
        return Attributes(
            stat.S_IMODE(found.st_mode),
            uid,
            gid,
            mtime_of(found),
            self._owners.user(uid),
            self._owners.group(gid),
            _xattrs(place),
        )


def mtime_of(found: os.stat_result) -> int:
    """Return the time of the last write, bounded to what a change can carry."""
    mtime = found.st_mtime_ns
    return mtime if -_LATEST_NS <= mtime <= _LATEST_NS else max(-_LATEST_NS, min(mtime, _LATEST_NS))


def attributes_mark(attributes: Attributes) -> bytes:
    """Return what the memory keeps of attributes to tell whether they changed: themselves, or a digest of long ones."""
    encoded = _encoder.encode(attributes)
    return encoded if len(encoded) <= LONGEST_MARK_BYTES else digest_of(encoded)


def _xattrs(place: int | bytes) -> tuple[tuple[bytes, bytes], ...]:
    follow = isinstance(place, int)
    try:
        names = os.listxattr(place, follow_symlinks=follow)
    except OSError:  # the file system has none, or they may not be seen
        return ()
    if not names:
        return ()
    found: list[tuple[bytes, bytes]] = []
    total = 0
    for name in names:
        if not (name.startswith(_PREFIXES) or name in _NAMES):
            continue
        try:
            value = os.getxattr(place, name, follow_symlinks=follow)
        except OSError:  # gone since, or not for us
            continue
        total += len(name) + len(value)
        if total > _MAX_ALL_XATTRS_BYTES or len(value) > MAX_XATTR_BYTES:
            raise AttributesTooLarge(f"extended attributes of {total} bytes are more than a change can carry")
        found.append((os.fsencode(name), value))
    return tuple(sorted(found))
