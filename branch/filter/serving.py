"""The serving thread of a mount: takes one call of the kernel after the other, passes it through, answers.

One thread, so that calls have one order. No error leaves a call: what went wrong is its answer. The thread never enters the
mount itself, and whatever may wait for a disk is done beside it.
"""

import contextlib
import errno
import logging
import os
import select
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from branch.filter.answers import Handler
from branch.filter.attribute_calls import AttributeCalls
from branch.filter.change_log import ChangeLog
from branch.filter.file_calls import FileCalls
from branch.filter.folder_calls import FolderCalls
from branch.filter.fuse_format import (
    OLDEST_MINOR,
    OUT_HEADER,
    PROTOCOL_MAJOR,
    REQUEST_BYTES,
    Call,
    Request,
    init_answer,
    read_init,
    read_request,
)
from branch.filter.name_calls import NameCalls
from branch.filter.nodes import NodeTable
from branch.filter.system_calls import leave_shared_umask
from core.errors import StagekeeperError

_log = logging.getLogger("stagekeeper.agent")
_WAITING_THREADS = 4  # for disks: as many programs can sync at once
_UNANSWERED = frozenset({Call.FORGET, Call.BATCH_FORGET, Call.INTERRUPT})
_GONE = frozenset({errno.ENODEV, errno.EBADF})
_AGAIN = frozenset({errno.EINTR, errno.ENOENT, errno.EAGAIN})  # ENOENT: the call was broken off before it was read


class Serving:
    """Serves one mount; `run` belongs to a thread of its own and ends with the mount."""

    def __init__(self, device: int, table: NodeTable, log: ChangeLog, ended: Callable[[], None]) -> None:
        """Answer on the open FUSE device `device`, which is closed at the end of `run`; `ended` is called there."""
        self._device, self._log = device, log
        self._ended = ended
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(device, False)
        self._beside = ThreadPoolExecutor(_WAITING_THREADS, thread_name_prefix="sync")
        files = FileCalls(table, log, self._beside, self._reply_later)
        self._handlers: dict[int, Handler] = {
            Call.INIT: self._init,
            **NameCalls(table, log).handlers(),
            **files.handlers(),
            **AttributeCalls(table, log, files).handlers(),
            **FolderCalls(table).handlers(),
        }

    def run(self) -> None:
        """Serve until the mount is gone, or `stop`: then programs that use it still are left without."""
        buffer = bytearray(REQUEST_BYTES)
        view = memoryview(buffer)
        try:
            leave_shared_umask()
            poll = select.poll()
            poll.register(self._device, select.POLLIN)
            poll.register(self._wake_read, select.POLLIN)
            while True:
                self._log.await_room()
                try:
                    length = os.readv(self._device, [buffer])
                except OSError as error:
                    if error.errno in _GONE:
                        return
                    if error.errno not in _AGAIN:
                        raise
                    if any(descriptor == self._wake_read for descriptor, _ in poll.poll()):
                        return
                    continue
                request = read_request(view[:length])
                if request.call == Call.DESTROY:
                    self._answer(request.unique, 0, ())
                    return
                self._serve(request)
        finally:
            self._log.wake()
            self._beside.shutdown()
            self._ended()
            for descriptor in (self._device, self._wake_read, self._wake_write):
                os.close(descriptor)

    def stop(self) -> None:
        """End `run` soon, whoever uses the mount."""
        with contextlib.suppress(OSError):  # it has ended
            os.write(self._wake_write, b"x")

    def _serve(self, request: Request) -> None:
        handler = self._handlers.get(request.call)
        if handler is None:
            if request.call not in _UNANSWERED:
                self._answer(request.unique, errno.ENOSYS, ())
            return
        code, parts = 0, None
        with self._log.gate:
            try:
                parts = handler(request)
            except OSError as error:
                code = error.errno or errno.EIO
            except KeyError:  # a node that the kernel does not know from us
                code = errno.ESTALE
            except StagekeeperError as error:
                self._log.lose(error.message)
                code = errno.EIO
            except Exception as error:  # no exception may end the thread: every program would wait for ever
                _log.exception("a call of a program failed")
                self._log.lose(f"a call failed: {error}")
                code = errno.EIO
        if code or parts is not None:
            self._answer(request.unique, code, parts or ())

    def _init(self, request: Request) -> tuple[bytes]:
        major, minor, readahead, flags = read_init(request.body)
        if (major, minor) < (PROTOCOL_MAJOR, OLDEST_MINOR):
            raise OSError(errno.EPROTO, "the kernel is too old")
        return (init_answer(readahead, flags),)

    def _reply_later(self, unique: int, failure: OSError | None) -> None:
        code = failure.errno or errno.EIO if failure is not None else 0
        self._answer(unique, code, ())

    def _answer(self, unique: int, code: int, parts: Sequence[bytes]) -> None:
        header = OUT_HEADER.pack(OUT_HEADER.size + sum(map(len, parts)), -code, unique)
        try:
            os.writev(self._device, (header, *parts))
        except OSError as error:
            if error.errno not in _AGAIN | _GONE:  # the program does not wait any more, or the mount is gone
                raise
