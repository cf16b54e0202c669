"""Retention: which snapshots of a share are kept and which are dropped, with every reason. Pure.

Promises: what is held, the newest, the last good one and the `floor` are kept, whatever clocks and branches do; the answer
does not depend on the order of the rows; deciding again about what was kept drops nothing more. A dry run shows exactly
this answer. Whether and when something is removed is for others to see to (docs/retention.md has the rules in words).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from core.durations import parse_duration
from core.zones import parse_zone
from snapshots.ageing import counted_ages, is_within
from snapshots.calendar_rules import CALENDAR_RULES, LAST_CALENDAR_NS, local_time, places
from snapshots.policy import Policy, Retention

_ORIGINS = {"schedule": "by schedule", "command": "by hand", "demo": "by hand"}
_BRANCH = "by the branch"  # every other trigger: a branch can cause barriers and bursts at will, and perhaps what is yet to come


@dataclass(frozen=True, slots=True)
class SnapshotFacts:
    """What retention needs to know of a snapshot; times are the appliance's."""

    id: int
    sequence: int
    taken_ns: int
    trigger: str
    holds: tuple[str, ...] = ()  # names of the holds in force
    on_tape: bool = False
    good: bool = True  # the share was good when it was taken
    deleted: bool = False  # removal was ordered already, and can still be undone


@dataclass(frozen=True, slots=True)
class Decision:
    """Keep or drop, and why: all that keeps a snapshot, or else all that did not."""

    id: int
    keep: bool
    reasons: tuple[str, ...]


class _Group(NamedTuple):
    """Snapshots that are counted together, so that no other group can take a place from them."""

    origin: str
    good: bool

    def __str__(self) -> str:
        return self.origin if self.good else f"{self.origin}, share not good"


class _Verdicts:
    """The reasons found so far, by snapshot id."""

    def __init__(self, rows: Iterable[SnapshotFacts]) -> None:
        self.protections: dict[int, list[str]] = {row.id: [] for row in rows}
        self.keeps: dict[int, list[str]] = {id: [] for id in self.protections}
        self.misses: dict[int, list[str]] = {id: [] for id in self.protections}

    def note(self, id: int, keep: bool, reason: str) -> None:
        (self.keeps if keep else self.misses)[id].append(reason)

    def decision(self, id: int) -> Decision:
        reasons = self.protections[id] + self.keeps[id]
        return Decision(id, bool(reasons), tuple(reasons or self.misses[id]))


def decide(snapshots: Iterable[SnapshotFacts], policy: Policy, now_ns: int) -> list[Decision]:
    """Return the decision about each snapshot of one share, in the order of the share; rows that make no sense come last."""
    rows = list(snapshots)
    copies = Counter(repr(row.id) for row in rows)
    troubles = [(row, _trouble(row, copies[repr(row.id)])) for row in rows]
    sound = sorted((row for row, trouble in troubles if not trouble), key=_order)
    verdicts = _Verdicts(sound)
    _protect(sound, policy.retention, now_ns, verdicts)
    counted = [row for row in sound if not row.deleted and row.taken_ns <= now_ns]
    groups: dict[_Group, list[SnapshotFacts]] = {}
    for row in counted:
        groups.setdefault(_group_of(row), []).append(row)
    for group, members in groups.items():
        _count(group, members[::-1], policy, verdicts)
        _fill_up(group, members[::-1], _young(group, counted, policy.retention, now_ns), policy.retention, verdicts)
    unsound = sorted((Decision(row.id, True, (trouble,)) for row, trouble in troubles if trouble), key=repr)
    return [verdicts.decision(row.id) for row in sound] + unsound


def _trouble(row: SnapshotFacts, copies: int) -> str:
    """Return why nothing can be decided about a row; such a row is kept and changes nothing for the others."""
    if copies > 1:
        return f"cannot be judged: {copies} rows have this id; verify the share's catalogue"
    if any(type(number) is not int for number in (row.id, row.sequence, row.taken_ns)) or type(row.trigger) is not str:
        return "cannot be judged: its row is damaged; verify the share's catalogue"
    if not 0 <= row.taken_ns < LAST_CALENDAR_NS:
        return "cannot be judged: its time is in no calendar; delete it by hand when it is not needed"
    return ""


def _order(row: SnapshotFacts) -> tuple[int, int]:
    """Return the order in which the appliance received things: unlike the clock, it never jumps."""
    return row.sequence, row.id


def _group_of(row: SnapshotFacts) -> _Group:
    return _Group(_ORIGINS.get(row.trigger, _BRANCH), row.good)


def _protect(rows: list[SnapshotFacts], retention: Retention, now_ns: int, verdicts: _Verdicts) -> None:
    """Note what keeps a snapshot before any rule is asked. Such reasons take no place from others."""
    standing = [row for row in rows if not row.deleted]
    newest, last_good = standing[-1:], [row for row in standing if row.good][-1:]
    for row in rows:
        protections = verdicts.protections[row.id]
        protections += [f"held: {name}" for name in row.holds]
        if row.deleted:
            verdicts.note(row.id, False, "deleted already: it goes when its delay is over")
            continue
        if row in newest:
            protections.append("the newest snapshot")
        if row in last_good:
            protections.append("the last good snapshot")
        if row.taken_ns > now_ns:
            protections.append("its time lies ahead: check the clock; delete it by hand when it is not needed")
        if retention.not_before_on_tape and not row.on_tape:
            protections.append("not on tape yet")


def _count(group: _Group, newest_first: list[SnapshotFacts], policy: Policy, verdicts: _Verdicts) -> None:
    """Ask the rules that count: floor, keep_last, hourly to yearly."""
    retention, zone = policy.retention, parse_zone(policy.time_zone)
    for rank, row in enumerate(newest_first, 1):
        if rank <= retention.floor:
            verdicts.note(row.id, True, f"floor: {rank} of {retention.floor} {group}")
        if retention.keep_last:
            keep = rank <= retention.keep_last
            text = f"{rank} of {retention.keep_last} {group}" if keep else f"behind the newest {retention.keep_last} {group}"
            verdicts.note(row.id, keep, f"keep_last: {text}")
    by_time = sorted(newest_first, key=lambda row: (row.taken_ns, row.sequence, row.id), reverse=True)
    local = [(row.id, local_time(row.taken_ns, zone)) for row in by_time]
    for rule, period_of in CALENDAR_RULES.items():
        limit = getattr(retention, rule)
        for id, place in places(local, period_of).items() if limit else ():
            if place.rank > limit:
                verdicts.note(id, False, f"{rule}: {place.period} is behind the newest {limit} {group}")
            elif place.representative != id:
                verdicts.note(id, False, f"{rule}: snapshot {place.representative} stands for {place.period} {group}")
            else:
                verdicts.note(id, True, f"{rule}: {place.period}, {place.rank} of {limit} {group}")


def _young(group: _Group, counted: list[SnapshotFacts], retention: Retention, now_ns: int) -> set[int]:
    """Return the ids of those that `within` wants; without any rule, of all."""
    if retention.within is None:
        return set() if retention.has_rules else {row.id for row in counted}
    # What a branch causes bears witness to the age of its own snapshots only.
    witnesses = [row for row in counted if group.origin == _BRANCH or _group_of(row).origin != _BRANCH]
    window_ns = parse_duration(retention.within)
    ages = counted_ages((row.taken_ns for row in witnesses), now_ns, window_ns)
    return {row.id for row in witnesses if is_within(ages[row.taken_ns], window_ns)}


def _fill_up(
    group: _Group, newest_first: list[SnapshotFacts], young: set[int], retention: Retention, verdicts: _Verdicts
) -> None:
    """Keep what is young enough as far as `max` has places. Rules that count come first; what is protected takes no place."""
    rule = "no rule is stated" if retention.within is None else f"within {retention.within}"
    # The newest takes one all the same: it is protected for a while only, and max + 1 would be kept.
    placed = [row for row in newest_first if not verdicts.protections[row.id] or row is newest_first[0]]
    taken = sum(1 for row in placed if verdicts.keeps[row.id])
    for row in newest_first:
        if row.id not in young:
            if retention.within is not None:
                verdicts.note(row.id, False, f"within: counts as older than {retention.within}")
        elif verdicts.keeps[row.id] or verdicts.protections[row.id]:
            verdicts.note(row.id, True, rule)
        elif retention.max is None or taken < retention.max:
            taken += 1
            verdicts.note(row.id, True, rule if retention.max is None else f"{rule}: {taken} of at most {retention.max} {group}")
        else:
            verdicts.note(row.id, False, f"max: behind the newest {retention.max} {group}")
