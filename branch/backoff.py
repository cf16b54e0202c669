"""How long to wait before the next attempt: twice as long each time, with jitter so that branches do not come at once."""

from random import Random

FIRST_SECONDS = 0.5


class Backoff:
    """The pauses of one series of attempts."""

    def __init__(self, random: Random, limit_seconds: float) -> None:
        """Take chance from `random`; no pause is longer than `limit_seconds`."""
        self._random, self._limit = random, limit_seconds
        self._next = FIRST_SECONDS

    def next_seconds(self) -> float:
        """Return the next pause."""
        pause = min(self._next, self._limit)
        self._next = min(self._next * 2, self._limit)
        return pause * self._random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin again with the shortest pause: an attempt succeeded."""
        self._next = FIRST_SECONDS
