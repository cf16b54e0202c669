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
        self._row: deque[_Waiting] = deque()
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
            waiting = _Waiting(thread, patient)
            self._row.append(waiting)
            self._hurried += not patient
        try:
            waiting.come.acquire()  # handed over as the holder, at depth 1
        except BaseException:  # a signal's handler raised: a turn that is left to nobody would never be given on
            self._leave(waiting)
            raise

    def _leave(self, waiting: "_Waiting") -> None:
        with self._lock:
            if waiting in self._row:
                self._row.remove(waiting)
                self._hurried -= not waiting.patient
                return
        self._give()  # it was handed over before it could be taken

    def _give(self) -> None:
        with self._lock:
            self._depth -= 1
            if self._depth:
                return
            self._holder = None
            if self._row:
                following = self._row.popleft()
                self._holder, self._depth = following.thread, 1
                self._hurried -= not following.patient
                following.come.release()


class _Waiting:
    """A thread in the row; `come` is released when its turn has come."""

    def __init__(self, thread: int, patient: bool) -> None:
        self.thread, self.patient = thread, patient
        self.come = threading.Lock()
        self.come.acquire()
