"""Filling and dressing small files behind the one that makes them: open files go to threads in batches.

What must wait for them (the attributes of a folder: its times come after what is made in it) is put behind them, and the
outcomes are given back in order, by the thread that puts things in. Nothing stays open when the work ends early.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

from core.relpath import RelPath
from snapshots.dressing import Missed, dress
from snapshots.target_folder import describe
from staging.changes import Attributes

_BATCH_FILES = 16
_BATCH_BYTES = 1024 * 1024
_BATCHES = 6  # on their way at once: less than 100 open files, 8 MiB of contents
_THREADS = 2


@dataclass(frozen=True, slots=True)
class OpenFile:
    """A file that was just made: its path for the report, its descriptor, and what it is to hold and to look like."""

    path: RelPath
    descriptor: int
    data: bytes | memoryview
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Finished:
    """How one file went: its bytes when it was filled (None: it was not), and what it lacks."""

    path: RelPath
    size: int | None
    missed: Missed


class Finishing:
    """Used by one thread, as a context manager; `tell` is called by it, in the order in which files were put in."""

    def __init__(self, tell: Callable[[Finished], None]) -> None:
        """Begin with nothing on its way."""
        self._tell = tell
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="finish")
        self._batch: list[OpenFile] = []
        self._batch_bytes = 0
        self._waiting: deque[Future[list[Finished]] | Callable[[], None]] = deque()
        self._under_way = 0

    def __enter__(self) -> "Finishing":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._submit()  # also when something failed: it closes what is open
        self._threads.shutdown(wait=True)

    def put(self, file: OpenFile) -> None:
        """Take a file over; its descriptor is closed when it is done."""
        self._batch.append(file)
        self._batch_bytes += len(file.data)
        if len(self._batch) >= _BATCH_FILES or self._batch_bytes >= _BATCH_BYTES:
            self._submit()
            while self._under_way > _BATCHES:
                self._settle()

    def then(self, action: Callable[[], None]) -> None:
        """Run `action` in this thread when all files put in so far are done; at once when there are none."""
        if not self._batch and not self._waiting:
            action()
            return
        self._submit()
        self._waiting.append(action)

    def end(self) -> None:
        """Return when all is done and told."""
        self._submit()
        while self._waiting:
            self._settle()

    def _submit(self) -> None:
        if self._batch:
            self._waiting.append(self._threads.submit(_finish, self._batch))
            self._under_way += 1
            self._batch, self._batch_bytes = [], 0

    def _settle(self) -> None:
        oldest = self._waiting.popleft()
        if isinstance(oldest, Future):
            self._under_way -= 1
            for finished in oldest.result():
                self._tell(finished)
        else:
            oldest()


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write all of it at the file's position."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _finish(batch: list[OpenFile]) -> list[Finished]:
    return [_finish_one(file) for file in batch]


def _finish_one(file: OpenFile) -> Finished:
    try:
        write_all(file.descriptor, file.data)
        return Finished(file.path, len(file.data), dress(file.descriptor, file.attributes))
    except OSError as error:
        return Finished(file.path, None, [("file", describe(error))])
    finally:
        os.close(file.descriptor)
