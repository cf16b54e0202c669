"""Schedules: what is to happen when, and which due time was used.

A due time is used up, durably, *before* its run begins: it never runs twice, and a run that a crash ends is marked as
interrupted and not begun again (the next due time is soon enough, and a doubled export costs a cartridge). Several
times that were missed are one run.
"""

import itertools
from typing import Any, Literal

import msgspec
from msgspec import Struct

from appliance.appliance_db import ApplianceDatabase
from appliance.cron import parse_cron
from appliance.names import check_name, check_share
from appliance.schedules_db import ScheduleRow, ScheduleTable
from appliance.wall_clock import runs_after
from core.clock import NANOSECONDS, Clock, format_time
from core.errors import NotFound, Refused
from core.zones import parse_zone

BUILT_IN = "@"  # no name that anybody can give begins so
_DAY_NS = 86_400 * NANOSECONDS
_LOOK_BACK_DAYS = (2, 40, 800)  # windows in which the latest missed time is looked for, smallest first
_AHEAD_NS = 2 * _DAY_NS  # a last run further ahead than any change of clocks: the machine's clock was wrong then


class ScheduleNotFound(NotFound):
    """No schedule has this name."""


class ScheduleExists(Refused):
    """A schedule has this name already."""


class ScheduleUnreadable(Refused):
    """A request for a schedule is incomplete or contradicts itself."""


class ScheduleBuiltIn(Refused):
    """The appliance's own schedules can be switched off, but not removed."""


class ScheduleRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for."""

    name: str
    cron: str
    action: Literal["snapshot", "export", "prune", "scrub"]
    shares: list[str] = []
    tz: str = "UTC"
    to: str = ""
    kind: Literal["full", "differential", "incremental"] = "full"


class Schedule(Struct, frozen=True):
    """A schedule as it is shown."""

    name: str
    cron: str
    tz: str
    action: str
    shares: list[str]
    to: str
    kind: str
    enabled: bool
    last_run_at: str | None
    last_due_at: str | None
    last_outcome: str  # "", "running", "done", "differences", "failed", "interrupted"
    last_message: str
    next_run_at: str | None


def parse_request(request: dict[str, Any], now_ns: int) -> ScheduleRow:
    """Return the schedule that a request asks for; raise `Refused` saying what is wrong with it."""
    try:
        asked = msgspec.convert(request, ScheduleRequest)
    except msgspec.ValidationError as error:
        raise ScheduleUnreadable(f"not a schedule: {error}", remedy="see `stagekeeper schedule add --help`") from error
    check_name("schedule", asked.name)
    if not asked.shares and asked.action != "scrub":  # which reads the whole store, whatever is named
        raise ScheduleUnreadable("no share is named", remedy="name at least one share")
    shares = [check_share(share) for share in dict.fromkeys(asked.shares)]
    if (asked.action == "export") != bool(asked.to):
        raise ScheduleUnreadable("exports need a directory, nothing else has one", remedy="give --to DIR with an export")
    rule = parse_cron(asked.cron)
    if next(runs_after(rule, parse_zone(asked.tz), now_ns), None) is None:
        raise ScheduleUnreadable(f"{asked.cron!r} never comes", remedy="name a date that exists")
    return ScheduleRow(asked.name, rule.text, asked.tz, asked.action, shares, asked.to, asked.kind, True, now_ns, now_ns)


def next_runs(schedule: ScheduleRow, after_ns: int, count: int) -> list[int]:
    """Return up to `count` moments of a schedule after an instant. Pure."""
    return list(itertools.islice(runs_after(parse_cron(schedule.cron), parse_zone(schedule.tz), after_ns), count))


def latest_due(schedule: ScheduleRow, now_ns: int) -> int | None:
    """Return the latest moment that came and was not used, or None: all that were missed before it are one run. Pure."""
    last = used_until(schedule, now_ns)
    rule, zone = parse_cron(schedule.cron), parse_zone(schedule.tz)
    for days in _LOOK_BACK_DAYS:
        after = max(last, now_ns - days * _DAY_NS)
        runs = list(itertools.takewhile(lambda moment: moment <= now_ns, runs_after(rule, zone, after)))
        if runs:
            return runs[-1]
        if after == last:
            return None
    return None


def used_until(schedule: ScheduleRow, now_ns: int) -> int:
    """Return up to when due times are used; one far ahead of a clock that was set right is not believed. Pure."""
    return schedule.last_due if schedule.last_due <= now_ns + _AHEAD_NS else now_ns


class Schedules:
    """All schedules. Each change is durable on return, or part of the write block around it."""

    def __init__(self, database: ApplianceDatabase, clock: Clock) -> None:
        self._database = database
        self._table = ScheduleTable(database)
        self.clock = clock

    def add(self, request: dict[str, Any]) -> Schedule:
        """Add a schedule, enabled."""
        row = parse_request(request, self.clock.now_ns())
        with self._database.write():
            if self._table.get(row.name) is not None:
                raise ScheduleExists(f"there is a schedule {row.name} already", remedy="delete it first, or rename")
            self._table.insert(row)
        return self.shown(row)

    def follow_policy(self, share: str, cron: str | None, tz: str) -> None:
        """Let a share's policy have the schedule that it asks for, under the share's own name, or none."""
        now = self.clock.now_ns()
        with self._database.write():
            old = self._table.get(share)
            if old is not None and (cron is None or (old.cron, old.tz) != (parse_cron(cron).text, tz)):
                self._table.delete(share)
                old = None
            if old is None and cron is not None:
                rule = parse_cron(cron)
                self._table.insert(ScheduleRow(share, rule.text, tz, "snapshot", [share], "", "full", True, now, now))

    def all(self) -> list[ScheduleRow]:
        """Return all schedules by name; one that a policy asks for has the name of its share."""
        return self._table.all()

    def get(self, name: str) -> ScheduleRow:
        """Return one schedule; raise `ScheduleNotFound`."""
        row = self._table.get(name)
        if row is None:
            raise ScheduleNotFound(f"there is no schedule {name[:80]!r}", remedy="see `stagekeeper schedule list`")
        return row

    def enable(self, name: str, enabled: bool) -> ScheduleRow:
        """Switch a schedule on or off; what comes due while it is off is not caught up."""
        with self._database.write():
            row = self.get(name)
            if row.enabled != enabled:
                now = self.clock.now_ns()
                self._table.set_enabled(name, enabled, max(row.last_due, now) if enabled else row.last_due)
            return self.get(name)

    def ensure_built_in(self, name: str, cron: str, zone: str, action: str) -> None:
        """Have a schedule of the appliance's own; one that is there keeps its state. `name` begins as no other can."""
        parse_zone(zone)
        row, now = self._table.get(name), self.clock.now_ns()
        if row is not None and (row.cron, row.tz) == (cron, zone):
            return
        with self._database.write():
            if row is None:
                self._table.insert(ScheduleRow(name, cron, zone, action, [], "", "", True, now, now))
            else:
                self._table.set_times(name, cron, zone)

    def delete(self, name: str) -> None:
        """Remove a schedule; raise `ScheduleBuiltIn` for one of the appliance's own."""
        if name.startswith(BUILT_IN):
            raise ScheduleBuiltIn(
                f"{name} is the appliance's own", remedy=f"switch it off: `stagekeeper schedule disable {name}`"
            )
        with self._database.write():
            self.get(name)
            self._table.delete(name)

    def claim(self, name: str) -> ScheduleRow | None:
        """Use up the latest due time that came, durably, and return the schedule to run; None when there is none."""
        with self._database.write():
            now = self.clock.now_ns()
            row = self._table.get(name)
            due = latest_due(row, now) if row is not None and row.enabled else None
            if row is None or due is None or not self._table.claim(name, row.last_due, due, now):
                return None
            return self.get(name)

    def begin(self, name: str) -> ScheduleRow:
        """Note that a schedule is run by hand and return it; its due times stay as they are."""
        with self._database.write():
            row = self.get(name)
            self._table.begin(name, self.clock.now_ns())
            return row

    def finish(self, name: str, outcome: str, message: str) -> None:
        """Note how a run ended; nothing when the schedule was deleted meanwhile."""
        with self._database.write():
            self._table.finish(name, outcome, message[:1000])

    def recover(self) -> list[str]:
        """Mark runs that a crash ended; called once at start, before anything runs."""
        with self._database.write():
            return self._table.interrupt_running()

    def settle(self) -> None:
        """Forget due times that were used under a clock far ahead, so that schedules go on from now; called now and then."""
        now = self.clock.now_ns()
        ahead = [row for row in self._table.all() if used_until(row, now) != row.last_due]
        if ahead:
            with self._database.write():
                for row in ahead:
                    self._table.set_last_due(row.name, now)

    def next_due(self, row: ScheduleRow) -> int | None:
        """Return when a schedule runs next (in the past when it was missed), or None when it is off."""
        if not row.enabled:
            return None
        now = self.clock.now_ns()
        return latest_due(row, now) or next(iter(next_runs(row, max(now, used_until(row, now)), 1)), None)

    def shown(self, row: ScheduleRow) -> Schedule:
        """Return a schedule as it is shown."""
        due = self.next_due(row)
        return Schedule(
            row.name,
            row.cron,
            row.tz,
            row.action,
            row.shares,
            row.destination,
            row.kind,
            row.enabled,
            None if row.last_run is None else format_time(row.last_run),
            None if row.last_due == row.created_at else format_time(row.last_due),
            row.last_outcome,
            row.last_message,
            None if due is None else format_time(due),
        )
