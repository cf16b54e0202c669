"""Times, ages, sizes and states as people say them. Pure; the same in every locale of the machine."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from core.clock import NANOSECONDS, TimeUnreadable, parse_time

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MINUTE_NS = 60 * NANOSECONDS
_UNITS = ("KB", "MB", "GB", "TB", "PB", "EB")
_PIECE = re.compile(r"[^/@:,_]*[/@:,_]|[^/@:,_]+")
TODAY = "Today"  # as a heading of its own
_NEAR_DAYS = 6  # within these a weekday alone says which day is meant


@dataclass(frozen=True, slots=True)
class When:
    """An instant in words, and exactly (RFC 3339 in UTC)."""

    words: str
    exact: str


@dataclass(frozen=True, slots=True)
class StateWords:
    """A share's state: the word, a shape that needs no colour, its rank (worst first), and what to do."""

    word: str
    shape: str
    rank: int
    advice: str


_STATES = {
    "stopped": StateWords("Stopped", "■", 0, "Start the agent on {branch}."),
    "resync": StateWords("Needs comparing", "◆", 1, "Run “stagekeeper-agent resync {share}” on {branch}."),
    "deleted": StateWords("Deleted", "○", 2, "Nothing; “stagekeeper share undelete {branch}/{share}” takes it back."),
    "mirroring": StateWords("First copy under way", "◐", 2, "Wait; the first copy is on its way."),
    "good": StateWords("Protected", "●", 3, "Nothing."),
}
_UNKNOWN_STATE = StateWords("Unknown", "◇", 0, "Look at the server's log.")


def state_words(state: str) -> StateWords:
    """Return the words for a share's state."""
    return _STATES.get(state, _UNKNOWN_STATE)


def instant(time_ns: int) -> datetime | None:
    """Return a time as a datetime in UTC, or None when no calendar holds it (file times can be anything)."""
    try:
        return _EPOCH + timedelta(microseconds=time_ns // 1000)
    except OverflowError:
        return None


def time_of(text: str | None) -> int | None:
    """Return the nanoseconds of an RFC 3339 text, or None when it is none."""
    try:
        return None if text is None else parse_time(text)
    except TimeUnreadable:
        return None


@dataclass(frozen=True, slots=True)
class Crowds:
    """Where times lie so close together that a clock must say more: minutes and seconds, counted since the epoch."""

    minutes: frozenset[int] = frozenset()
    seconds: frozenset[int] = frozenset()

    def clock(self, time_ns: int) -> str:
        """Return the time of day as it is said everywhere on one page: `12:58`, in a crowded minute `12:58:07`."""
        moment = instant(time_ns)
        return "" if moment is None else f"{moment:%H:%M:%S}" if time_ns // _MINUTE_NS in self.minutes else f"{moment:%H:%M}"

    def share_a_second(self, time_ns: int | None) -> bool:
        """Tell whether another of the times lies in the same second: then no clock tells them apart."""
        return time_ns is not None and time_ns // NANOSECONDS in self.seconds


_NO_CROWDS = Crowds()


def crowds_of(times_ns: Iterable[int | None], typed_ns: int | None = None) -> Crowds:
    """Return where the times crowd; a typed one is one of them, and said with its seconds unless they are zero."""
    known = [time_ns for time_ns in (*times_ns, typed_ns) if time_ns is not None]
    exact = [typed_ns // _MINUTE_NS] if typed_ns is not None and typed_ns % _MINUTE_NS >= NANOSECONDS else []
    return Crowds(_crowded(known, _MINUTE_NS) | frozenset(exact), _crowded(known, NANOSECONDS))


def _crowded(times_ns: Iterable[int], span_ns: int) -> frozenset[int]:
    counted = Counter(time_ns // span_ns for time_ns in times_ns)
    return frozenset(span for span, count in counted.items() if count > 1)


def when(time_ns: int | None, now_ns: int, crowds: Crowds = _NO_CROWDS) -> When:
    """Return a time as said beside other times: `today 12:58`, `Wed 18 Nov, 17:30`, `31 Oct 2025, 10:00`.

    In a crowded minute with its seconds: `today 12:58:07`.
    """
    if time_ns is None:
        return When("unknown", "")
    moment, today = instant(time_ns), instant(now_ns)
    if moment is None or today is None:
        return When("unknown", "")
    clock = crowds.clock(time_ns)
    days = (today.date() - moment.date()).days
    if days in (0, 1):
        return When(f"{('today', 'yesterday')[days]} {clock}", exact(moment))
    date = f"{moment.day} {_MONTHS[moment.month - 1][:3]}"
    if 0 < days <= _NEAR_DAYS:
        return When(f"{_WEEKDAYS[moment.weekday()][:3]} {date}, {clock}", exact(moment))
    year = f" {moment.year}" if moment.year != today.year else ""
    return When(f"{date}{year}, {clock}", exact(moment))


def when_at_length(time_ns: int, now_ns: int, crowds: Crowds = _NO_CROWDS) -> When:
    """Return a time as said in a heading: `Thursday 19 November, 12:00`."""
    moment, today = instant(time_ns), instant(now_ns)
    if moment is None or today is None:
        return When("an unknown time", "")
    year = f" {moment.year}" if moment.year != today.year else ""
    day = f"{_WEEKDAYS[moment.weekday()]} {moment.day} {_MONTHS[moment.month - 1]}{year}"
    return When(f"{day}, {crowds.clock(time_ns)}", exact(moment))


def to_the_second(time_ns: int | None) -> When:
    """Return a time as a log shows it: `2026-11-22 07:00:05`."""
    moment = None if time_ns is None else instant(time_ns)
    return When(f"{moment:%Y-%m-%d %H:%M:%S}", exact(moment)) if moment else When("unknown", "")


def day_words(moment: datetime, today: datetime) -> str:
    """Return a day's short name: `Today`, `Thu 19 Nov`, `31 Oct 2025`."""
    days = (today.date() - moment.date()).days
    if days == 0:
        return TODAY
    date = f"{moment.day} {_MONTHS[moment.month - 1][:3]}"
    return f"{_WEEKDAYS[moment.weekday()][:3]} {date}" if moment.year == today.year else f"{date} {moment.year}"


def exact(moment: datetime) -> str:
    """Return RFC 3339 in UTC, with as many digits as the time has."""
    text = moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def size_words(size_bytes: int) -> str:
    """Return a size with two or three digits: `84 KB`, `1.2 MB`; K is 1000."""
    if size_bytes < 1000:
        return count_words(size_bytes, "byte")
    value = float(size_bytes)
    for unit in _UNITS:
        value /= 1000
        if value < 9.95:
            return f"{value:.1f} {unit}"
        if value < 999.5 or unit == _UNITS[-1]:
            return f"{value:,.0f} {unit}"
    raise AssertionError("the last unit takes every size")


def count_words(count: int, noun: str) -> str:
    """Return a count with its noun: `1 file`, `45,210 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def age_words(seconds: float) -> str:
    """Return a span in its largest unit: `4 seconds`, `3 hours`."""
    whole = max(0, round(seconds))
    for size, noun in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if whole >= size:
            return count_words(whole // size, noun)
    return count_words(whole, "second")


def lag_words(seconds: float) -> str:
    """Return how far a copy is behind: `up to date`, `4 seconds behind`."""
    return "up to date" if seconds < 0.5 else f"{age_words(seconds)} behind"


def ago(time_ns: int | None, now_ns: int) -> str:
    """Return how long ago a time was; empty when it is unknown."""
    return "" if time_ns is None else f"{age_words((now_ns - time_ns) / NANOSECONDS)} ago"


def pieces(text: str) -> list[str]:
    """Return a path, address or list cut behind its signs: where a line may end without cutting a short word in two."""
    return _PIECE.findall(text)
