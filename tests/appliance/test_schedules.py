"""Which due times are used, caught up, and never used twice."""

from typing import Any

import pytest

from appliance.appliance_db import ApplianceDatabase
from appliance.schedules import Schedules, ScheduleUnreadable, latest_due, next_runs
from core.clock import format_time
from core.errors import NotFound, Refused
from tests.appliance.settable_clock import SettableClock

DAILY = {"name": "daily", "cron": "0 19 * * *", "action": "snapshot", "shares": ["leeds/finance"]}


@pytest.fixture
def schedules(database: ApplianceDatabase, clock: SettableClock) -> Schedules:
    made = Schedules(database, clock)
    made.add(DAILY)
    return made


def due_of(schedules: Schedules) -> str | None:
    return schedules.shown(schedules.get("daily")).next_run_at


def test_a_new_schedule_waits_for_its_first_due_time(schedules: Schedules) -> None:
    assert schedules.claim("daily") is None
    assert due_of(schedules) == "2026-11-22T19:00:00.000000Z"


def test_a_due_time_is_claimed_once(schedules: Schedules, clock: SettableClock) -> None:
    clock.set("2026-11-22T19:00:00Z")
    claimed = schedules.claim("daily")
    assert claimed is not None and format_time(claimed.last_due) == "2026-11-22T19:00:00.000000Z"
    assert schedules.claim("daily") is None
    assert due_of(schedules) == "2026-11-23T19:00:00.000000Z"


def test_what_was_missed_is_caught_up_once(schedules: Schedules, clock: SettableClock) -> None:
    clock.set("2026-12-24T08:00:00Z")
    assert due_of(schedules) == "2026-12-23T19:00:00.000000Z"
    claimed = schedules.claim("daily")
    assert claimed is not None and format_time(claimed.last_due) == "2026-12-23T19:00:00.000000Z"
    assert schedules.claim("daily") is None


def test_a_run_that_a_crash_ended_is_marked_and_not_begun_again(
    schedules: Schedules, database: ApplianceDatabase, clock: SettableClock
) -> None:
    clock.set("2026-11-22T19:00:00Z")
    assert schedules.claim("daily")
    again = Schedules(database, clock)  # the process ended here, and another begins
    assert again.recover() == ["daily"]
    assert again.claim("daily") is None
    assert again.get("daily").last_outcome == "interrupted"


def test_what_came_due_while_off_is_not_caught_up(schedules: Schedules, clock: SettableClock) -> None:
    schedules.enable("daily", False)
    clock.set("2026-11-25T08:00:00Z")
    assert schedules.claim("daily") is None
    schedules.enable("daily", True)
    assert schedules.claim("daily") is None
    assert due_of(schedules) == "2026-11-25T19:00:00.000000Z"


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_moves_an_hour_never_makes_a_due_time_run_twice(
    schedules: Schedules, clock: SettableClock, hours: int
) -> None:
    clock.set("2026-11-22T19:00:00Z")
    assert schedules.claim("daily")
    clock.move(hours * 3600)
    assert schedules.claim("daily") is None
    clock.set("2026-11-23T19:00:00Z")
    assert schedules.claim("daily")


def test_a_clock_that_was_400_days_ahead_does_not_silence_a_schedule(schedules: Schedules, clock: SettableClock) -> None:
    clock.move(400 * 86_400)
    assert schedules.claim("daily")
    clock.move(-400 * 86_400)
    schedules.settle()
    assert due_of(schedules) == "2026-11-22T19:00:00.000000Z"
    clock.set("2026-11-22T19:00:00Z")
    assert schedules.claim("daily")
    assert schedules.claim("daily") is None


def test_a_run_by_hand_uses_no_due_time(schedules: Schedules, clock: SettableClock) -> None:
    schedules.begin("daily")
    schedules.finish("daily", "done", "")
    clock.set("2026-11-22T19:00:00Z")
    assert schedules.claim("daily")


def test_runs_ahead_are_pure(schedules: Schedules) -> None:
    row = schedules.get("daily")
    assert next_runs(row, row.created_at, 3) == next_runs(row, row.created_at, 5)[:3]
    assert latest_due(row, row.created_at) is None


@pytest.mark.parametrize(
    "change",
    [
        {"name": "a b"}, {"name": ""}, {"cron": "nonsense"}, {"cron": "0 0 30 2 *"}, {"tz": "Mars/Base"}, {"action": "format"},
        {"shares": []}, {"shares": ["leeds"]}, {"to": "/mnt"}, {"action": "export"}, {"extra": 1}, {"shares": "leeds/finance"},
        {"kind": "huge", "action": "export", "to": "/mnt"}, {"name": 7},
    ],
)  # fmt: skip
def test_requests_that_make_no_schedule_are_refused(schedules: Schedules, change: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        schedules.add({**DAILY, "name": "other", **change})
    assert [row.name for row in schedules.all()] == ["daily"]


def test_names_are_taken_once_and_free_after_deleting(schedules: Schedules) -> None:
    with pytest.raises(Refused, match="already"):
        schedules.add(DAILY)
    schedules.delete("daily")
    with pytest.raises(NotFound):
        schedules.get("daily")
    assert schedules.add(DAILY).name == "daily"
    with pytest.raises(ScheduleUnreadable):
        schedules.add({})
