"""When wall-clock times of a zone happen: each exactly once per date, also when clocks are changed.

A time that a date does not have (clocks go forward) happens at the first moment after the gap; a time that it has
twice (clocks go back) happens the first time. Several times that fall into one moment are one run.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from appliance.cron import CronRule
from core.clock import NANOSECONDS

_LONGEST_SEARCH_DAYS = 366 * 41  # 29 February on a given day of the week: at most 40 years, around 2100
_DAY = timedelta(days=1)


def moment_of(day: date, clock_time: time, zone: ZoneInfo) -> datetime:
    """Return in UTC when a wall-clock time of a date happens."""
    local = datetime.combine(day, clock_time, zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return moment
    return _end_of_gap(local.replace(fold=1).astimezone(UTC), moment, zone)


def runs_after(rule: CronRule, zone: ZoneInfo, after_ns: int) -> Iterator[int]:
    """Yield the moments of a rule that lie after an instant, in order, as nanoseconds; ends when there is none for long."""
    after = datetime.fromtimestamp(after_ns // NANOSECONDS, UTC)
    day = after.astimezone(zone).date() - _DAY  # a gap may carry a time of the day before behind midnight
    last = after_ns
    times = rule.times()
    empty_days = 0
    while empty_days < _LONGEST_SEARCH_DAYS and day < date.max - 2 * _DAY:
        empty_days += 1
        if rule.fits(day):
            for moment in sorted({moment_of(day, clock_time, zone) for clock_time in times}):
                moment_ns = int(moment.timestamp()) * NANOSECONDS
                if moment_ns > last:
                    yield moment_ns
                    last, empty_days = moment_ns, 0
        day += _DAY


def _end_of_gap(before: datetime, behind: datetime, zone: ZoneInfo) -> datetime:
    """Return the first second at which the zone has the offset that it has at `behind`."""
    offset = behind.astimezone(zone).utcoffset()
    while behind - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(behind - before) // timedelta(seconds=2))
        if middle.astimezone(zone).utcoffset() == offset:
            behind = middle
        else:
            before = middle
    return behind
