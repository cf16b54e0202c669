"""Moments: what stands behind the `@` of `B/S@M`, and which sequence it means.

None = the live state; `latest` = the newest snapshot; a number = the snapshot with that id; `GMT-2026.11.22-07.00.00` or an RFC
3339 time of whole seconds = the snapshot taken in that second, else the last change received by then; a time with a fraction is
an instant, and a snapshot only if that was taken in the same microsecond; `seq:N` = after change N. Instants are answered inside
the journal's window; before and behind it they are refused with its bounds, never silently rounded.

Times are told in microseconds, cut off: a time that was told and is asked for again means the end of its microsecond.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from core.clock import NANOSECONDS, TimeUnreadable, format_time, parse_time
from core.errors import NotFound
from snapshots.ledger_db import SnapshotRow

_MAX_CHARACTERS = 64
_TOLD_NS = 1000  # to what times are told
_GMT = re.compile(r"GMT-(\d{4})\.(\d\d)\.(\d\d)-(\d\d)\.(\d\d)\.(\d\d)")
_REMEDY = "use @latest, a snapshot's id, a time like @2026-11-22T07:00:00Z, or @seq:N"


class NoSuchMoment(NotFound):
    """Nothing is kept of that moment."""


@dataclass(frozen=True, slots=True)
class Window:
    """The instants that can be read besides snapshots: sequences first..last, times from..until.

    `sequence_at` tells the last change received up to a time inside of it. A window with `first` above `last` is empty.
    """

    first: int
    last: int
    from_ns: int
    until_ns: int
    sequence_at: Callable[[int], int]


AskWindow = Callable[[], Window]
"""The window costs a look at the journal: it is asked for by instants only."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A moment's sequence; `snapshot` is None at an instant without one and for the live state (which moves on).

    `asked_ns` is the time of an instant that was asked for by its time.
    """

    sequence: int
    snapshot: SnapshotRow | None
    is_live: bool = False
    asked_ns: int | None = None


def resolve_moment(text: str, snapshots: Sequence[SnapshotRow], live_sequence: int, ask: AskWindow) -> Resolved:
    """Return what a moment means among a share's snapshots (sorted by sequence) and instants; raise `NoSuchMoment`."""
    if not text:
        return Resolved(live_sequence, None, True)
    if text == "latest":
        if not snapshots:
            raise NoSuchMoment("there is no snapshot yet", remedy="take one with `snapshot create`")
        return Resolved(snapshots[-1].sequence, snapshots[-1])
    if len(text) > _MAX_CHARACTERS:
        raise NoSuchMoment(f"not a moment: @{text[:_MAX_CHARACTERS]}…", remedy="use @latest or a snapshot's id")
    if text.isdecimal():
        return _snapshot(text, snapshots)
    if text.startswith("seq:") and text[4:].isdecimal():
        sequence = int(text[4:])
        taken = [row for row in snapshots if row.sequence == sequence]
        if not taken:
            window = ask()
            _check(window, window.first <= sequence <= window.last, f"change {sequence} cannot be read")
        return Resolved(sequence, taken[-1] if taken else None)
    return _at_time(text, snapshots, ask)


def _at_time(text: str, snapshots: Sequence[SnapshotRow], ask: AskWindow) -> Resolved:
    token = _GMT.fullmatch(text)
    try:
        instant = parse_time("{}-{}-{}T{}:{}:{}Z".format(*token.groups()) if token else text)
    except TimeUnreadable as error:
        raise NoSuchMoment(f"not a moment: @{text}", remedy=_REMEDY) from error
    taken = _taken_in(snapshots, instant, _TOLD_NS)
    if not taken and instant % NANOSECONDS == 0:
        taken = _taken_in(snapshots, instant, NANOSECONDS)
    if taken:
        return Resolved(taken[-1].sequence, taken[-1])
    window = ask()
    end = instant + _TOLD_NS - 1
    _check(window, window.from_ns <= end and instant <= window.until_ns, f"the state at {text} cannot be read")
    return Resolved(window.sequence_at(end), None, asked_ns=instant)


def _taken_in(snapshots: Sequence[SnapshotRow], instant: int, span_ns: int) -> list[SnapshotRow]:
    return [row for row in snapshots if row.taken_ns // span_ns == instant // span_ns]


def _snapshot(text: str, snapshots: Sequence[SnapshotRow]) -> Resolved:
    found = [row for row in snapshots if row.id == int(text)]
    if found:
        return Resolved(found[-1].sequence, found[-1])
    names = ", ".join(f"@{row.id} ({format_time(row.taken_ns)[:19]}Z)" for row in snapshots[-3:])
    remedy = f"there are {names}" if names else "there is no snapshot yet: take one with `snapshot create`"
    raise NoSuchMoment(f"no snapshot {text}", remedy=remedy)


def _check(window: Window, is_inside: bool, message: str) -> None:
    if window.first > window.last:
        raise NoSuchMoment(message, remedy="only snapshots can be read, and @latest, the newest of them")
    if is_inside:
        return
    times = f"{format_time(window.from_ns)} to {format_time(window.until_ns)}"
    bounds = f"choose a snapshot, or an instant from @seq:{window.first} to @seq:{window.last} ({times})"
    raise NoSuchMoment(message, remedy=bounds)
