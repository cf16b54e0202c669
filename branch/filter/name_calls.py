"""Calls about names: look up, make, link, rename, remove. Each passes through and is written down before it is answered."""

import errno
import os
import stat

from branch.filter.answers import DONE, Answer, Handler
from branch.filter.change_log import ChangeLog
from branch.filter.fuse_format import (
    CREATE_IN,
    FORGET_ONE,
    KEEP_CACHE,
    MKNOD_IN,
    NO_ENTRY,
    ONE_LONG,
    OPEN_OUT,
    RENAME2_IN,
    TWO_WORDS,
    Call,
    Request,
    device_of,
    entry_answer,
    names_of,
)
from branch.filter.nodes import Node, NodeTable
from branch.filter.system_calls import RENAME_EXCHANGE, RENAME_NOREPLACE, link_open_file, rename

_PRIVILEGES = stat.S_ISUID | stat.S_ISGID


class NameCalls:
    """Handles calls for names in folders; used by the serving thread, which has a umask of its own."""

    def __init__(self, table: NodeTable, log: ChangeLog) -> None:
        """Follow names in `table` and write changes into `log`."""
        self._table, self._log = table, log

    def handlers(self) -> dict[int, Handler]:
        """Return the handlers by call."""
        return {
            Call.LOOKUP: self._lookup, Call.FORGET: self._forget, Call.BATCH_FORGET: self._forget_many,
            Call.SYMLINK: self._symlink, Call.MKNOD: self._mknod, Call.MKDIR: self._mkdir, Call.UNLINK: self._unlink,
            Call.RMDIR: self._rmdir, Call.RENAME: self._rename, Call.RENAME2: self._rename2, Call.LINK: self._link,
            Call.CREATE: self._create, Call.READLINK: self._readlink,
        }  # fmt: skip

    def _lookup(self, request: Request) -> Answer:
        folder, (name,) = self._table.node(request.node), names_of(request.body, 0, 1)
        try:
            found = os.stat(name, dir_fd=self._table.folder(folder), follow_symlinks=False)
        except FileNotFoundError:
            return (NO_ENTRY,)
        return (entry_answer(self._table.seen(folder, name, found).id, found),)

    def _forget(self, request: Request) -> Answer:
        (count,) = ONE_LONG.unpack_from(request.body)
        self._table.forget(request.node, count)
        return None

    def _forget_many(self, request: Request) -> Answer:
        many, _ = TWO_WORDS.unpack_from(request.body)
        start = TWO_WORDS.size
        for number, count in FORGET_ONE.iter_unpack(request.body[start : start + many * FORGET_ONE.size]):
            self._table.forget(number, count)
        return None

    def _readlink(self, request: Request) -> Answer:
        folder, name = self._table.place(self._table.node(request.node))
        return (os.readlink(name, dir_fd=folder),)

    # -- making ---------------------------------------------------------------------------------------------------

    def _mkdir(self, request: Request) -> Answer:
        mode, umask = TWO_WORDS.unpack_from(request.body)
        folder, (name,) = self._begin(request, TWO_WORDS.size)
        os.umask(umask)
        os.mkdir(name, mode, dir_fd=self._table.folder(folder))
        return (self._made(request, folder, name),)

    def _mknod(self, request: Request) -> Answer:
        mode, device, umask, _ = MKNOD_IN.unpack_from(request.body)
        folder, (name,) = self._begin(request, MKNOD_IN.size)
        os.umask(umask)
        os.mknod(name, mode, device_of(device), dir_fd=self._table.folder(folder))
        return (self._made(request, folder, name),)

    def _symlink(self, request: Request) -> Answer:
        folder = self._table.node(request.node)
        name, target = names_of(request.body, 0, 2)
        self._log.check_place(folder, name)
        os.symlink(target, name, dir_fd=self._table.folder(folder))
        return (self._made(request, folder, name, target),)

    def _create(self, request: Request) -> Answer:
        flags, mode, umask, _ = CREATE_IN.unpack_from(request.body)
        folder, (name,) = self._begin(request, CREATE_IN.size)
        os.umask(umask)
        how = (flags & os.O_ACCMODE) | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, how, mode & 0o7777, dir_fd=self._table.folder(folder))
        try:
            entry = self._made(request, folder, name)
        except BaseException:
            os.close(descriptor)
            raise
        folder.entries[name].files.append(descriptor)
        return entry, OPEN_OUT.pack(descriptor, KEEP_CACHE, 0)

    def _begin(self, request: Request, offset: int) -> tuple[Node, list[bytes]]:
        folder, names = self._table.node(request.node), names_of(request.body, offset, 1)
        self._log.check_place(folder, names[0])
        return folder, names

    def _made(self, request: Request, folder: Node, name: bytes, target: bytes = b"") -> bytes:
        """Give what was made to who made it, write it down, and return its entry."""
        try:
            found = self._give(request, folder, name)
        except OSError:
            self._log.lose("what was made could not be given to who made it")
            raise
        node = self._table.seen(folder, name, found)
        self._log.made(folder, name, node, found, target)
        return entry_answer(node.id, found)

    def _give(self, request: Request, folder: Node, name: bytes) -> os.stat_result:
        descriptor = self._table.folder(folder)
        found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        gid = found.st_gid if os.fstat(descriptor).st_mode & stat.S_ISGID else request.gid
        if (found.st_uid, found.st_gid) != (request.uid, gid):
            os.chown(name, request.uid, gid, dir_fd=descriptor, follow_symlinks=False)
            if found.st_mode & _PRIVILEGES and not stat.S_ISLNK(found.st_mode):  # which the change of owner has taken away
                os.chmod(name, stat.S_IMODE(found.st_mode), dir_fd=descriptor)
            found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        return found

    def _link(self, request: Request) -> Answer:
        (number,) = ONE_LONG.unpack_from(request.body)
        folder, (name,) = self._begin(request, ONE_LONG.size)
        node = self._table.node(number)
        existing, goal = self._table.path(node), self._table.folder(folder)
        if node.names:
            place = self._table.place(node)
            os.link(place[1], name, src_dir_fd=place[0], dst_dir_fd=goal, follow_symlinks=False)
        elif node.files:
            link_open_file(node.files[0], goal, name)
        else:
            raise OSError(errno.ENOENT, "removed")
        found = os.stat(name, dir_fd=goal, follow_symlinks=False)
        self._table.seen(folder, name, found)
        self._log.linked(folder, name, existing, found)
        return (entry_answer(node.id, found),)

    # -- moving and removing --------------------------------------------------------------------------------------

    def _rename(self, request: Request) -> Answer:
        (number,) = ONE_LONG.unpack_from(request.body)
        return self._move(request, number, 0, ONE_LONG.size)

    def _rename2(self, request: Request) -> Answer:
        number, flags, _ = RENAME2_IN.unpack_from(request.body)
        return self._move(request, number, flags, RENAME2_IN.size)

    def _move(self, request: Request, number: int, flags: int, offset: int) -> Answer:
        if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE):
            raise OSError(errno.EINVAL, "not offered")
        table = self._table
        folder, new_folder = table.node(request.node), table.node(number)
        name, new_name = names_of(request.body, offset, 2)
        self._log.check_place(new_folder, new_name)
        source, goal = table.folder(folder), table.folder(new_folder)
        moved = os.stat(name, dir_fd=source, follow_symlinks=False)
        there = _state(new_name, goal)
        rename(source, name, goal, new_name, flags)
        if there is not None and os.path.samestat(moved, there):
            return DONE  # two names of one node: nothing happens
        is_exchange = bool(flags & RENAME_EXCHANGE)
        self._log.renamed(folder, name, new_folder, new_name, is_exchange)
        replaced = new_folder.entries.get(new_name)
        table.rename(folder, name, new_folder, new_name, is_exchange)
        if replaced is not None and there is not None and not is_exchange and _was_last(there):
            table.dies(replaced)
        return DONE

    def _unlink(self, request: Request) -> Answer:
        folder, name, descriptor, found = self._removable(request)
        os.unlink(name, dir_fd=descriptor)
        return self._removed(folder, name, found)

    def _rmdir(self, request: Request) -> Answer:
        folder, name, descriptor, found = self._removable(request)
        os.rmdir(name, dir_fd=descriptor)
        return self._removed(folder, name, found)

    def _removable(self, request: Request) -> tuple[Node, bytes, int, os.stat_result]:
        folder, (name,) = self._table.node(request.node), names_of(request.body, 0, 1)
        descriptor = self._table.folder(folder)
        return folder, name, descriptor, os.stat(name, dir_fd=descriptor, follow_symlinks=False)

    def _removed(self, folder: Node, name: bytes, found: os.stat_result) -> Answer:
        self._log.removed(folder, name)
        node = self._table.drop_name(folder, name)
        if node is not None and _was_last(found):
            self._table.dies(node)
        return DONE


def _state(name: bytes, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _was_last(found: os.stat_result) -> bool:
    """Tell whether a node that was in the state `found` is gone with the name it lost."""
    return stat.S_ISDIR(found.st_mode) or found.st_nlink <= 1
