"""The moments a person can go to, laid out by day. Pure: snapshots in, a strip of days out.

A strip shows a week of days that have moments, around the chosen one. A day shows at most four of them, so that hourly
snapshots stay readable; when the chosen day has more, all of its moments stand in a row of their own.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from web.share_values import Snapshot
from web.words import When, crowded_minutes, day_words, instant, time_of, when_at_length

DAYS_SHOWN = 7
MOMENTS_A_DAY = 4
_SECOND_NS = 10**9
_MINUTE_NS = 60 * _SECOND_NS


@dataclass(frozen=True, slots=True)
class Chosen:
    """The moment that a page shows: as asked, as an instant when it has one, and in words."""

    at: str
    time_ns: int | None
    when: When
    label: str = ""

    @property
    def now(self) -> bool:
        """Tell whether the present is shown."""
        return self.at == ""


@dataclass(frozen=True, slots=True)
class Stop:
    """One moment to go to; `at` is empty for now."""

    at: str
    time_ns: int
    words: str
    title: str
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Day:
    """A day's moments, newest first; `more` leads to the newest of those that are not shown.

    `place` is "before", "chosen" or "after": where the day stands from the chosen one.
    """

    words: str
    stops: tuple[Stop, ...]
    place: str = "before"
    hidden: int = 0
    more: str = ""


@dataclass(frozen=True, slots=True)
class Strip:
    """Days newest first; `earlier` and `later` lead from moment to moment, the `_days` ones out of the days shown.

    `whole_day` is the chosen day with all its moments when the strip cannot show them all.
    """

    days: tuple[Day, ...]
    whole_day: Day | None
    earlier: str | None
    later: str | None
    earlier_days: str | None
    later_days: str | None


def resolve_moment(at: str, snapshots: Sequence[Snapshot], now_ns: int) -> Chosen:
    """Return the chosen moment in words; what is not understood here is shown as asked, and others refuse it."""
    if at == "":
        return Chosen("", now_ns, When("now", ""))
    by_time = sorted(snapshots, key=lambda snapshot: (snapshot.sequence, snapshot.id))
    picked = [by_time[-1]] if at == "latest" and by_time else [one for one in by_time if str(one.id) == at]
    if picked:
        time_ns = time_of(picked[0].taken_at) or 0
        return Chosen(str(picked[0].id), time_ns, when_at_length(time_ns, now_ns), picked[0].label)
    asked_ns = _asked_time(at)
    if asked_ns is not None:
        return Chosen(at, asked_ns, when_at_length(asked_ns, now_ns))
    sequence = re.fullmatch(r"seq:(\d{1,20})", at)
    return Chosen(at, None, When(f"after change {int(sequence[1]):,}" if sequence else at, ""))


def build_strip(snapshots: Sequence[Snapshot], chosen: Chosen, now_ns: int) -> Strip:
    """Lay out the moments around the chosen one."""
    stops = _stops(snapshots, chosen, now_ns)
    place = next((index for index, stop in enumerate(stops) if stop.chosen), 0)
    days = _group(stops, now_ns)
    day_place = next((index for index, day in enumerate(days) if any(stop.chosen for stop in day.stops)), 0)
    first = max(0, min(day_place - DAYS_SHOWN // 2, len(days) - DAYS_SHOWN))
    newer, week, older = days[:first], days[first : first + DAYS_SHOWN], days[first + DAYS_SHOWN :]
    return Strip(
        days=tuple(_shown(day, index - day_place) for index, day in enumerate(week, first)),
        whole_day=days[day_place] if len(days[day_place].stops) > MOMENTS_A_DAY else None,
        earlier=stops[place + 1].at if place + 1 < len(stops) else None,
        later=stops[place - 1].at if place > 0 else None,
        earlier_days=older[0].stops[0].at if older else None,
        later_days=newer[-1].stops[-1].at if newer else None,
    )


def nearest_before(snapshots: Sequence[Snapshot], time_ns: int) -> Snapshot | None:
    """Return the newest snapshot taken at or before a time; the oldest of all when there is none before."""
    taken = sorted(snapshots, key=lambda snapshot: (snapshot.sequence, snapshot.id))
    before = [snapshot for snapshot in taken if (time_of(snapshot.taken_at) or 0) <= time_ns]
    return before[-1] if before else next(iter(taken), None)


def _asked_time(at: str) -> int | None:
    windows = re.fullmatch(r"GMT-(\d{4})\.(\d\d)\.(\d\d)-(\d\d)\.(\d\d)\.(\d\d)", at)
    if windows:
        year, month, day, hour, minute, second = windows.groups()
        return time_of(f"{year}-{month}-{day}T{hour}:{minute}:{second}Z")
    return time_of(at)


def _stops(snapshots: Sequence[Snapshot], chosen: Chosen, now_ns: int) -> list[Stop]:
    """Return all moments, newest first: now, the snapshots, and the chosen time when no snapshot stands there."""
    stops = [Stop("", now_ns, "now", "as it is now", chosen.now)]
    times = [time_of(snapshot.taken_at) or 0 for snapshot in snapshots]
    crowded, a_second = crowded_minutes(times), Counter(time // _SECOND_NS for time in times)
    for snapshot in sorted(snapshots, key=lambda one: (one.sequence, one.id), reverse=True):  # the order of equal times
        time_ns = time_of(snapshot.taken_at) or 0
        said = when_at_length(time_ns, now_ns)
        label = f" “{snapshot.label}”" if snapshot.label else ""
        at = str(snapshot.id)
        words = _clock(time_ns, time_ns // _MINUTE_NS in crowded)
        if a_second[time_ns // _SECOND_NS] > 1:
            words += f" @{at}"  # no two moments look alike
        stops.append(Stop(at, time_ns, words, f"{said.words} UTC{label}", at == chosen.at))
    if chosen.time_ns is not None and not any(stop.chosen for stop in stops):
        title = f"{chosen.when.words} UTC"
        words = _clock(chosen.time_ns, chosen.time_ns % _MINUTE_NS >= _SECOND_NS)
        stops.append(Stop(chosen.at, chosen.time_ns, words, title, True))
    return sorted(stops, key=lambda stop: (stop.at == "", stop.time_ns), reverse=True)


def _group(stops: Sequence[Stop], now_ns: int) -> list[Day]:
    days: list[Day] = []
    today = _calendar(now_ns)
    for stop in stops:
        words = day_words(_calendar(stop.time_ns), today)
        if days and days[-1].words == words:
            days[-1] = replace(days[-1], stops=(*days[-1].stops, stop))
        else:
            days.append(Day(words, (stop,)))
    return days


def _shown(day: Day, days_earlier: int) -> Day:
    """Return a day as the strip shows it: of many moments the newest three, or on the chosen day the chosen one."""
    placed = replace(day, place="chosen" if days_earlier == 0 else "before" if days_earlier > 0 else "after")
    if len(day.stops) <= MOMENTS_A_DAY:
        return placed
    kept = tuple(stop for stop in day.stops if stop.chosen) or day.stops[: MOMENTS_A_DAY - 1]
    rest = [stop for stop in day.stops if stop not in kept]
    return replace(placed, stops=kept, hidden=len(rest), more=rest[0].at)


def _clock(time_ns: int, to_the_second: bool = False) -> str:
    return f"{_calendar(time_ns):%H:%M:%S}" if to_the_second else f"{_calendar(time_ns):%H:%M}"


def _calendar(time_ns: int) -> datetime:
    return instant(time_ns) or datetime(1970, 1, 1, tzinfo=UTC)
