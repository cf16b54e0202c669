"""The moments a person can go to, laid out by day. Pure: snapshots in, a strip of days out.

A strip shows a week of days that have moments, around the chosen one. A day shows at most four of them, so that hourly
snapshots stay readable; when the chosen day has more, all of its moments stand in a row of their own. A moment is said in
the same words in the strip and in the heading, and no two moments in the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from web.share_values import Moment, Snapshot
from web.words import TODAY, Crowds, When, crowds_of, day_words, instant, time_of, when_at_length

DAYS_SHOWN = 7
MOMENTS_A_DAY = 4


@dataclass(frozen=True, slots=True)
class Chosen:
    """The moment that a page shows: as addresses say it, its time, and in words; `beside` tells it from others like it.

    `before` and `after` are the addresses of the snapshots next to it, None when there is none.
    """

    at: str
    time_ns: int | None
    when: When
    label: str = ""
    beside: str = ""
    before: str | None = None
    after: str | None = None

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

    `whole_day` is the chosen day, named as within a phrase, with all its moments when the strip cannot show them all.
    """

    days: tuple[Day, ...]
    whole_day: Day | None
    earlier: str | None
    later: str | None
    earlier_days: str | None
    later_days: str | None


def choose(moment: Moment, asked: str, snapshots: Sequence[Snapshot], now_ns: int) -> Chosen:
    """Return a moment in words; `asked` is how it was asked for, which a snapshot need not keep."""
    time_ns = time_of(moment.at)
    before = None if moment.before is None else str(moment.before)
    after = None if moment.after is None else str(moment.after)
    if moment.kind == "live":
        return Chosen("", now_ns, When("now", ""), before=before)
    if time_ns is None:
        said = When("an unknown time", "")
    else:
        said = when_at_length(time_ns, now_ns, _crowds(snapshots, time_ns if moment.kind == "instant" else None))
    if moment.kind == "instant":
        change = f"after change {moment.sequence:,}" if asked.startswith("seq:") else ""
        return Chosen(asked, time_ns, said, beside=change, before=before, after=after)
    beside = f"@{moment.snapshot}" if _crowds(snapshots).share_a_second(time_ns) else ""
    label = next((snapshot.label for snapshot in snapshots if snapshot.id == moment.snapshot), "")
    return Chosen(str(moment.snapshot), time_ns, said, label, beside, before, after)


def unkept(asked: str, now_ns: int) -> Chosen:
    """Return a moment of which nothing is kept: a time in words, anything else as it was asked for."""
    time_ns = time_of(asked)
    said = When(asked, "") if time_ns is None else when_at_length(time_ns, now_ns, crowds_of([], time_ns))
    return Chosen(asked, None, said)


def build_strip(snapshots: Sequence[Snapshot], chosen: Chosen, now_ns: int) -> Strip:
    """Lay out the moments around the chosen one."""
    stops = _stops(snapshots, chosen, now_ns)
    days = _group(stops, now_ns)
    day_place = next((index for index, day in enumerate(days) if any(stop.chosen for stop in day.stops)), 0)
    first = max(0, min(day_place - DAYS_SHOWN // 2, len(days) - DAYS_SHOWN))
    newer, week, older = days[:first], days[first : first + DAYS_SHOWN], days[first + DAYS_SHOWN :]
    return Strip(
        days=tuple(_shown(day, index - day_place) for index, day in enumerate(week, first)),
        whole_day=_in_a_phrase(days[day_place]) if len(days[day_place].stops) > MOMENTS_A_DAY else None,
        earlier=chosen.before,
        later=None if chosen.now or chosen.time_ns is None else chosen.after or "",
        earlier_days=older[0].stops[0].at if older else None,
        later_days=newer[-1].stops[-1].at if newer else None,
    )


def nearest_before(snapshots: Sequence[Snapshot], time_ns: int) -> Snapshot | None:
    """Return the newest snapshot taken at or before a time; the oldest of all when there is none before."""
    taken = sorted(snapshots, key=lambda snapshot: (snapshot.sequence, snapshot.id))
    before = [snapshot for snapshot in taken if (time_of(snapshot.taken_at) or 0) <= time_ns]
    return before[-1] if before else next(iter(taken), None)


def _stops(snapshots: Sequence[Snapshot], chosen: Chosen, now_ns: int) -> list[Stop]:
    """Return all moments, newest first: now, the snapshots, and the chosen one behind the snapshot before it."""
    newest_first = sorted(snapshots, key=lambda one: (one.sequence, one.id), reverse=True)
    ids = [str(snapshot.id) for snapshot in newest_first]
    is_extra = chosen.time_ns is not None and not chosen.now and chosen.at not in ids
    crowds = _crowds(snapshots, chosen.time_ns if is_extra else None)
    stops = [_stop(snapshot, chosen, crowds, now_ns) for snapshot in newest_first]
    if is_extra and chosen.time_ns is not None:
        title = f"{chosen.when.words} UTC" + (f", {chosen.beside}" if chosen.beside else "")
        extra = Stop(chosen.at, chosen.time_ns, crowds.clock(chosen.time_ns), title, True)
        stops.insert(ids.index(chosen.before) if chosen.before in ids else len(stops), extra)
    return [Stop("", now_ns, "now", "as it is now", chosen.now), *stops]


def _stop(snapshot: Snapshot, chosen: Chosen, crowds: Crowds, now_ns: int) -> Stop:
    time_ns, at = time_of(snapshot.taken_at) or 0, str(snapshot.id)
    beside = f" @{at}" if crowds.share_a_second(time_ns) else ""  # no two moments look alike
    label = f" “{snapshot.label}”" if snapshot.label else ""
    said = when_at_length(time_ns, now_ns, crowds)
    return Stop(at, time_ns, crowds.clock(time_ns) + beside, f"{said.words} UTC{beside}{label}", at == chosen.at)


def _crowds(snapshots: Sequence[Snapshot], instant_ns: int | None = None) -> Crowds:
    return crowds_of((time_of(snapshot.taken_at) for snapshot in snapshots), instant_ns)


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


def _in_a_phrase(day: Day) -> Day:
    """Return a day as it is said behind "all of": only "Today" loses its capital, the names of weekdays keep theirs."""
    return replace(day, words="today") if day.words == TODAY else day


def _shown(day: Day, days_earlier: int) -> Day:
    """Return a day as the strip shows it: of many moments the newest three, or on the chosen day the chosen one."""
    placed = replace(day, place="chosen" if days_earlier == 0 else "before" if days_earlier > 0 else "after")
    if len(day.stops) <= MOMENTS_A_DAY:
        return placed
    kept = tuple(stop for stop in day.stops if stop.chosen) or day.stops[: MOMENTS_A_DAY - 1]
    rest = [stop for stop in day.stops if stop not in kept]
    return replace(placed, stops=kept, hidden=len(rest), more=rest[0].at)


def _calendar(time_ns: int) -> datetime:
    return instant(time_ns) or datetime(1970, 1, 1, tzinfo=UTC)
