"""Rules of a limit: what can be written, which rule holds when, and until when; clocks that change included."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from branch.limit_rule import DAY_MINUTES, LimitRule, LimitUnreadable, parse_limit
from branch.limits import WallTime, next_change, rule_at
from core.clock import NANOSECONDS, parse_time

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC")  # Lord Howe moves its clocks by half an hour
SPRING, AUTUMN = "2026-03-29", "2026-10-25"  # in Berlin 02:00 becomes 03:00, and 03:00 becomes 02:00


@pytest.mark.parametrize(
    ("rate", "bytes_per_second"),
    [
        ("2Mbit", 250_000),
        ("250KB", 250_000),
        ("250kB", 250_000),
        ("1.5MB", 1_500_000),
        ("1Gbit", 125_000_000),
        ("64Kibit", 8192),
        ("1MiB", 1024**2),
        ("1GiB", 1024**3),
        ("16000bit", 2000),
        ("2000B", 2000),
        ("off", None),
        ("pause", 0),
        ("0", 0),
        ("0Mbit", 0),
    ],
)
def test_rates(rate: str, bytes_per_second: int | None) -> None:
    assert parse_limit(rate).bytes_per_second == bytes_per_second
    assert parse_limit(f"{rate}@Mon").bytes_per_second == bytes_per_second


@pytest.mark.parametrize(
    ("when", "days", "window"),
    [
        ("Mon", {0}, (0, 1440)),
        ("mon-FRI", {0, 1, 2, 3, 4}, (0, 1440)),
        ("Fri-Mon", {4, 5, 6, 0}, (0, 1440)),
        ("Sat,Sun", {5, 6}, (0, 1440)),
        ("Mon-Tue,Fri", {0, 1, 4}, (0, 1440)),
        ("08:00-18:00", set(range(7)), (480, 1080)),
        ("22:00-06:00", set(range(7)), (1320, 360)),
        ("Sun 18:30-24:00", {6}, (1110, 1440)),
        ("  Mon-Fri   00:00-24:00 ", {0, 1, 2, 3, 4}, (0, 1440)),
    ],
)
def test_days_and_windows(when: str, days: set[int], window: tuple[int, int]) -> None:
    rule = parse_limit(f"2Mbit@{when}")
    assert (rule.days, (rule.begin_minute, rule.end_minute)) == (days, window)


@pytest.mark.parametrize(
    "text",
    [
        "", "fast", "2", "2M", "2Mb", "2 Mbit", "2Mbit/s", "-2Mbit", "2,5Mbit", "2Tbit", "mbit", "²Mbit", "1bit", "1999B",
        "2Mbit@", "2Mbit@ ", "@08:00-18:00", "2Mbit@8:00-18:00", "2Mbit@08:00", "2Mbit@08:00-25:00", "2Mbit@24:00-06:00",
        "2Mbit@08:60-09:00", "2Mbit@08:00-08:00", "2Mbit@Foo", "2Mbit@Mon-", "2Mbit@-Mon", "2Mbit@Mon,", "2Mbit@Mon-Tue-Wed",
        "2Mbit@08:00-18:00 Mon", "2Mbit@Mon Tue", "2Mbit@Mon 08:00-18:00 x", "2Mbit@٠٨:٠٠-١٨:٠٠", "2Mbit@Mon@08:00-18:00",
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_by_its_name_with_an_example(text: str) -> None:
    with pytest.raises(LimitUnreadable) as caught:
        parse_limit(text)
    assert repr(text) in caught.value.message
    assert "2Mbit@Mon-Fri 08:00-18:00" in caught.value.remedy


@given(st.text(st.sampled_from("0248:-, @MKGibtBonFrSatupase."), max_size=24))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = parse_limit(text)
    except LimitUnreadable:
        return
    assert rule.text == text and 0 < rule.minutes_a_week <= 7 * DAY_MINUTES


def test_every_rule_that_the_page_shows_can_be_read() -> None:
    page = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
    rows = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 5
    for row in rows:
        parse_limit(row.strip("`"))


# -- which rule holds -------------------------------------------------------------------------------------------------


def in_zone(name: str) -> WallTime:
    zone = ZoneInfo(name)
    return lambda seconds: datetime.fromtimestamp(seconds, zone).replace(tzinfo=None)


def seconds_of(text: str) -> int:
    return parse_time(text) // NANOSECONDS


def in_force(rules: Sequence[str], local: str) -> str:
    rule = rule_at([parse_limit(text) for text in rules], datetime.fromisoformat(local))
    return rule.text if rule else ""


WORK, NIGHT, GENERAL = "2Mbit@Mon-Fri 08:00-18:00", "off@22:00-06:00", "8Mbit"


@pytest.mark.parametrize(
    ("local", "expected"),
    [
        ("2026-11-25T07:59:59", GENERAL),  # a Wednesday
        ("2026-11-25T08:00:00", WORK),
        ("2026-11-25T17:59:59", WORK),
        ("2026-11-25T18:00:00", GENERAL),
        ("2026-11-28T12:00:00", GENERAL),  # a Saturday
        ("2026-11-25T22:00:00", NIGHT),
        ("2026-11-26T00:00:00", NIGHT),
        ("2026-11-26T05:59:59", NIGHT),
        ("2026-11-26T06:00:00", GENERAL),
    ],
)
def test_the_narrowest_rule_decides_in_whatever_order_they_stand(local: str, expected: str) -> None:
    assert in_force([GENERAL, WORK, NIGHT], local) == expected
    assert in_force([NIGHT, WORK, GENERAL], local) == expected


def test_of_equally_narrow_rules_the_first_decides_and_without_one_there_is_no_limit() -> None:
    assert in_force(["2Mbit@Mon", "4Mbit@Mon"], "2026-11-23T12:00:00") == "2Mbit@Mon"
    assert in_force(["4Mbit@Mon", "2Mbit@Mon"], "2026-11-23T12:00:00") == "4Mbit@Mon"
    assert in_force(["4Mbit@Mon", "2Mbit@Mon"], "2026-11-24T12:00:00") == ""
    assert in_force([], "2026-11-24T12:00:00") == ""


def test_the_days_of_a_window_across_midnight_are_those_on_which_it_begins() -> None:
    rules = ["pause@Fri 22:00-06:00"]
    assert in_force(rules, "2026-11-27T23:00:00") == in_force(rules, "2026-11-28T05:00:00") == rules[0]  # Friday, Saturday
    assert in_force(rules, "2026-11-27T05:00:00") == in_force(rules, "2026-11-28T23:00:00") == ""
    assert in_force(["pause@Sun 22:00-06:00"], "2026-11-23T05:00:00") != ""  # Monday, of Sunday's window


def minutes_of_the_week(rule: LimitRule) -> set[int]:
    """What a rule covers, counted minute by minute from the beginning of its windows."""
    length = (rule.end_minute - rule.begin_minute) % DAY_MINUTES or DAY_MINUTES
    begins = [day * DAY_MINUTES + rule.begin_minute for day in rule.days]
    return {(begin + minute) % (7 * DAY_MINUTES) for begin in begins for minute in range(length)}


def rule_texts() -> st.SearchStrategy[str]:
    quarter = st.integers(0, 95).map(lambda number: f"{number // 4:02}:{number % 4 * 15:02}")
    window = st.tuples(quarter, quarter).filter(lambda pair: pair[0] != pair[1]).map("-".join)
    day = st.sampled_from(["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"])
    days = st.one_of(day, st.tuples(day, day).map("-".join), st.tuples(day, day).map(",".join))
    when = st.one_of(st.just(""), window.map("@{}".format), days.map("@{}".format), st.builds("@{} {}".format, days, window))
    return st.builds("{}{}".format, st.sampled_from(["2Mbit", "1MB", "off", "pause"]), when)


@given(st.lists(rule_texts(), max_size=5), st.integers(0, 7 * DAY_MINUTES - 1))
def test_the_rule_that_holds_covers_the_minute_and_no_narrower_one_does(texts: list[str], minute: int) -> None:
    rules = [parse_limit(text) for text in texts]
    wall_time = datetime(2026, 11, 23) + timedelta(minutes=minute)  # a Monday's first minute, and on
    covering = [rule for rule in rules if minute in minutes_of_the_week(rule)]
    assert all(len(minutes_of_the_week(rule)) == rule.minutes_a_week for rule in rules)
    narrowest = sorted(covering, key=lambda rule: len(minutes_of_the_week(rule)))[:1]  # sorting keeps the first of equals
    assert [rule_at(rules, wall_time)] == (narrowest or [None])


# -- until when, and clocks that change -------------------------------------------------------------------------------


@settings(deadline=None)
@given(
    st.lists(rule_texts(), max_size=4),
    st.sampled_from(ZONES),
    st.sampled_from(["2026-03-08", SPRING, "2026-04-05", "2026-10-04", AUTUMN, "2026-11-01", "2026-06-01"]),
    st.integers(-36 * 3600, 36 * 3600),
)
@example(["2Mbit@02:15-02:45"], "Europe/Berlin", SPRING, 0)
@example(["2Mbit@02:15-02:45"], "Europe/Berlin", AUTUMN, 0)
@example(["pause@Sat 22:00-02:30"], "Europe/Berlin", AUTUMN, 0)
def test_until_is_the_first_minute_at_which_another_rule_holds(texts: list[str], zone: str, day: str, shift: int) -> None:
    rules, wall_time = [parse_limit(text) for text in texts], in_zone(zone)
    begin = seconds_of(f"{day}T00:00:00Z") + shift
    until = next_change(rules, begin, wall_time)
    now = rule_at(rules, wall_time(begin))
    end = begin + 2 * 24 * 3600
    later = range(begin - begin % 60 + 60, min(until or end, end), 60)  # offsets and edges are whole minutes
    assert all(rule_at(rules, wall_time(second)) is now for second in later)
    if until is not None:
        assert rule_at(rules, wall_time(until - 1)) is now and rule_at(rules, wall_time(until)) is not now


@pytest.mark.parametrize(
    ("rule", "at", "holds", "until"),
    [
        # spring: 01:00Z is 03:00; a window that is skipped whole does not hold, one that is skipped in part begins late
        ("2Mbit@02:15-02:45", f"{SPRING}T00:59:59Z", False, "2026-03-30T00:15:00Z"),
        ("2Mbit@02:30-04:00", f"{SPRING}T00:59:59Z", False, f"{SPRING}T01:00:00Z"),
        ("2Mbit@02:30-04:00", f"{SPRING}T01:00:00Z", True, f"{SPRING}T02:00:00Z"),
        ("2Mbit@22:00-06:00", "2026-03-28T21:00:00Z", True, f"{SPRING}T04:00:00Z"),  # seven hours long
        # a rule of that hour of that day alone: the next one is a week later
        ("2Mbit@Sun 02:15-02:45", f"{SPRING}T00:00:00Z", False, "2026-04-05T00:15:00Z"),
        # autumn: 02:00 to 03:00 comes twice, and the window with it
        ("2Mbit@02:15-02:45", f"{AUTUMN}T00:15:00Z", True, f"{AUTUMN}T00:45:00Z"),
        ("2Mbit@02:15-02:45", f"{AUTUMN}T00:45:00Z", False, f"{AUTUMN}T01:15:00Z"),
        ("2Mbit@02:15-02:45", f"{AUTUMN}T01:15:00Z", True, f"{AUTUMN}T01:45:00Z"),
        ("2Mbit@01:00-02:30", f"{AUTUMN}T00:30:00Z", False, f"{AUTUMN}T01:00:00Z"),
        ("2Mbit@01:00-02:30", f"{AUTUMN}T01:00:00Z", True, f"{AUTUMN}T01:30:00Z"),
        ("2Mbit@22:00-06:00", "2026-10-24T20:00:00Z", True, f"{AUTUMN}T05:00:00Z"),  # nine hours long
    ],
)
def test_when_clocks_are_changed_the_wall_clock_decides(rule: str, at: str, holds: bool, until: str) -> None:
    rules, wall_time, instant = [parse_limit(rule)], in_zone("Europe/Berlin"), seconds_of(at)
    assert (rule_at(rules, wall_time(instant)) is not None) == holds
    assert next_change(rules, instant, wall_time) == seconds_of(until)


def test_what_holds_always_has_no_end() -> None:
    for rules in ([], ["2Mbit"], ["2Mbit", "off"], ["2Mbit@00:00-24:00"], ["2Mbit@Mon-Sun"]):
        assert next_change([parse_limit(text) for text in rules], seconds_of(f"{SPRING}T00:00:00Z"), in_zone(ZONES[0])) is None
