"""When the changes of a journal arrived, on a clock that nobody sets: for how long those wait that nobody has read.

In memory only. Of what stood in the journal when it was opened no more is known than that. The time in a record's envelope
will not do: after a clock that was far ahead it stands still until the clock has caught up.
"""

import threading
from collections import deque

from core.clock import Clock

_STEP_SECONDS = 1.0  # what arrives within it counts from its first change on, so that a busy share takes one mark a second


class Arrivals:
    """The times at which a share's changes arrived. Any thread may call."""

    def __init__(self, clock: Clock, sequence: int) -> None:
        """Begin with all changes up to `sequence`, which arrive now at the latest."""
        self._clock = clock
        self._lock = threading.Lock()
        self._marks = deque([(sequence, clock.monotonic())])

    def add(self, sequence: int) -> None:
        """Note that all changes up to `sequence` have arrived."""
        now = self._clock.monotonic()
        with self._lock:
            if self._marks and now - self._marks[-1][1] < _STEP_SECONDS:
                now = self._marks.pop()[1]
            self._marks.append((sequence, now))

    def waiting_seconds(self, sequence: int) -> float:
        """Return for how long the first change behind `sequence` has waited, 0.0 without one; those before are forgotten."""
        with self._lock:
            while self._marks and self._marks[0][0] <= sequence:
                self._marks.popleft()
            return max(self._clock.monotonic() - self._marks[0][1], 0.0) if self._marks else 0.0
