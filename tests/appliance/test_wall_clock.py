"""A wall-clock time happens once per date, whatever the clocks do."""

import itertools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from appliance.cron import parse_cron
from appliance.wall_clock import moment_of, runs_after
from core.clock import NANOSECONDS, format_time, parse_time
from core.zones import ZoneUnknown, parse_zone

ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca", "Pacific/Apia", "UTC"]
MINUTES = st.integers(0, 24 * 60 - 1)
DAYS = st.dates(date(2005, 1, 1), date(2037, 12, 30))


def runs(text: str, zone: str, after: str, count: int) -> list[str]:
    found = itertools.islice(runs_after(parse_cron(text), ZoneInfo(zone), parse_time(after)), count)
    return [format_time(moment)[:16] for moment in found]


@pytest.mark.parametrize(
    ("zone", "text", "after", "expected"),
    [
        ("Europe/Berlin", "30 2 * * *", "2026-03-28T00:00:00Z", ["2026-03-28T01:30", "2026-03-29T01:00", "2026-03-30T00:30"]),
        ("Europe/Berlin", "30 2 * * *", "2026-10-24T00:00:00Z", ["2026-10-24T00:30", "2026-10-25T00:30", "2026-10-26T01:30"]),
        ("America/New_York", "15 2 * * *", "2026-03-07T00:00:00Z", ["2026-03-07T07:15", "2026-03-08T07:00", "2026-03-09T06:15"]),
        ("America/New_York", "30 1 * * *", "2026-10-31T00:00:00Z", ["2026-10-31T05:30", "2026-11-01T05:30", "2026-11-02T06:30"]),
        ("Australia/Lord_Howe", "15 2 * * *", "2026-10-02T16:00:00Z", ["2026-10-03T15:30", "2026-10-04T15:15"]),
        ("Australia/Lord_Howe", "45 1 * * *", "2026-04-03T16:00:00Z", ["2026-04-04T14:45", "2026-04-05T15:15"]),
        ("Pacific/Apia", "0 12 * * *", "2011-12-29T00:00:00Z", ["2011-12-29T22:00", "2011-12-30T10:00", "2011-12-30T22:00"]),
    ],
)
def test_changes_of_clocks(zone: str, text: str, after: str, expected: list[str]) -> None:
    assert runs(text, zone, after, len(expected)) == expected


def test_several_times_in_one_gap_are_one_run() -> None:
    found = runs("*/15 * * * *", "Europe/Berlin", "2026-03-29T00:40:00Z", 4)
    assert found == ["2026-03-29T00:45", "2026-03-29T01:00", "2026-03-29T01:15", "2026-03-29T01:30"]


@given(st.sampled_from(ZONES), DAYS, MINUTES)
@example("Europe/Berlin", date(2026, 3, 29), 150)
@example("Australia/Lord_Howe", date(2026, 10, 4), 135)
def test_a_daily_time_happens_exactly_once_for_each_date(zone: str, day: date, minute: int) -> None:
    rule = parse_cron(f"{minute % 60} {minute // 60} * * *")
    where, wall = ZoneInfo(zone), time(minute // 60, minute % 60)
    begin = int(datetime.combine(day - timedelta(1), time(), UTC).timestamp()) * NANOSECONDS
    found = list(itertools.islice(runs_after(rule, where, begin), 12))
    moments = [int(moment_of(day + timedelta(d), wall, where).timestamp()) * NANOSECONDS for d in range(7)]
    assert all(found.count(moment) == 1 for moment in set(moments))
    assert found == sorted(set(found))


@given(st.sampled_from(ZONES), DAYS, MINUTES)
def test_a_moment_shows_its_wall_clock_time_or_is_the_first_behind_a_gap(zone: str, day: date, minute: int) -> None:
    where, wall = ZoneInfo(zone), time(minute // 60, minute % 60)
    moment = moment_of(day, wall, where)
    shown = moment.astimezone(where).replace(tzinfo=None)
    asked = datetime.combine(day, wall)
    if shown != asked:
        before = (moment - timedelta(seconds=1)).astimezone(where).replace(tzinfo=None)
        assert before < asked < shown
    else:
        earlier = [moment - timedelta(minutes=step) for step in (30, 60, 120)]
        assert all(other.astimezone(where).replace(tzinfo=None) != asked for other in earlier)


@given(st.sampled_from(ZONES), DAYS, st.integers(0, 10**6))
def test_runs_lie_behind_the_instant_that_was_asked(zone: str, day: date, offset: int) -> None:
    after = int(datetime.combine(day, time(), UTC).timestamp()) * NANOSECONDS + offset
    found = list(itertools.islice(runs_after(parse_cron("*/7 * * * *"), ZoneInfo(zone), after), 20))
    assert all(moment > after for moment in found) and found == sorted(set(found))


def test_a_date_that_never_comes_has_no_runs() -> None:
    assert runs("0 0 30 2 *", "UTC", "2026-01-01T00:00:00Z", 1) == []
    assert runs("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", 2) == ["2028-02-29T00:00", "2032-02-29T00:00"]


@pytest.mark.parametrize("name", ["Mars/Base", "../../etc/passwd", "", "/etc/localtime", "Europe"])
def test_unknown_zones_are_refused(name: str) -> None:
    with pytest.raises(ZoneUnknown):
        parse_zone(name)
