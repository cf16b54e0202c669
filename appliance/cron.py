"""Cron texts: which wall-clock times of which dates they mean. Pure; time zones are `appliance.wall_clock`'s matter.

Five fields: minute, hour, day of month, month, day of week (0 or 7 = Sunday, names allowed), each a list of `*`,
numbers, ranges and steps. As in every cron, a date fits when day of month *or* day of week fits, if both are restricted.
"""

import re
from dataclasses import dataclass
from datetime import date, time

from core.errors import Refused

PRESETS = {
    "hourly": "0 * * * *",
    "daily-0200": "0 2 * * *",
    "daily-1900": "0 19 * * *",
    "weekdays-0700-1200": "0 7,12 * * 1-5",  # the shadow copies of Windows Server
    "weekdays-1900": "0 19 * * 1-5",
    "sundays-0200": "0 2 * * 0",
}

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_PART = re.compile(r"(\*|[0-9a-z]{1,3}(?:-[0-9a-z]{1,3})?)(?:/([0-9]{1,2}))?")


class CronUnreadable(Refused):
    """A text is neither a cron text nor the name of a preset."""


@dataclass(frozen=True, slots=True)
class _Field:
    what: str
    lowest: int
    highest: int
    names: tuple[str, ...] = ()
    first_name: int = 0


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS, 1),
    _Field("day of week", 0, 7, _DAYS, 0),
)


@dataclass(frozen=True, slots=True)
class CronRule:
    """A cron text that was read."""

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 = Sunday
    any_day: bool  # a `*` in "day of month", or in "day of week": then only the other one restricts
    any_weekday: bool

    def fits(self, day: date) -> bool:
        """Tell whether the rule means this date."""
        if day.month not in self.months:
            return False
        by_day, by_weekday = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return by_day and by_weekday
        return by_day or by_weekday

    def times(self) -> list[time]:
        """Return the wall-clock times of a fitting date, in order."""
        return [time(hour, minute) for hour in sorted(self.hours) for minute in sorted(self.minutes)]


def parse_cron(text: str) -> CronRule:
    """Return the rule of a cron text or preset; raise `CronUnreadable` naming the field that is wrong."""
    plain = PRESETS.get(text.strip(), text.strip()).lower()
    words = plain.split()
    if len(words) != len(_FIELDS):
        raise CronUnreadable(
            f"not a cron text: {text[:80]!r}",
            remedy=f"give minute, hour, day of month, month and day of week, or one of {', '.join(PRESETS)}",
        )
    values = [_parse_field(field, word) for field, word in zip(_FIELDS, words, strict=True)]
    weekdays = frozenset(day % 7 for day in values[4])
    return CronRule(" ".join(words), values[0], values[1], values[2], values[3], weekdays, words[2] == "*", words[4] == "*")


def _parse_field(field: _Field, word: str) -> frozenset[int]:
    values: set[int] = set()
    for part in word.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _unreadable(field, word)
        span, step = match[1], int(match[2] or 1)
        if span == "*":
            first, last = field.lowest, field.highest
        else:
            low, _, high = span.partition("-")
            first = _value(field, low, word)
            last = _value(field, high, word) if high else (field.highest if match[2] else first)
        if step < 1 or first > last:
            raise _unreadable(field, word)
        values.update(range(first, last + 1, step))
    return frozenset(values)


def _value(field: _Field, text: str, word: str) -> int:
    if text in field.names:
        return field.names.index(text) + field.first_name
    if not text.isdecimal() or not field.lowest <= int(text) <= field.highest:
        raise _unreadable(field, word)
    return int(text)


def _unreadable(field: _Field, word: str) -> CronUnreadable:
    return CronUnreadable(
        f"not a {field.what}: {word[:40]!r}", remedy=f"use {field.lowest} to {field.highest}, ranges, lists and steps"
    )
