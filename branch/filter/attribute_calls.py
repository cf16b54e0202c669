"""Calls about attributes: mode, owner, size, times, extended attributes, room on the disk."""

import errno
import os
import stat

from branch.filter.answers import DONE, Answer, Handler
from branch.filter.change_log import ChangeLog
from branch.filter.file_calls import FileCalls
from branch.filter.fuse_format import (
    GETATTR_BY_HANDLE,
    GETATTR_IN,
    SETATTR_IN,
    TWO_WORDS,
    Call,
    Request,
    Set,
    attributes_answer,
    names_of,
    statfs_answer,
    time_of,
)
from branch.filter.nodes import Node, NodeTable


class AttributeCalls:
    """Handles calls for attributes of nodes."""

    def __init__(self, table: NodeTable, log: ChangeLog, files: FileCalls) -> None:
        """Reach nodes by `table` and write changes into `log`."""
        self._table, self._log, self._files = table, log, files

    def handlers(self) -> dict[int, Handler]:
        """Return the handlers by call."""
        return {
            Call.GETATTR: self._getattr, Call.SETATTR: self._setattr, Call.STATFS: self._statfs,
            Call.SETXATTR: self._setxattr, Call.GETXATTR: self._getxattr, Call.LISTXATTR: self._listxattr,
            Call.REMOVEXATTR: self._removexattr,
        }  # fmt: skip

    def _getattr(self, request: Request) -> Answer:
        flags, _, descriptor = GETATTR_IN.unpack_from(request.body)
        if flags & GETATTR_BY_HANDLE:
            return (attributes_answer(os.fstat(descriptor)),)
        return (attributes_answer(self._table.state(self._table.node(request.node))),)

    def _statfs(self, request: Request) -> Answer:
        return (statfs_answer(os.fstatvfs(self._table.root)),)

    # -- setting --------------------------------------------------------------------------------------------------

    def _setattr(self, request: Request) -> Answer:
        values = SETATTR_IN.unpack_from(request.body)
        valid, node = values[0], self._table.node(request.node)
        if valid & Set.SIZE:
            self._truncate(node, values[3], values[2] if valid & Set.HANDLE else -1, bool(valid & Set.KILL_PRIVILEGES))
        if valid & (Set.MODE | Set.UID | Set.GID | Set.ATIME | Set.MTIME):
            place, follow = self._reach(node)
            mode, uid, gid = values[11], values[13], values[14]
            try:
                if valid & (Set.UID | Set.GID):
                    owner = uid if valid & Set.UID else -1, gid if valid & Set.GID else -1
                    os.chown(place, *owner, follow_symlinks=follow)
                if valid & Set.MODE:
                    os.chmod(place, stat.S_IMODE(mode))
                if valid & (Set.ATIME | Set.MTIME):
                    self._set_times(node, place, follow, values)
            finally:  # also when only the first of several went well
                self._log.restated(node)
        return (attributes_answer(self._table.state(node)),)

    def _truncate(self, node: Node, size: int, descriptor: int, kills_privileges: bool) -> None:
        opened = descriptor if descriptor >= 0 else self._files.open(node, os.O_WRONLY)
        try:
            self._log.before_write(node)
            os.ftruncate(opened, size)
            self._log.truncated(node, size)
            if kills_privileges:
                self._files.drop_privileges(node, opened)
        finally:
            if opened != descriptor:
                os.close(opened)

    def _set_times(self, node: Node, place: int | bytes, follow: bool, values: tuple[int, ...]) -> None:
        valid, found = values[0], self._table.state(node)
        both_now = Set.ATIME | Set.MTIME | Set.ATIME_NOW | Set.MTIME_NOW
        if valid & both_now == both_now:
            os.utime(place, follow_symlinks=follow)
            return
        now = self._log.now_ns()
        atime, mtime = found.st_atime_ns, found.st_mtime_ns
        if valid & Set.ATIME:
            atime = now if valid & Set.ATIME_NOW else time_of(values[5], values[8])
        if valid & Set.MTIME:
            mtime = now if valid & Set.MTIME_NOW else time_of(values[6], values[9])
        os.utime(place, ns=(atime, mtime), follow_symlinks=follow)

    # -- extended attributes --------------------------------------------------------------------------------------

    def _setxattr(self, request: Request) -> Answer:
        size, flags = TWO_WORDS.unpack_from(request.body)
        start = TWO_WORDS.size
        (name,) = names_of(request.body, start, 1)
        start += len(name) + 1
        node = self._table.node(request.node)
        place, follow = self._reach(node)
        os.setxattr(place, name, bytes(request.body[start : start + size]), flags, follow_symlinks=follow)
        self._log.restated(node)
        return DONE

    def _removexattr(self, request: Request) -> Answer:
        (name,) = names_of(request.body, 0, 1)
        node = self._table.node(request.node)
        place, follow = self._reach(node)
        os.removexattr(place, name, follow_symlinks=follow)
        self._log.restated(node)
        return DONE

    def _getxattr(self, request: Request) -> Answer:
        size, _ = TWO_WORDS.unpack_from(request.body)
        (name,) = names_of(request.body, TWO_WORDS.size, 1)
        place, follow = self._reach(self._table.node(request.node))
        return _sized(os.getxattr(place, name, follow_symlinks=follow), size)

    def _listxattr(self, request: Request) -> Answer:
        size, _ = TWO_WORDS.unpack_from(request.body)
        place, follow = self._reach(self._table.node(request.node))
        names = os.listxattr(place, follow_symlinks=follow)
        return _sized(b"".join(os.fsencode(name) + b"\0" for name in names), size)

    def _reach(self, node: Node) -> tuple[int | bytes, bool]:
        """Return (descriptor or path, whether to follow it) for calls that take no folder."""
        place = self._table.reach(node)
        return place, isinstance(place, int)


def _sized(value: bytes, room: int) -> Answer:
    """Return a value, or only its size when no room was given for it."""
    if room == 0:
        return (TWO_WORDS.pack(len(value), 0),)
    if len(value) > room:
        raise OSError(errno.ERANGE, "too long")
    return (value,)
