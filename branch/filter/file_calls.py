"""Calls about the contents of files: open, read, write, allocate, sync, close. Writes are written down with their exact bytes."""

import errno
import os
import stat
from collections.abc import Callable
from concurrent.futures import Executor

from branch.filter.answers import DONE, Answer, Handler
from branch.filter.change_log import ChangeLog
from branch.filter.fuse_format import (
    FALLOCATE_IN,
    HANDLE_IN,
    KEEP_CACHE,
    LSEEK_IN,
    MAX_WRITE_BYTES,
    ONE_LONG,
    OPEN_OUT,
    READ_IN,
    SYNC_ONLY_DATA,
    TWO_WORDS,
    WRITE_IN,
    WRITE_KILLS_PRIVILEGES,
    Call,
    Request,
)
from branch.filter.nodes import Node, NodeTable
from branch.filter.system_calls import (
    FALLOC_KEEP_SIZE,
    FALLOC_PUNCH_HOLE,
    FALLOC_ZERO_RANGE,
    allocate,
    sync_file,
    sync_file_system,
)

MAX_ZEROED_BYTES = 64 * 1024 * 1024  # a larger range made zero inside a file is refused: programs write the zeros then
_PRIVILEGES = stat.S_ISUID | stat.S_ISGID
Reply = Callable[[int, OSError | None], None]


class FileCalls:
    """Handles calls for open files. What waits for a disk is done beside the serving thread, which goes on."""

    def __init__(self, table: NodeTable, log: ChangeLog, beside: Executor, reply: Reply) -> None:
        """Let `beside` wait for disks, and `reply` tell how a call ended that was not answered at once."""
        self._table, self._log, self._beside, self._reply = table, log, beside, reply

    def handlers(self) -> dict[int, Handler]:
        """Return the handlers by call."""
        return {
            Call.OPEN: self._open, Call.READ: self._read, Call.WRITE: self._write, Call.RELEASE: self._release,
            Call.FSYNC: self._fsync, Call.FSYNCDIR: self._fsync, Call.SYNCFS: self._syncfs,
            Call.FALLOCATE: self._fallocate, Call.LSEEK: self._lseek,
        }  # fmt: skip

    def _open(self, request: Request) -> Answer:
        flags, _ = TWO_WORDS.unpack_from(request.body)
        node = self._table.node(request.node)
        descriptor = self.open(node, flags & (os.O_ACCMODE | os.O_NOATIME))
        node.files.append(descriptor)
        return (OPEN_OUT.pack(descriptor, KEEP_CACHE, 0),)

    def open(self, node: Node, flags: int) -> int:
        """Open a node's file anew, by its name or, when it has none, by a descriptor that is open."""
        if node.names:
            folder, name = self._table.place(node)
            return os.open(name, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        if node.files:
            return os.open(b"/proc/self/fd/%d" % node.files[0], flags | os.O_CLOEXEC)
        raise OSError(errno.ENOENT, "removed")

    def _release(self, request: Request) -> Answer:
        descriptor, _, _ = HANDLE_IN.unpack_from(request.body)
        self._table.node(request.node).files.remove(descriptor)
        os.close(descriptor)
        return DONE

    def _read(self, request: Request) -> Answer:
        descriptor, offset, size, *_ = READ_IN.unpack_from(request.body)
        data = os.pread(descriptor, size, offset)
        while data and len(data) < size:
            more = os.pread(descriptor, size - len(data), offset + len(data))
            if not more:
                break
            data += more
        return (data,)

    # -- changing -------------------------------------------------------------------------------------------------

    def _write(self, request: Request) -> Answer:
        body = request.body
        descriptor, offset, size, how, *_ = WRITE_IN.unpack_from(body)
        data = bytes(body[WRITE_IN.size : WRITE_IN.size + size])
        node = self._table.node(request.node)
        self._log.before_write(node)
        written = os.pwrite(descriptor, data, offset)
        if written:
            self._log.written(node, offset, data if written == size else data[:written])
        if how & WRITE_KILLS_PRIVILEGES:
            self.drop_privileges(node, descriptor)
        return (TWO_WORDS.pack(written, 0),)

    def drop_privileges(self, node: Node, descriptor: int) -> None:
        """Take the bits away that would let a program run as the file's owner: somebody else has changed it."""
        mode = os.fstat(descriptor).st_mode
        if mode & _PRIVILEGES and stat.S_ISREG(mode):
            kept = mode & ~(stat.S_ISUID | (stat.S_ISGID if mode & stat.S_IXGRP else 0))
            if kept != mode:
                os.fchmod(descriptor, stat.S_IMODE(kept))
                self._log.restated(node)

    def _fallocate(self, request: Request) -> Answer:
        descriptor, offset, length, mode, _ = FALLOCATE_IN.unpack_from(request.body)
        zeroes = bool(mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE))
        if mode & ~(FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE):
            raise OSError(errno.EOPNOTSUPP, "not offered")
        node, before = self._table.node(request.node), os.fstat(descriptor).st_size
        end = min(offset + length, before)
        if zeroes and end - offset > MAX_ZEROED_BYTES and end < before:
            raise OSError(errno.EOPNOTSUPP, "so much is not offered")
        self._log.before_write(node)
        allocate(descriptor, mode, offset, length)
        if zeroes and offset < end:
            self._zeroed(node, offset, end, before)
        after = os.fstat(descriptor).st_size
        if after != before:
            self._log.truncated(node, after)
        self._log.touched(node)
        return DONE

    def _zeroed(self, node: Node, offset: int, end: int, size: int) -> None:
        if end == size:
            self._log.truncated(node, offset)
            self._log.truncated(node, size)
            return
        for start in range(offset, end, MAX_WRITE_BYTES):
            self._log.written(node, start, bytes(min(MAX_WRITE_BYTES, end - start)))

    def _lseek(self, request: Request) -> Answer:
        descriptor, offset, whence, _ = LSEEK_IN.unpack_from(request.body)
        return (ONE_LONG.pack(os.lseek(descriptor, offset, whence)),)

    # -- waiting for disks ----------------------------------------------------------------------------------------

    def _fsync(self, request: Request) -> Answer:
        descriptor, how, _ = HANDLE_IN.unpack_from(request.body)
        only_data = bool(how & SYNC_ONLY_DATA)
        self._wait_beside(request.unique, lambda: sync_file(descriptor, only_data))
        return None

    def _syncfs(self, request: Request) -> Answer:
        self._wait_beside(request.unique, lambda: sync_file_system(self._table.root))
        return None

    def _wait_beside(self, unique: int, work: Callable[[], None]) -> None:
        """Do what waits for a disk, and wait until the outbox holds all before it, without keeping others waiting."""
        number = self._log.close_batch()
        self._beside.submit(self._finish, unique, number, work)

    def _finish(self, unique: int, number: int, work: Callable[[], None]) -> None:
        failure = None
        try:
            work()
        except OSError as error:
            failure = error
        self._log.await_sealed(number)
        self._reply(unique, failure)
