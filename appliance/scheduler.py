"""Timing: wakes schedules when they are due. The only door to APScheduler.

The rows are ours; APScheduler keeps nothing. Each schedule has one job in memory, for its next due time only; when it
fires, the due time is claimed, the run is done, and the next one planned. A tick plans again what is not as it should
be, so that a sleeping machine or a changed clock delays a run by half a minute at most.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.date import DateTrigger

from appliance.schedules import Schedules
from appliance.schedules_db import ScheduleRow
from core.clock import NANOSECONDS
from core.errors import Refused, StagekeeperError, TryLater

_LOG = logging.getLogger("stagekeeper.scheduler")
_THREADS = 4  # runs of different schedules at once; the disk is the bottleneck
_TICK_SECONDS = 30
_TICK = "/tick"  # no schedule can have this name

Run = Callable[[ScheduleRow, Callable[[], bool]], Any]  # does what a schedule asks for; may ask whether to stop


class NothingServes(Refused):
    """Without a serving process a run would end with the command that began it."""


class ScheduleBusy(TryLater):
    """The schedule is running at the moment."""


class Scheduler:
    """Runs schedules, by time and by hand. `run_now` works without `start`."""

    def __init__(self, schedules: Schedules, run: Run, on_tick: Callable[[], None]) -> None:
        """Keep what is run; `on_tick` is called every half minute by the way."""
        self._schedules = schedules
        self._run = run
        self._on_tick = on_tick
        self._lock = threading.Condition()
        self._running: set[str] = set()
        self._stopping = threading.Event()
        self._timer: BackgroundScheduler | None = None

    def start(self) -> None:
        """Mark what a crash interrupted, catch up what was missed (once each), and begin to watch the time."""
        self._schedules.recover()
        self._timer = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(_THREADS)},
            # A date that passed fires at once. Runs of one schedule exclude each other here, not there: a job that
            # APScheduler skips for that reason would be gone.
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 3},
            timezone=UTC,
        )
        self._timer.add_job(self.tick, "interval", seconds=_TICK_SECONDS, id=_TICK)
        self._timer.start()
        self._plan_all()

    def stop(self) -> None:
        """Stop planning, let runs under way end (those that can be interrupted are), and return when all did."""
        self._stopping.set()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.shutdown(wait=False)  # its own waiting holds locks that a run under way asks for
        with self._lock:
            self._lock.wait_for(lambda: not self._running)

    def plan(self, name: str) -> None:
        """Plan the next run of a schedule anew; called after each change of it."""
        timer = self._timer
        if timer is None or self._stopping.is_set():
            return
        due = next((self._schedules.next_due(row) for row in self._schedules.all() if row.name == name), None)
        if due is None:
            if timer.get_job(name) is not None:
                timer.remove_job(name)
            return
        moment = None if due <= self._schedules.clock.now_ns() else datetime.fromtimestamp(due / NANOSECONDS, UTC)
        job = timer.get_job(name)
        if job is not None and job.next_run_time == moment:
            return
        timer.add_job(self._fire, DateTrigger(moment), args=[name], id=name, replace_existing=True)

    def run_now(self, name: str) -> Any:
        """Run a schedule at once and return what it did; raise `ScheduleBusy` while it runs already."""
        self._enter(name)
        try:
            return self._do(self._schedules.begin(name))
        finally:
            self._leave(name)
            self.plan(name)

    def start_now(self, name: str) -> None:
        """Begin to run a schedule and return; its row tells that it runs, and how it ended.

        Raises `ScheduleBusy` while it runs already, and `NothingServes` before `start`.
        """
        if self._timer is None:
            raise NothingServes(
                "no service runs that could go on with it", remedy="run it without --no-wait, or start the service"
            )
        self._enter(name)
        try:
            row = self._schedules.begin(name)
        except BaseException:
            self._leave(name)
            raise
        threading.Thread(target=self._entered, args=[name, lambda: row], name=f"schedule {name}", daemon=True).start()

    def _fire(self, name: str) -> None:
        try:
            self._enter(name)
        except ScheduleBusy:
            return  # whoever runs it plans the next when done
        self._entered(name, lambda: self._schedules.claim(name))

    def _entered(self, name: str, take: Callable[[], ScheduleRow | None]) -> None:
        """Do what `take` gives, if anything, and leave; in a thread where nobody waits for an answer."""
        try:
            row = take()
            if row is not None:
                self._do(row)
        except Exception as error:  # the schedule's row says it; the log tells whoever watches the machine
            _LOG.error("schedule %s: %s", name, error, exc_info=not isinstance(error, StagekeeperError))
        finally:
            self._leave(name)
            self.plan(name)  # behind leaving: it may fire at once

    def _do(self, row: ScheduleRow) -> Any:
        try:
            result = self._run(row, self._stopping.is_set)
        except BaseException as error:
            interrupted = self._stopping.is_set()
            message = error.message if isinstance(error, StagekeeperError) else f"{type(error).__name__}: {error}"
            self._schedules.finish(row.name, "interrupted" if interrupted else "failed", message)
            raise
        missed = result.get("not_exported") if isinstance(result, dict) else None
        told = f"{len(missed)} things were not exported, the first of them {missed[0]['path']}" if missed else ""
        self._schedules.finish(row.name, "differences" if missed else "done", told)
        return result

    def _enter(self, name: str) -> None:
        with self._lock:
            if self._stopping.is_set():
                raise ScheduleBusy("the appliance is stopping", remedy="try again when it serves again")
            if name in self._running:
                raise ScheduleBusy(f"schedule {name} is running", remedy="wait for it to end")
            self._running.add(name)

    def _leave(self, name: str) -> None:
        with self._lock:
            self._running.discard(name)
            self._lock.notify_all()

    def tick(self) -> None:
        """Do what is done by the way every half minute, and plan again; errors are logged and met again at the next tick."""
        try:
            self._enter(_TICK)
        except ScheduleBusy:
            return
        try:
            self._on_tick()
            self._plan_all()
        except StagekeeperError as error:  # tried again at the next tick
            _LOG.error("tick: %s", error.message)
        finally:
            self._leave(_TICK)

    def _plan_all(self) -> None:
        """Plan every schedule that does not run: what a wrong clock had planned is corrected here."""
        self._schedules.settle()
        for row in self._schedules.all():
            if row.name not in self._running:
                self.plan(row.name)
