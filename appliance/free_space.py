"""Free space over the days, and when the disk will be full if it goes on like that.

The forecast is a pure function: a straight line through the last weeks, drawn from what is free now. It says nothing while
there is too little to go by, or while space does not shrink.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from appliance.appliance_db import ApplianceDatabase
from appliance.free_space_db import FreeSpaceTable
from core.clock import NANOSECONDS, Clock

DAY_NS = 24 * 3600 * NANOSECONDS
FORECAST_DAYS = 30  # long enough to see through weekends, short enough to follow a new branch
KEPT_DAYS = 400  # a row of some 30 bytes each
_LEAST_SPAN_NS = 2 * DAY_NS
_FARTHEST_NS = 3650 * DAY_NS  # beyond ten years a line says nothing


class FreeSpace(Struct, frozen=True):
    """How much was free at a time."""

    taken_at: int
    free_bytes: int


def full_at(days: Sequence[FreeSpace], now_ns: int, free_bytes: int) -> int | None:
    """Return when nothing will be free any more, in nanoseconds; None when that cannot be told or does not come."""
    recent = [day for day in days if now_ns - FORECAST_DAYS * DAY_NS <= day.taken_at < now_ns]
    points = [(day.taken_at - now_ns, day.free_bytes) for day in recent] + [(0, free_bytes)]
    if -points[0][0] < _LEAST_SPAN_NS:
        return None
    count, times, frees = len(points), sum(time for time, _ in points), sum(free for _, free in points)
    spread = count * sum(time * time for time, _ in points) - times * times
    trend = count * sum(time * free for time, free in points) - times * frees  # bytes a nanosecond, times `spread`
    if trend >= 0 or free_bytes * spread > _FARTHEST_NS * -trend:
        return None
    return now_ns + free_bytes * spread // -trend


class FreeSpaceHistory:
    """One row a day, written when the day begins or the appliance is started on it. Any thread may call."""

    def __init__(self, database: ApplianceDatabase, clock: Clock, folder: Path) -> None:
        """Watch the disk that holds `folder`."""
        self._table, self._database, self._clock, self._folder = FreeSpaceTable(database), database, clock, folder
        self._noted_day = -1

    def note(self) -> None:
        """Write down what is free, unless that was done today."""
        now_ns = self._clock.now_ns()
        day = now_ns // DAY_NS
        if day == self._noted_day:
            return
        with self._database.write():
            self._table.add(day, now_ns, self.free_bytes())
            self._table.drop_before(day - KEPT_DAYS)
        self._noted_day = day

    def free_bytes(self) -> int:
        """Return what is free now."""
        space = os.statvfs(self._folder)
        return space.f_bavail * space.f_frsize

    def full_at(self) -> int | None:
        """Return when nothing will be free any more, None when that cannot be told or does not come."""
        days = [FreeSpace(taken_at, free) for taken_at, free in self._table.all()]
        return full_at(days, self._clock.now_ns(), self.free_bytes())
