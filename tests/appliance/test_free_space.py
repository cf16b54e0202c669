"""Free space is kept by the day, and a straight line tells when it ends."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from appliance.appliance_db import ApplianceDatabase
from appliance.free_space import DAY_NS, FreeSpace, FreeSpaceHistory, full_at
from appliance.free_space_db import FreeSpaceTable
from appliance.root import Root
from tests.appliance.program import Program, fill
from tests.appliance.settable_clock import SettableClock

NOW = 1000 * DAY_NS
GB = 1_000_000_000


def shrinking(days: int, a_day: int, now_free: int) -> list[FreeSpace]:
    return [FreeSpace(NOW - day * DAY_NS, now_free + day * a_day) for day in range(days, 0, -1)]


def test_a_steady_loss_ends_when_all_is_used() -> None:
    assert full_at(shrinking(20, 5 * GB, 100 * GB), NOW, 100 * GB) == NOW + 20 * DAY_NS
    assert full_at(shrinking(20, 5 * GB, 0), NOW, 0) == NOW


def test_nothing_is_told_without_enough_to_go_by() -> None:
    assert full_at([], NOW, GB) is None
    assert full_at(shrinking(1, GB, GB), NOW, GB) is None
    assert full_at(shrinking(2, GB, GB), NOW, GB) == NOW + DAY_NS


def test_growing_or_steady_space_is_never_full_and_a_far_end_is_not_told() -> None:
    assert full_at(shrinking(20, -GB, 100 * GB), NOW, 100 * GB) is None
    assert full_at(shrinking(20, 0, 100 * GB), NOW, 100 * GB) is None
    assert full_at(shrinking(20, 1000, 100 * GB), NOW, 100 * GB) is None


def test_what_is_long_ago_or_lies_ahead_does_not_count() -> None:
    old = [FreeSpace(NOW - day * DAY_NS, 900 * GB) for day in range(90, 40, -1)]
    ahead = [FreeSpace(NOW + 400 * DAY_NS, 5)]
    assert full_at([*old, *shrinking(20, 5 * GB, 100 * GB), *ahead], NOW, 100 * GB) == NOW + 20 * DAY_NS


@given(st.lists(st.tuples(st.integers(0, 60 * DAY_NS), st.integers(0, 2**62)), max_size=50), st.integers(0, 2**62))
def test_the_forecast_is_never_in_the_past(days: list[tuple[int, int]], free_bytes: int) -> None:
    samples = [FreeSpace(NOW - age, free) for age, free in sorted(days, reverse=True)]
    found = full_at(samples, NOW, free_bytes)
    assert found is None or NOW <= found <= NOW + 3651 * DAY_NS


def test_one_row_a_day_is_kept_for_a_while(tmp_path: Path, database: ApplianceDatabase) -> None:
    clock = SettableClock()
    history = FreeSpaceHistory(database, clock, tmp_path)
    for _ in range(3 * 405):
        history.note()
        clock.move(8 * 3600)
    rows = FreeSpaceTable(database).all()
    assert len(rows) == 401
    FreeSpaceHistory(database, clock, tmp_path).note()
    assert len(FreeSpaceTable(database).all()) <= 402


def test_the_figures_and_the_metrics(root: Root) -> None:
    store = Program(root.path)
    store.json("branch", "add", "leeds")
    fill(root.path, {b"a": b"some content" * 1000})
    store.json("branch", "quota", "leeds", "1G")
    figures = store.json("stats")
    assert figures["full_at"] is None
    (branch,) = figures["branches"]
    assert (branch["branch"], branch["logical_bytes"], branch["quota_bytes"]) == ("leeds", 12_000, 1_000_000_000)
    assert 0 < branch["stored_bytes"] < figures["total_bytes"]
    assert b"not in sight" in store.run("stats").stdout
