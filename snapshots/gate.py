"""The gate between those who come to name chunks and those who remove them.

Whoever checks that chunks are there and then writes down that something names them stays inside the gate for both steps.
`drain` returns when everybody who was inside has left; who comes later does not wait, and is not waited for.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator

_LOOK_SECONDS = 0.2  # how often a waiting drain asks whether to stop


class Gate:
    """Counts who is inside, by the epoch in which they entered. Any thread may call; entering never waits."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._epoch = 0
        self._inside: Counter[int] = Counter()

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside for the block; may be nested."""
        with self._changed:
            epoch = self._epoch
            self._inside[epoch] += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside[epoch] -= 1
                if not self._inside[epoch]:
                    del self._inside[epoch]
                    self._changed.notify_all()

    def drain(self, stopping: Callable[[], bool]) -> bool:
        """Return True when all that are inside now have left, False when `stopping` said so before."""
        with self._changed:
            last = self._epoch
            self._epoch += 1
            while any(epoch <= last for epoch in self._inside):
                if stopping():
                    return False
                self._changed.wait(_LOOK_SECONDS)
        return True
