"""One rule of a share's limit as an operator writes it: how fast, on which days, at which times of the day.

`RATE`, or `RATE@DAYS`, `RATE@HH:MM-HH:MM`, `RATE@DAYS HH:MM-HH:MM`. A rate counts bits or bytes a second; `off` is no limit,
`pause` (or 0) lets nothing through. A window that ends before it begins goes on past midnight, and its days are those on
which it begins. Which of several rules holds at a moment is `branch.limits`' to say.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from core.errors import Refused

DAY_MINUTES = 24 * 60
MIN_BYTES_PER_SECOND = 2000  # 16kbit: an appliance ends bodies that come with less than 1000 bytes a second
_EXAMPLE = "write it like 2Mbit, 250KB@08:00-18:00, 2Mbit@Mon-Fri 08:00-18:00, pause@Sat,Sun or off@22:00-06:00"
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY_DAY = frozenset(range(len(_DAYS)))
_RATE = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,3})?)(?P<prefix>[kKMG]i?)?(?P<unit>bit|B)")
_WINDOW = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")
_FACTORS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}
_BITS = {"bit": 1, "B": 8}


class LimitUnreadable(Refused):
    """A text is no rule of a limit."""


@dataclass(frozen=True, slots=True)
class LimitRule:
    """A rate (None: without limit, 0: held back) and when it holds, by the wall clock."""

    text: str
    bytes_per_second: int | None
    days: frozenset[int] = _EVERY_DAY  # 0 = Monday; those on which the window begins
    begin_minute: int = 0
    end_minute: int = DAY_MINUTES

    @property
    def minutes_a_week(self) -> int:
        """Return how much of a week the rule covers: the narrower one is the more special one."""
        return len(self.days) * ((self.end_minute - self.begin_minute) % DAY_MINUTES or DAY_MINUTES)

    def holds(self, wall_time: datetime) -> bool:
        """Tell whether the rule holds when the wall clock shows a time."""
        minute, day = wall_time.hour * 60 + wall_time.minute, wall_time.weekday()
        if self.begin_minute < self.end_minute:
            return day in self.days and self.begin_minute <= minute < self.end_minute
        if minute >= self.begin_minute:
            return day in self.days
        return minute < self.end_minute and (day - 1) % len(_DAYS) in self.days


def parse_limit(text: str) -> LimitRule:
    """Read a rule; raise `LimitUnreadable` naming it, with examples."""
    rate, at, when = text.partition("@")
    words = when.split()
    window = words.pop() if words and words[-1][0].isdigit() else None
    days = words.pop() if words else None
    if words or (at and window is None and days is None):
        raise _unreadable(text, "behind @ stand days, a window of time, or both")
    begin, end = (0, DAY_MINUTES) if window is None else _parse_window(text, window)
    return LimitRule(text, _parse_rate(text, rate.strip()), _EVERY_DAY if days is None else _parse_days(text, days), begin, end)


def _parse_rate(text: str, rate: str) -> int | None:
    if rate == "off":
        return None
    if rate in ("pause", "0"):
        return 0
    found = _RATE.fullmatch(rate)
    if found is None:
        raise _unreadable(text, f"{rate!r} is no rate: a number with K, M, G, Ki, Mi or Gi and bit or B, or off, or pause")
    prefix = (found["prefix"] or "").replace("k", "K")
    bytes_per_second = int(Decimal(found["number"]) * _FACTORS[prefix] * _BITS[found["unit"]] / 8)
    if Decimal(found["number"]) and bytes_per_second < MIN_BYTES_PER_SECOND:
        raise _unreadable(text, "less than 16kbit is too slow for a connection to last; pause holds everything back")
    return bytes_per_second


def _parse_days(text: str, days: str) -> frozenset[int]:
    found: set[int] = set()
    for part in days.lower().split(","):
        first, dash, last = part.partition("-")
        if first not in _DAYS or (dash and last not in _DAYS):
            raise _unreadable(text, f"{days!r} are no days: Mon, Mon-Fri, Sat,Sun")
        day, end = _DAYS.index(first), _DAYS.index(last if dash else first)
        found.add(end)
        while day != end:  # Fri-Mon goes on past Sunday
            found.add(day)
            day = (day + 1) % len(_DAYS)
    return frozenset(found)


def _parse_window(text: str, window: str) -> tuple[int, int]:
    found = _WINDOW.fullmatch(window)
    if found is None:
        raise _unreadable(text, f"{window!r} is no window of time: 08:00-18:00, 22:00-06:00, 18:00-24:00")
    begin = int(found[1]) * 60 + int(found[2])
    end = DAY_MINUTES if found[3] is None else int(found[3]) * 60 + int(found[4])
    if begin == end:
        raise _unreadable(text, f"{window!r} is empty; leave it out for the whole day")
    return begin, end


def _unreadable(text: str, what: str) -> LimitUnreadable:
    return LimitUnreadable(f"no rule of a limit: {text!r} ({what})", remedy=_EXAMPLE)
