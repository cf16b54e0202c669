"""Cron texts mean what they mean elsewhere."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.cron import PRESETS, CronUnreadable, parse_cron

WEEK = [date(2026, 11, 22) + timedelta(days) for days in range(7)]  # Sunday to Saturday


@pytest.mark.parametrize(
    ("text", "times"),
    [
        ("0 7,12 * * *", ["07:00", "12:00"]),
        ("*/20 3 * * *", ["03:00", "03:20", "03:40"]),
        ("5-7 0 * * *", ["00:05", "00:06", "00:07"]),
        ("50/5 23 * * *", ["23:50", "23:55"]),
        ("1-10/4 1 * * *", ["01:01", "01:05", "01:09"]),
    ],
)
def test_minutes_and_hours(text: str, times: list[str]) -> None:
    assert [time.strftime("%H:%M") for time in parse_cron(text).times()] == times


@pytest.mark.parametrize(
    ("days", "fitting"),
    [
        ("* * 1-5", [1, 2, 3, 4, 5]),
        ("* * 0", [0]),
        ("* * 7", [0]),
        ("* * sun,Sat", [0, 6]),
        ("* * 5-7", [0, 5, 6]),
        ("22 * *", [0]),
        ("23 * 6", [1, 6]),
        ("* jan *", []),
        ("* nov-dec 2", [2]),
    ],
)
def test_days(days: str, fitting: list[int]) -> None:
    rule = parse_cron(f"0 0 {days}")
    assert [index for index, day in enumerate(WEEK) if rule.fits(day)] == fitting


@pytest.mark.parametrize(
    "text",
    ["", "0 0 * *", "0 0 * * * *", "60 0 * * *", "0 24 * * *", "0 0 0 * *", "0 0 * 13 *", "0 0 * * 8", "5-3 0 * * *",
     "*/0 0 * * *", "a 0 * * *", "-1 0 * * *", "1,,2 0 * * *", "0 0 * mon *", "noon", "٣ 0 * * *"],
)  # fmt: skip
def test_what_is_no_cron_text_is_refused(text: str) -> None:
    with pytest.raises(CronUnreadable):
        parse_cron(text)


def test_presets_are_cron_texts_of_their_own() -> None:
    assert parse_cron("weekdays-0700-1200").text == "0 7,12 * * 1-5"
    assert all(parse_cron(name) == parse_cron(text) for name, text in PRESETS.items())


@given(st.lists(st.integers(0, 59), min_size=1, max_size=5), st.lists(st.integers(0, 23), min_size=1, max_size=5))
def test_lists_mean_each_of_their_numbers(minutes: list[int], hours: list[int]) -> None:
    rule = parse_cron(f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * * *")
    assert {(time.hour, time.minute) for time in rule.times()} == {(hour, minute) for hour in hours for minute in minutes}


@given(st.text(max_size=40))
def test_no_text_does_anything_but_mean_something_or_be_refused(text: str) -> None:
    try:
        assert parse_cron(text).times()
    except CronUnreadable as error:
        assert error.remedy
