"""Moments: what stands behind the `@` of `B/S@M`, and which sequence it means.

None = the live state; `latest` = the newest snapshot; a number = the snapshot with that id; `GMT-2026.11.22-07.00.00` or an RFC
3339 time = the snapshot taken in that second; `seq:N` = the snapshot at that sequence, or the live state when N is its number.
A time or number between snapshots is refused with its neighbours, never silently rounded.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from core.clock import NANOSECONDS, TimeUnreadable, format_time, parse_time
from core.errors import NotFound
from snapshots.ledger_db import SnapshotRow

_MAX_CHARACTERS = 64
_GMT = re.compile(r"GMT-(\d{4})\.(\d\d)\.(\d\d)-(\d\d)\.(\d\d)\.(\d\d)")


class NoSuchMoment(NotFound):
    """No snapshot stands at that moment."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A moment's sequence and, unless it is the live state, its snapshot."""

    sequence: int
    snapshot: SnapshotRow | None


def resolve_moment(text: str, snapshots: Sequence[SnapshotRow], live_sequence: int) -> Resolved:
    """Return what a moment means among a share's snapshots (sorted by sequence); raise `NoSuchMoment`."""
    if not text:
        return Resolved(live_sequence, None)
    if text == "latest":
        if not snapshots:
            raise NoSuchMoment("there is no snapshot yet", remedy="take one with `snapshot create`")
        return Resolved(snapshots[-1].sequence, snapshots[-1])
    if len(text) > _MAX_CHARACTERS:
        raise NoSuchMoment(f"not a moment: @{text[:_MAX_CHARACTERS]}…", remedy="use @latest or a snapshot's id")
    if text.isdecimal():
        return _found([row for row in snapshots if row.id == int(text)], f"no snapshot {text}", snapshots)
    if text.startswith("seq:") and text[4:].isdecimal():
        sequence = int(text[4:])
        if sequence == live_sequence:
            return Resolved(sequence, None)
        return _found([row for row in snapshots if row.sequence == sequence], f"no snapshot at sequence {sequence}", snapshots)
    return _at_time(text, snapshots)


def gmt_token(time_ns: int) -> str:
    """Return the name that Windows' Previous Versions gives to an instant."""
    text = format_time(time_ns)
    return f"GMT-{text[:10].replace('-', '.')}-{text[11:19].replace(':', '.')}"


def _at_time(text: str, snapshots: Sequence[SnapshotRow]) -> Resolved:
    token = _GMT.fullmatch(text)
    try:
        instant = parse_time("{}-{}-{}T{}:{}:{}Z".format(*token.groups()) if token else text)
    except TimeUnreadable as error:
        raise NoSuchMoment(
            f"not a moment: @{text}", remedy="use @latest, a snapshot's id, a time like @2026-11-22T07:00:00Z, or @seq:N"
        ) from error
    second = instant // NANOSECONDS
    exact = [row for row in snapshots if row.taken_ns == instant]
    return _found(
        exact or [row for row in snapshots if row.taken_ns // NANOSECONDS == second], f"no snapshot at {text}", snapshots, instant
    )


def _found(rows: list[SnapshotRow], message: str, snapshots: Sequence[SnapshotRow], instant: int | None = None) -> Resolved:
    if rows:
        return Resolved(rows[-1].sequence, rows[-1])
    near = snapshots[-3:]
    if instant is not None:
        before = [row for row in snapshots if row.taken_ns < instant][-1:]
        near = [*before, *[row for row in snapshots if row.taken_ns > instant][:1]]
    names = ", ".join(f"@{row.id} ({format_time(row.taken_ns)[:19]}Z)" for row in near)
    raise NoSuchMoment(
        message, remedy=f"there are {names}" if names else "there is no snapshot yet: take one with `snapshot create`"
    )
