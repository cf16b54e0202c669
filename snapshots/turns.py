"""A lock that goes to who asked first, and tells its holder when somebody waits who should not wait long.

An ordinary lock is taken again by a loop that has just let go of it, whoever waits; here the next in the row gets it first.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator


class Turns:
    """Passes one turn from thread to thread. A thread that has it may take it again."""

    def __init__(self) -> None:
        """Begin with nobody's turn."""
        self._lock = threading.Lock()
        self._row: deque[tuple[int, threading.Lock]] = deque()  # (thread, released when its turn has come)
        self._holder: int | None = None
        self._depth = 0
        self._hurried = 0

    @contextlib.contextmanager
    def taken(self, patient: bool = False) -> Iterator[None]:
        """Have the turn for the block. Who is patient waits without the holder being told."""
        self._take(threading.get_ident(), patient)
        try:
            yield
        finally:
            self._give()

    @property
    def is_wanted(self) -> bool:
        """Tell whether anybody waits who is not patient."""
        return self._hurried > 0

    @property
    def waiting(self) -> int:
        """Return how many threads wait."""
        return len(self._row)

    def _take(self, thread: int, patient: bool) -> None:
        with self._lock:
            if self._holder in (None, thread):
                self._holder = thread
                self._depth += 1
                return
            come = threading.Lock()
            come.acquire()
            self._row.append((thread, come))
            self._hurried += not patient
        come.acquire()  # handed over as the holder, at depth 1
        with self._lock:
            self._hurried -= not patient

    def _give(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth:
                return
            self._holder = None
            if self._row:
                self._holder, come = self._row.popleft()
                self._depth = 1
                come.release()
