"""Time as an argument: the only module that asks the machine what time it is."""

import re
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from core.errors import Refused

NANOSECONDS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TimeUnreadable(Refused):
    """A text is not an RFC 3339 time."""


class Clock(Protocol):
    """Tells the time; tests pass their own."""

    def now_ns(self) -> int:
        """Return nanoseconds since 1970 in UTC."""

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""


class SystemClock:
    """The machine's own clock."""

    def now_ns(self) -> int:
        """Return nanoseconds since 1970 in UTC."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()


def format_time(time_ns: int) -> str:
    """Return an instant as RFC 3339 in UTC with microseconds, ending in Z."""
    instant = _EPOCH + timedelta(microseconds=time_ns // 1000)
    return instant.strftime("%Y-%m-%dT%H:%M:%S.%f") + "Z"


def parse_time(text: str) -> int:
    """Return nanoseconds since 1970 for an RFC 3339 time with zone; raise `TimeUnreadable` otherwise."""
    remedy = "write it like 2026-11-22T07:00:00Z"
    if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", text):
        raise TimeUnreadable(f"not a time: {text!r}", remedy=remedy)
    try:
        instant = datetime.fromisoformat(text.upper().replace(" ", "T"))
    except ValueError as error:
        raise TimeUnreadable(f"not a time: {text!r} ({error})", remedy=remedy) from error
    return (instant - _EPOCH) // timedelta(microseconds=1) * 1000
