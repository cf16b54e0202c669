"""How old a snapshot counts as for the rule `within`: time that snapshots bear witness to, not what the clock says. Pure.

A clock that jumps ahead by a year, or an appliance that was off for a month, would make everything older than the
window at one stroke. So age is added up from snapshot to snapshot, and no single step, the one from the newest to now
included, counts for more than an eighth of the window: one jump costs at most that, and the eight newest never go by age.
In a share whose snapshots come more often than that, age is simply age.
"""

from collections.abc import Iterable

STEPS = 8  # an eighth: a monthly rhythm is still counted in full by a window of a year


def counted_ages(taken_ns: Iterable[int], now_ns: int, window_ns: int) -> dict[int, int]:
    """Return for each time, none of which may lie ahead of now, its age in eighths of nanoseconds: nothing is rounded."""
    ages: dict[int, int] = {}
    age, later = 0, now_ns
    for moment in sorted(set(taken_ns), reverse=True):
        age += min(STEPS * (later - moment), window_ns)
        ages[moment], later = age, moment
    return ages


def is_within(age: int, window_ns: int) -> bool:
    """Tell whether an age of `counted_ages` lies within the window."""
    return age <= STEPS * window_ns
