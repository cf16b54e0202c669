"""The calendar of retention: which hour, day, week, month and year of a time zone a snapshot stands for. Pure.

A rule like "7 daily" counts days that have a snapshot, newest first, never days since now: after a month off the seven
days before it are still the seven newest.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from core.clock import NANOSECONDS

LAST_CALENDAR_NS = 253_370_764_800 * NANOSECONDS  # 9999-01-01: behind it no zone's calendar can be trusted to have a date


@dataclass(frozen=True, slots=True)
class Place:
    """Where a snapshot stands in one calendar rule: its period, the period's rank (1 = newest), who stands for the period."""

    period: str
    rank: int
    representative: int


def local_time(taken_ns: int, zone: ZoneInfo) -> datetime:
    """Return an instant on the zone's wall clock."""
    return datetime.fromtimestamp(taken_ns // NANOSECONDS, zone)


def _hour(local: datetime) -> str:
    # With its offset: the hour that comes twice in autumn is two hours, each with its own snapshot.
    return local.strftime("%Y-%m-%d %H:00%z")


def _day(local: datetime) -> str:
    return local.strftime("%Y-%m-%d")


def _week(local: datetime) -> str:
    year, week, _ = local.isocalendar()
    return f"{year}-W{week:02}"


def _month(local: datetime) -> str:
    return local.strftime("%Y-%m")


def _year(local: datetime) -> str:
    return local.strftime("%Y")


CALENDAR_RULES: Mapping[str, Callable[[datetime], str]] = {
    "hourly": _hour,
    "daily": _day,
    "weekly": _week,
    "monthly": _month,
    "yearly": _year,
}


def places(newest_first: Iterable[tuple[int, datetime]], period_of: Callable[[datetime], str]) -> dict[int, Place]:
    """Return the place of each snapshot (id, local time); the newest of a period stands for it."""
    standing: dict[str, Place] = {}
    found = {}
    for snapshot_id, local in newest_first:
        period = period_of(local)
        place = standing.get(period)
        if place is None:
            place = standing[period] = Place(period, len(standing) + 1, snapshot_id)
        found[snapshot_id] = place
    return found
