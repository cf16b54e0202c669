"""Which rule of a share's limit holds at a moment, and until when.

Of the rules that hold by the wall clock the narrowest decides, the one that covers the fewest minutes of a week; of equal
ones the first. Where none holds there is no limit. When clocks are changed, the wall clock decides all the same: a time
that it skips is in no window, a time that it shows twice is in its window both times.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from branch.limit_rule import DAY_MINUTES, LimitRule

WallTime = Callable[[int], datetime]
"""What the wall clock of the agent's machine shows at an instant, given in seconds since 1970."""

_EPOCH = datetime(1970, 1, 1)
_SEARCH_SECONDS = 15 * 24 * 3600  # rules repeat each week; the second one is for a time that a changed clock skipped


def rule_at(rules: Sequence[LimitRule], wall_time: datetime) -> LimitRule | None:
    """Return the rule that holds when the wall clock shows a time; None: no limit."""
    holding = [rule for rule in rules if rule.holds(wall_time)]
    return min(holding, key=lambda rule: rule.minutes_a_week) if holding else None


def next_change(rules: Sequence[LimitRule], at_seconds: int, wall_time: WallTime) -> int | None:
    """Return the first instant after one at which another rule holds (or none); None when that does not happen."""
    now = rule_at(rules, wall_time(at_seconds))
    edges = sorted({0, *(rule.begin_minute for rule in rules), *(rule.end_minute % DAY_MINUTES for rule in rules)})
    instant = at_seconds
    while instant < at_seconds + _SEARCH_SECONDS:
        instant = _next_edge([edge * 60 for edge in edges], instant, wall_time)
        if rule_at(rules, wall_time(instant)) is not now:
            return instant
    return None


def _next_edge(edges: Sequence[int], instant: int, wall_time: WallTime) -> int:
    """Return when the wall clock next comes to one of these seconds of a day (0 is among them), or is changed."""
    shown = wall_time(instant)
    second = shown.hour * 3600 + shown.minute * 60 + shown.second
    edge = next((edge for edge in edges if edge > second), DAY_MINUTES * 60)
    return _first_change(instant, instant + edge - second, wall_time)


def _first_change(before: int, behind: int, wall_time: WallTime) -> int:
    """Return the first second of (before, behind] with another offset from UTC than `before` has, else `behind`."""
    offset = _offset(before, wall_time)
    if _offset(behind, wall_time) == offset:
        return behind
    while behind - before > 1:
        middle = (before + behind) // 2
        if _offset(middle, wall_time) == offset:
            before = middle
        else:
            behind = middle
    return behind


def _offset(instant: int, wall_time: WallTime) -> timedelta:
    return wall_time(instant) - _EPOCH - timedelta(seconds=instant)
