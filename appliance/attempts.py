"""Slowing down whoever guesses passwords or codes, per account and per address; counters survive a restart.

An attempt is counted before it is checked, so that a hundred at once are a hundred. An account is only slowed down (a
minute at most), never locked for long: else anybody could keep the administrator out.
"""

import ipaddress
import math
from dataclasses import dataclass

from appliance.appliance_db import ApplianceDatabase
from appliance.sessions_db import AttemptTable
from core.clock import NANOSECONDS, Clock
from web.errors import TooManyAttempts

_FORGET_SECONDS = 3600  # a counter without a failure for so long starts again at 0


@dataclass(frozen=True, slots=True)
class Patience:
    """How many failures are free, and the longest wait after many more."""

    free: int
    longest_seconds: int


PATIENCE = {
    "account": Patience(5, 60),
    "address": Patience(20, 900),  # an office behind one address mistypes too
    "enrolment": Patience(20, 900),
}


def wait_seconds(patience: Patience, failures: int, age_seconds: float) -> int:
    """Return how long to wait before the next attempt; doubles with each failure that was not free."""
    if failures < patience.free or age_seconds >= _FORGET_SECONDS:
        return 0
    wait = min(2.0 ** min(failures - patience.free, 30), patience.longest_seconds)
    return max(0, math.ceil(wait - age_seconds))


def address_key(address: str) -> str:
    """Return what counts as one address: an IPv6 network of 64 bits is one subscriber."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class Attempts:
    """Counters of attempts that were begun and did not succeed."""

    def __init__(self, database: ApplianceDatabase, clock: Clock) -> None:
        self._database = database
        self._table = AttemptTable(database)
        self._clock = clock

    def begin(self, keys: list[tuple[str, str]]) -> None:
        """Count an attempt against all (kind, key); raise `TooManyAttempts` when one of them has to wait."""
        now = self._clock.now_ns()
        with self._database.write():
            counters = [(kind, key, *self._table.get(kind, key)) for kind, key in keys]
            wait = max(wait_seconds(PATIENCE[kind], n, self._age(last, now)) for kind, _, n, last in counters)
            if wait > 0:
                raise TooManyAttempts("too many attempts", remedy=f"try again in {wait} seconds", retry_after_seconds=wait)
            self._table.remove_older(now - _FORGET_SECONDS * NANOSECONDS)
            for kind, key, failures, last in counters:
                fresh = self._age(last, now) >= _FORGET_SECONDS
                self._table.set(kind, key, 1 if fresh else failures + 1, now)

    def succeeded(self, kind: str, key: str) -> None:
        """Forget a counter; inside a write block."""
        self._table.remove(kind, key)

    def withdraw(self, kind: str, key: str) -> None:
        """Take one attempt back that was no failure, without forgiving the others; inside a write block."""
        failures, last = self._table.get(kind, key)
        self._table.set(kind, key, max(failures - 1, 0), last)

    @staticmethod
    def _age(last_ns: int, now_ns: int) -> float:
        return max(0, now_ns - last_ns) / NANOSECONDS  # a clock set back must not lengthen a wait
