"""A token bucket: bytes are taken from it, and it fills with time. Arithmetic only; waiting is for the caller.

Any thread may take. Whoever finds the bucket not below zero takes all that it wants and may leave a debt, so that in t
seconds at one rate at most `rate * (t + BURST_SECONDS)` bytes and one taking pass, and no taking can be too large.
"""

import threading

from core.clock import Clock

BURST_SECONDS = 0.5  # what a full bucket holds: enough for a line to stay busy while an answer is awaited


class TokenBucket:
    """Begins empty, without a debt. The rate is told with each taking, since it changes with the time of the day."""

    def __init__(self, clock: Clock) -> None:
        """Measure time with `clock`."""
        self._clock = clock
        self._lock = threading.Lock()
        self._balance = 0.0
        self._filled_at = clock.monotonic()

    def take(self, size_bytes: int, bytes_per_second: int | None) -> float:
        """Take bytes and return 0, or take nothing and return in how many seconds to ask again (None: no limit)."""
        with self._lock:
            self._fill(bytes_per_second)
            if bytes_per_second is not None:
                if self._balance < 0:
                    return -self._balance / bytes_per_second
                self._balance -= size_bytes
            return 0.0

    def _fill(self, bytes_per_second: int | None) -> None:
        now = self._clock.monotonic()
        elapsed, self._filled_at = now - self._filled_at, now
        if bytes_per_second is None:
            self._balance = 0.0  # a debt of a time without limit is none
        else:
            self._balance = min(self._balance + elapsed * bytes_per_second, BURST_SECONDS * bytes_per_second)
