"""Keeping one share's requests within its limit: what is sent waits here, piece by piece.

It waits between the pieces of a body, never inside an operation of a socket, so that no time-out of a request counts the
waiting. Each piece asks anew which rule holds: a window that begins or ends takes effect within a second, also in the
middle of a body. With a limit one body at a time is on the line; several slow ones beside each other would each be slower
than the appliance allows.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from branch.bucket import TokenBucket
from branch.limit_rule import LimitRule
from branch.limits import WallTime, next_change, rule_at
from core.clock import NANOSECONDS, Clock
from core.errors import TryLater

_PIECE_SECONDS = 0.1  # of a body, so that the line is loaded evenly
_MIN_PIECE_BYTES = 1024  # a smaller one would be mostly TLS
_MAX_PIECE_BYTES = 256 * 1024
_BODY_SECONDS = 4.0  # so soon another body has its turn, and so much is sent again when a pause cuts one off
_MIN_BODY_BYTES = 64 * 1024  # below that the headers of requests would weigh
_LONGEST_WAIT_SECONDS = 1.0  # until the rules are looked at again
_SHORTEST_WAIT_SECONDS = 0.001


class HeldBack(TryLater):
    """A share's limit lets nothing through now, or the agent is being stopped."""


class Pacer:
    """The limit of one share. Any thread may ask; rules may be changed at any time."""

    def __init__(
        self, rules: Sequence[LimitRule], clock: Clock, wall_time: WallTime, wait: Callable[[float], bool]
    ) -> None:  # fmt: skip
        """Begin with `rules`; `wait` waits so many seconds, and returns True at once when the work is to end."""
        self._rules, self._clock, self._wall_time, self._wait = tuple(rules), clock, wall_time, wait
        self._bucket = TokenBucket(clock)
        self._turn = threading.Lock()
        self._owing = threading.Lock()
        self._owed = 0
        self._furthest = 0

    def set_rules(self, rules: Sequence[LimitRule]) -> None:
        """Go on with other rules."""
        self._rules = tuple(rules)

    @property
    def furthest_bytes(self) -> int:
        """Return how far the furthest body came since one was answered: the same body once more gets no further."""
        return self._furthest

    def is_held_back(self) -> bool:
        """Tell whether nothing passes now."""
        return self._rate() == 0

    def why_held_back(self) -> str:
        """Tell what holds everything back and until when, in local time; empty when something passes."""
        now, rules = self._now(), self._rules
        rule = rule_at(rules, self._wall_time(now))
        if rule is None or rule.bytes_per_second != 0:
            return ""
        until = next_change(rules, now, self._wall_time)
        end = f" until {self._wall_time(until):%Y-%m-%d %H:%M}" if until is not None else ""
        return f"held back by the limit {rule.text}{end}"

    def body_bytes(self, most: int) -> int:
        """Return how long the next body should be at most."""
        rate = self._rate()
        return most if rate is None else min(most, max(int(rate * _BODY_SECONDS), _MIN_BODY_BYTES))

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until no other body is on the line, if there is a limit; raise `HeldBack` when nothing may be sent.

        What requests cost besides their bodies is waited for here: a body under way must not stand still for others' answers,
        or the appliance gives it up.
        """
        if self._rate() is None:
            yield
            return
        with self._turn:
            owed = self._take_owed()
            self._pass(lambda rate: owed)
            self._pass(lambda rate: 0)
            yield

    def pieces(self, body: bytes) -> Iterator[memoryview]:
        """Yield a body in pieces, each when it may be sent; raise `HeldBack` when that is not soon."""
        view = memoryview(body)
        while view:
            size = self._pass(partial(_piece_bytes, len(view)))
            self._furthest = max(self._furthest, len(body) - len(view) + size)
            yield view[:size]
            view = view[size:]

    def answered(self) -> None:
        """Begin anew: what a body brought has arrived."""
        self._furthest = 0

    def charge(self, size_bytes: int) -> None:
        """Count bytes that went over the line besides bodies."""
        if self._rate() is not None:  # what is owed from a time without limit is nothing
            with self._owing:
                self._owed += size_bytes

    def _take_owed(self) -> int:
        with self._owing:
            owed, self._owed = self._owed, 0
        return owed

    def _pass(self, size_at: Callable[[int | None], int]) -> int:
        """Wait until bytes may be sent, as many as is said of the rate by then, and return how many."""
        while True:
            rate = self._rate()
            if rate == 0:
                raise self._held_back()
            size = size_at(rate)
            pause = self._bucket.take(size, rate)
            if not pause:
                return size
            if self._wait(min(max(pause, _SHORTEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)):
                raise HeldBack("the agent is being stopped")

    def _rate(self) -> int | None:
        rules = self._rules
        rule = rule_at(rules, self._wall_time(self._now())) if rules else None
        return None if rule is None else rule.bytes_per_second

    def _held_back(self) -> HeldBack:
        return HeldBack(self.why_held_back() or "held back by the limit", remedy="what was found is kept and sent then")

    def _now(self) -> int:
        return self._clock.now_ns() // NANOSECONDS


def _piece_bytes(most: int, rate: int | None) -> int:
    wanted = _MAX_PIECE_BYTES if rate is None else max(int(rate * _PIECE_SECONDS), _MIN_PIECE_BYTES)
    return min(wanted, _MAX_PIECE_BYTES, most)
