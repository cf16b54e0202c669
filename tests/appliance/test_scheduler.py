"""Runs happen at their time, by hand, once, and end with the process."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from appliance.appliance_db import ApplianceDatabase
from appliance.scheduler import NothingServes, ScheduleBusy, Scheduler
from appliance.schedules import Schedules
from appliance.schedules_db import ScheduleRow
from core.clock import NANOSECONDS, SystemClock
from core.errors import Refused, TryLater

EVERY_MINUTE = {"name": "often", "cron": "* * * * *", "action": "snapshot", "shares": ["leeds/finance"]}
_PATIENCE_SECONDS = 20


class ShiftedClock(SystemClock):
    """The machine's clock, set another way; APScheduler needs one that goes."""

    def __init__(self) -> None:
        self.shift_seconds = 0

    def now_ns(self) -> int:
        return super().now_ns() + self.shift_seconds * NANOSECONDS


class Runs:
    """What was run; `work` may be replaced."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.happened = threading.Event()
        self.work: Callable[[Callable[[], bool]], Any] = lambda stopping: "result"

    def __call__(self, row: ScheduleRow, stopping: Callable[[], bool]) -> Any:
        self.names.append(row.name)
        self.happened.set()
        return self.work(stopping)


@pytest.fixture
def moving() -> ShiftedClock:
    return ShiftedClock()


@pytest.fixture
def schedules(database: ApplianceDatabase, moving: ShiftedClock) -> Schedules:
    made = Schedules(database, moving)
    made.add(EVERY_MINUTE)
    return made


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def scheduler(schedules: Schedules, runs: Runs) -> Iterator[Scheduler]:
    made = Scheduler(schedules, runs, lambda: None)
    yield made
    made.stop()


def wait_until(fact: Callable[[], bool]) -> None:
    """Return when something that another thread does has happened."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def test_what_was_missed_is_run_once_at_start(
    scheduler: Scheduler, schedules: Schedules, runs: Runs, moving: ShiftedClock
) -> None:
    moving.shift_seconds = 3600
    scheduler.start()
    wait_until(lambda: schedules.get("often").last_outcome == "done")
    assert runs.names == ["often"]
    assert schedules.claim("often") is None


def test_a_run_by_hand_gives_what_it_did_and_failures_are_kept(scheduler: Scheduler, schedules: Schedules, runs: Runs) -> None:
    assert scheduler.run_now("often") == "result"
    assert schedules.get("often").last_outcome == "done"

    def fail(stopping: Callable[[], bool]) -> None:
        raise Refused("the share is not good", remedy="wait")

    runs.work = fail
    with pytest.raises(Refused):
        scheduler.run_now("often")
    row = schedules.get("often")
    assert (row.last_outcome, row.last_message) == ("failed", "the share is not good")


def test_two_runs_of_one_schedule_exclude_each_other(scheduler: Scheduler, schedules: Schedules, runs: Runs) -> None:
    go_on = threading.Event()
    runs.work = lambda stopping: go_on.wait(_PATIENCE_SECONDS)
    thread = threading.Thread(target=scheduler.run_now, args=["often"])
    thread.start()
    runs.happened.wait(_PATIENCE_SECONDS)
    with pytest.raises(ScheduleBusy):
        scheduler.run_now("often")
    go_on.set()
    thread.join()
    assert schedules.get("often").last_outcome == "done"


def test_a_run_that_nobody_waits_for_goes_on_and_its_row_tells_the_end(
    scheduler: Scheduler, schedules: Schedules, runs: Runs
) -> None:
    with pytest.raises(NothingServes):
        scheduler.start_now("often")
    scheduler.start()
    go_on = threading.Event()
    runs.work = lambda stopping: go_on.wait(_PATIENCE_SECONDS)
    scheduler.start_now("often")
    assert schedules.get("often").last_outcome == "running"
    with pytest.raises(ScheduleBusy):
        scheduler.start_now("often")
    go_on.set()
    scheduler.stop()  # returns when the run has ended
    assert (schedules.get("often").last_outcome, runs.names) == ("done", ["often"])


def test_stopping_interrupts_a_run_and_says_so(
    scheduler: Scheduler, schedules: Schedules, runs: Runs, moving: ShiftedClock
) -> None:
    def work(stopping: Callable[[], bool]) -> None:
        wait_until(stopping)
        raise TryLater("stopped")

    runs.work = work
    moving.shift_seconds = 3600
    scheduler.start()
    runs.happened.wait(_PATIENCE_SECONDS)
    scheduler.stop()
    assert schedules.get("often").last_outcome == "interrupted"


def test_a_failing_run_does_not_keep_others_from_running(
    scheduler: Scheduler, schedules: Schedules, runs: Runs, moving: ShiftedClock
) -> None:
    def fail(stopping: Callable[[], bool]) -> None:
        raise ValueError("a defect")

    runs.work = fail
    schedules.add({**EVERY_MINUTE, "name": "other"})
    moving.shift_seconds = 3600
    scheduler.start()
    wait_until(lambda: all(row.last_outcome == "failed" for row in schedules.all()))
    assert "a defect" in schedules.get("other").last_message


def test_deleting_and_disabling_end_the_planning(scheduler: Scheduler, schedules: Schedules, runs: Runs) -> None:
    scheduler.start()
    schedules.delete("often")
    scheduler.plan("often")
    schedules.add({**EVERY_MINUTE, "name": "other"})
    scheduler.plan("other")
    schedules.enable("other", False)
    scheduler.plan("other")
    timer = scheduler._timer
    assert timer is not None and [job.id for job in timer.get_jobs()] == ["/tick"]
