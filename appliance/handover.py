"""Turning a call that works on and reports as it goes into an iterator that can be read, and given up, at any time.

The work runs in a thread of its own. It never gets far ahead of the reader, and the reader giving up raises
`GivenUp` inside the work at its next report or write, so that it ends through its own cleaning up.
"""

import io
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Generic, TypeVar, cast

T = TypeVar("T")

_AHEAD = 8  # items; of a stream about 1 MiB each


class GivenUp(Exception):
    """Nobody reads the rest."""


class _End:
    """The last item: the work's result, or what it raised."""

    def __init__(self, result: Any = None, error: BaseException | None = None) -> None:
        self.result = result
        self.error = error


class _Handover(Generic[T]):
    """A bounded queue with one writer, one reader, and an end."""

    def __init__(self) -> None:
        self._items: queue.Queue[T | _End] = queue.Queue(_AHEAD)
        self._given_up = False

    def put(self, item: T) -> None:
        """Hand an item over; raise `GivenUp` when nobody reads any more."""
        if self._given_up:
            raise GivenUp
        self._items.put(item)

    def run(self, work: Callable[[], Any]) -> None:
        """Do the work and hand over how it ended."""
        try:
            end = _End(result=work())
        except BaseException as error:  # whatever it is, the reader raises it
            end = _End(error=error)
        self._items.put(end)

    def read(self, thread: threading.Thread) -> Iterator[T | _End]:
        """Yield all items and the end; when closed earlier, wait until the work has cleaned up."""
        thread.start()
        item: T | _End | None = None
        try:
            while not isinstance(item, _End):
                item = self._items.get()
                yield item
        finally:
            self._given_up = True
            while not isinstance(item, _End):
                item = self._items.get()
            thread.join()


def steps_of(work: Callable[[Callable[[T], None]], Any]) -> Iterator[Any]:
    """Yield what `work` gives to its argument, then its result; raise what it raises."""
    handover: _Handover[T] = _Handover()
    thread = threading.Thread(target=handover.run, args=(lambda: work(handover.put),), name="work")
    for item in handover.read(thread):
        if not isinstance(item, _End):
            yield item
        elif item.error is not None:
            raise item.error
        else:
            yield item.result


def pieces_of(work: Callable[[BinaryIO], Any]) -> Iterator[bytes]:
    """Yield the bytes that `work` writes into its argument; raise what it raises."""
    handover: _Handover[bytes] = _Handover()
    thread = threading.Thread(target=handover.run, args=(lambda: work(cast(BinaryIO, _Writer(handover.put))),), name="work")
    for item in handover.read(thread):
        if not isinstance(item, _End):
            yield item
        elif item.error is not None:
            raise item.error


class _Writer(io.RawIOBase):
    """A file that can only be written, from its beginning to its end."""

    def __init__(self, put: Callable[[bytes], None]) -> None:
        super().__init__()
        self._put = put

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: Any) -> int:
        """Hand all bytes over."""
        piece = bytes(data)
        if piece:
            self._put(piece)
        return len(piece)
