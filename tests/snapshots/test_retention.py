"""Retention keeps what it must, whatever clocks, branches and rows do, and says why."""

import sys
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import FrameType
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from core.clock import parse_time
from core.durations import parse_duration
from snapshots.policy import RETENTION_PRESETS, Policy, Retention
from snapshots.retention import Decision, SnapshotFacts, decide

HOUR_NS = 3600 * 10**9
DAY_NS = 24 * HOUR_NS
NOW_NS = parse_time("2026-11-22T12:30:00Z")
RULES = ("keep_last", "hourly", "daily", "weekly", "monthly", "yearly")
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"])


@st.composite
def rows(draw: st.DrawFn) -> list[SnapshotFacts]:
    """Snapshots in an order of sequences that their times need not follow."""
    times = st.integers(-500 * 24 * 4, 60 * 24 * 4).map(lambda quarter: NOW_NS + quarter * HOUR_NS // 4)
    near = st.integers(-4 * 40, 0).map(lambda quarter: NOW_NS + quarter * HOUR_NS // 4)
    facts = st.builds(
        SnapshotFacts, id=st.just(0), sequence=st.integers(0, 30), taken_ns=times | near,
        trigger=st.sampled_from(["schedule", "schedule", "command", "barrier", "burst"]),
        holds=st.sampled_from([(), (), (), ("audit",)]), on_tape=st.booleans(), good=st.sampled_from([True, True, False]),
        deleted=st.sampled_from([False, False, False, True]),
    )  # fmt: skip
    found = sorted(draw(st.lists(facts, max_size=30)), key=lambda row: row.sequence)
    return [replace(row, id=number) for number, row in enumerate(found, 1)]


@st.composite
def policies(draw: st.DrawFn, unlimited: bool = False) -> Policy:
    rules = {rule: draw(st.integers(0, 4)) for rule in RULES if draw(st.booleans())}
    counted = max(1, sum(rules.values()))
    most = None if unlimited else draw(st.none() | st.integers(counted, counted + 6))
    floor = draw(st.integers(1, min(5, most or 5)))
    within = draw(st.none() | st.sampled_from(["6h", "2d", "30d", "1y"]))
    retention = Retention(**rules, within=within, max=most, floor=floor, not_before_on_tape=draw(st.booleans()))
    return Policy(retention=retention, time_zone=draw(ZONES))


def policy(zone: str = "UTC", **retention: Any) -> Policy:
    return Policy(retention=Retention(**{"max": None, **retention}), time_zone=zone)


def kept(snapshots: list[SnapshotFacts], rules: Policy, now_ns: int = NOW_NS) -> list[int]:
    return [decision.id for decision in decide(snapshots, rules, now_ns) if decision.keep]


def taken(*times: str, trigger: str = "schedule", first: int = 1, **facts: Any) -> list[SnapshotFacts]:
    return [SnapshotFacts(n, n, parse_time(time), trigger, **facts) for n, time in enumerate(times, first)]


def every(step_ns: int, count: int, until_ns: int = NOW_NS, trigger: str = "schedule", first: int = 1) -> list[SnapshotFacts]:
    return [SnapshotFacts(first + n, first + n, until_ns - (count - 1 - n) * step_ns, trigger) for n in range(count)]


def decision_about(id: int, snapshots: list[SnapshotFacts], rules: Policy, now_ns: int = NOW_NS) -> Decision:
    (found,) = [decision for decision in decide(snapshots, rules, now_ns) if decision.id == id]
    return found


# What always holds


@given(rows(), policies())
def test_held_newest_and_last_good_are_never_dropped(snapshots: list[SnapshotFacts], rules: Policy) -> None:
    keeps = set(kept(snapshots, rules))
    standing = [row for row in snapshots if not row.deleted]
    assert {row.id for row in snapshots if row.holds} <= keeps
    assert {row.id for row in standing[-1:]} <= keeps
    assert {row.id for row in [row for row in standing if row.good][-1:]} <= keeps


@given(rows(), policies())
def test_the_floor_holds_for_each_origin(snapshots: list[SnapshotFacts], rules: Policy) -> None:
    keeps = set(kept(snapshots, rules))
    for trigger in ("schedule", "command"):
        of_it = [
            row.id for row in snapshots if row.trigger == trigger and row.good and not row.deleted and row.taken_ns <= NOW_NS
        ]
        assert set(of_it[-rules.retention.floor :]) <= keeps


@given(rows(), policies())
def test_every_row_has_one_decision_with_reasons_that_differ(snapshots: list[SnapshotFacts], rules: Policy) -> None:
    decisions = decide(snapshots, rules, NOW_NS)
    assert [decision.id for decision in decisions] == [row.id for row in snapshots]
    for decision in decisions:
        assert decision.reasons and all(decision.reasons) and len(set(decision.reasons)) == len(decision.reasons)


@given(rows(), policies(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(snapshots: list[SnapshotFacts], rules: Policy, random: Any) -> None:
    shuffled = list(snapshots)
    random.shuffle(shuffled)
    assert decide(shuffled, rules, NOW_NS) == decide(snapshots, rules, NOW_NS)


@given(rows(), policies())
def test_deciding_again_about_what_was_kept_drops_nothing(snapshots: list[SnapshotFacts], rules: Policy) -> None:
    keeps = set(kept(snapshots, rules))
    assert set(kept([row for row in snapshots if row.id in keeps], rules)) == keeps


@given(rows(), policies(unlimited=True), st.sampled_from([*RULES, "floor"]), st.integers(1, 5))
def test_adding_to_a_rule_drops_nothing_more(snapshots: list[SnapshotFacts], rules: Policy, rule: str, more: int) -> None:
    assume(rules.retention.has_rules)  # without any rule everything is kept: the first one that is written must drop
    wider = msgspec.structs.replace(rules.retention, **{rule: getattr(rules.retention, rule) + more})
    assert set(kept(snapshots, rules)) <= set(kept(snapshots, msgspec.structs.replace(rules, retention=wider)))


@given(rows(), policies(unlimited=True), st.sampled_from([None, "6h", "2d", "30d"]), st.sampled_from(["2d", "30d", "1y"]))
def test_a_longer_window_drops_nothing_more(snapshots: list[SnapshotFacts], rules: Policy, short: str | None, long: str) -> None:
    retention = msgspec.structs.replace(rules.retention, within=short)
    assume(retention.has_rules and (short is None or parse_duration(short) <= parse_duration(long)))
    before = msgspec.structs.replace(rules, retention=retention)
    after = msgspec.structs.replace(rules, retention=msgspec.structs.replace(retention, within=long))
    assert set(kept(snapshots, before)) <= set(kept(snapshots, after))


@given(rows(), policies(), st.data())
def test_a_hold_keeps_its_snapshot_and_costs_no_other(snapshots: list[SnapshotFacts], rules: Policy, data: st.DataObject) -> None:
    assume(snapshots)
    held = data.draw(st.sampled_from(snapshots))
    after = [replace(row, holds=("audit",)) if row is held else row for row in snapshots]
    assert set(kept(snapshots, rules)) | {held.id} <= set(kept(after, rules))


@given(rows(), policies())
def test_max_bounds_what_rules_keep_of_each_origin(snapshots: list[SnapshotFacts], rules: Policy) -> None:
    assume(rules.retention.max is not None)
    rules = msgspec.structs.replace(rules, retention=msgspec.structs.replace(rules.retention, not_before_on_tape=False))
    keeps = set(kept(snapshots, rules))
    ordinary = [row for row in snapshots if row.id in keeps and not row.holds and row.taken_ns <= NOW_NS]
    counts = Counter((row.trigger, row.good) for row in ordinary if row.trigger in ("schedule", "command"))
    on_top = rules.retention.floor + 2  # floor where times go against the order, the newest, the last good
    assert all(count <= (rules.retention.max or 0) + on_top for count in counts.values())


# Rules, one by one


def test_without_rules_the_oldest_beyond_max_go() -> None:
    snapshots = every(HOUR_NS, 70)
    assert kept(snapshots, Policy()) == list(range(7, 71))
    assert decision_about(6, snapshots, Policy()).reasons == ("max: behind the newest 64 by schedule",)


def test_each_calendar_rule_keeps_the_newest_of_its_periods() -> None:
    snapshots = taken(
        "2025-12-31T10:00:00Z", "2026-10-31T10:00:00Z", "2026-11-14T10:00:00Z", "2026-11-20T10:00:00Z",
        "2026-11-21T09:00:00Z", "2026-11-22T07:00:00Z", "2026-11-22T07:30:00Z", "2026-11-22T12:00:00Z",
    )  # fmt: skip
    assert kept(snapshots, policy(keep_last=3)) == [6, 7, 8]
    assert kept(snapshots, policy(hourly=2)) == [7, 8]
    assert kept(snapshots, policy(daily=3)) == [4, 5, 8]
    assert kept(snapshots, policy(weekly=2)) == [3, 8]
    assert kept(snapshots, policy(monthly=3)) == [1, 2, 8]
    assert kept(snapshots, policy(yearly=2)) == [1, 8]
    assert kept(snapshots, policy(daily=1, yearly=2)) == [1, 8]
    assert decision_about(6, snapshots, policy(hourly=2, daily=3)).reasons == (
        "hourly: snapshot 7 stands for 2026-11-22 07:00+0000 by schedule",
        "daily: snapshot 8 stands for 2026-11-22 by schedule",
    )
    assert decision_about(2, snapshots, policy(daily=3)).reasons == ("daily: 2026-10-31 is behind the newest 3 by schedule",)
    assert decision_about(8, snapshots, policy(daily=3, keep_last=1)).reasons == (
        "the newest snapshot", "the last good snapshot", "floor: 1 of 1 by schedule", "keep_last: 1 of 1 by schedule",
        "daily: 2026-11-22, 1 of 3 by schedule",
    )  # fmt: skip


def test_a_week_belongs_to_the_year_that_holds_its_thursday() -> None:
    snapshots = taken("2026-12-31T10:00:00Z", "2027-01-03T10:00:00Z", "2027-01-04T10:00:00Z")
    found = decide(snapshots, policy(weekly=5), parse_time("2027-01-05T00:00:00Z"))
    assert [decision.keep for decision in found] == [False, True, True]
    assert "weekly: 2026-W53, 2 of 5 by schedule" in found[1].reasons


def test_days_are_those_of_the_policys_time_zone() -> None:
    snapshots = taken("2026-11-20T12:00:00Z", "2026-11-20T22:30:00Z", "2026-11-20T23:30:00Z", "2026-11-22T12:00:00Z")
    assert kept(snapshots, policy("UTC", daily=3)) == [3, 4]
    assert kept(snapshots, policy("Europe/Berlin", daily=3)) == [2, 3, 4]


@pytest.mark.parametrize("rules", [policy(keep_last=9, not_before_on_tape=True), policy(daily=1, not_before_on_tape=True)])
def test_what_is_not_on_tape_waits(rules: Policy) -> None:
    snapshots = [replace(row, on_tape=row.id != 3) for row in every(HOUR_NS, 12)]
    assert 3 in kept(snapshots, rules) and 2 not in kept(snapshots, rules)
    assert decision_about(3, snapshots, rules).reasons == ("not on tape yet",)


def test_within_keeps_to_the_end_of_the_window() -> None:
    snapshots = every(DAY_NS, 60, NOW_NS)
    assert kept(snapshots, policy(within="30d")) == list(range(30, 61))
    assert decision_about(29, snapshots, policy(within="30d")).reasons == ("within: counts as older than 30d",)


def test_max_never_takes_what_a_counting_rule_keeps() -> None:
    snapshots = every(DAY_NS, 400)
    keeps = kept(snapshots, policy(within="1y", yearly=2, monthly=12, max=20))
    assert len(keeps) == 20
    assert set(kept(snapshots, policy(yearly=2, monthly=12))) <= set(keeps)


def test_what_was_deleted_already_takes_no_place_and_is_not_the_newest() -> None:
    snapshots = [replace(row, deleted=row.id == 4) for row in every(HOUR_NS, 4)]
    assert kept(snapshots, policy(daily=1)) == [3]
    assert decision_about(4, snapshots, policy(daily=1)).reasons == ("deleted already: it goes when its delay is over",)
    assert kept([replace(row, holds=("audit",)) for row in snapshots], policy(daily=1)) == [1, 2, 3, 4]


def test_an_order_to_delete_outranks_tape_and_time() -> None:
    snapshots = [replace(row, deleted=row.id in (1, 4)) for row in every(HOUR_NS, 4, NOW_NS + HOUR_NS)]
    assert kept(snapshots, policy(keep_last=9, not_before_on_tape=True)) == [2, 3]


def test_what_is_held_comes_on_top_of_max() -> None:
    snapshots = every(DAY_NS, 6)
    rules = policy(keep_last=2, within="30d", max=3)
    assert kept(snapshots, rules) == [4, 5, 6]
    assert kept([replace(row, holds=("audit",) if row.id == 5 else ()) for row in snapshots], rules) == [3, 4, 5, 6]


def test_every_hold_is_named() -> None:
    snapshots = [replace(row, holds=("audit", "burst") if row.id == 1 else ()) for row in every(HOUR_NS, 9)]
    assert decision_about(1, snapshots, policy(keep_last=2)).reasons == ("held: audit", "held: burst")


def test_a_snapshot_of_a_bad_share_takes_no_place_from_a_good_one() -> None:
    good = every(HOUR_NS, 5, NOW_NS - 5 * HOUR_NS)
    bad = [replace(row, good=False) for row in every(HOUR_NS, 5, NOW_NS, first=6)]
    assert kept(good + bad, policy(daily=1, keep_last=2)) == [4, 5, 9, 10]
    assert "the last good snapshot" in decision_about(5, good + bad, policy(daily=1)).reasons


# Hostile times, branches and rows


@pytest.mark.parametrize("retention", RETENTION_PRESETS.values(), ids=RETENTION_PRESETS)
def test_a_month_off_drops_nothing_that_a_counting_rule_keeps(retention: Retention) -> None:
    snapshots = every(6 * HOUR_NS, 200)
    rules = Policy(retention=msgspec.structs.replace(retention, within=None, not_before_on_tape=False))
    before = set(kept(snapshots, rules))
    standing = [row for row in snapshots if row.id in before]
    assert kept(standing, rules, NOW_NS + 31 * DAY_NS) == [row.id for row in standing]


def test_a_month_off_counts_as_an_eighth_of_the_window() -> None:
    snapshots = every(DAY_NS, 60)
    assert kept(snapshots, policy(within="16d"), NOW_NS + 31 * DAY_NS) == list(range(46, 61))


def test_fourteen_daily_stay_fourteen_after_a_month_off() -> None:
    snapshots = every(DAY_NS, 14)
    assert kept(snapshots, policy(daily=14), NOW_NS + 31 * DAY_NS) == list(range(1, 15))


@given(rows(), policies(), st.integers(1, 30))
def test_snapshots_of_2043_evict_nothing(snapshots: list[SnapshotFacts], rules: Policy, count: int) -> None:
    first = 1 + len(snapshots)
    ahead = [SnapshotFacts(first + n, 100 + n, parse_time("2043-05-01T00:00:00Z") + n * DAY_NS, "schedule") for n in range(count)]
    keeps = set(kept(snapshots + ahead, rules))
    plain = set(kept(snapshots, rules)) - {row.id for row in snapshots if not row.deleted and row.taken_ns > NOW_NS}
    standing = [row for row in snapshots if not row.deleted]
    allowed = {row.id for row in standing[-1:]} | {row.id for row in [row for row in standing if row.good][-1:]}
    assert plain - allowed <= keeps and {row.id for row in ahead} <= keeps
    reason = decision_about(first, snapshots + ahead, rules).reasons
    assert "its time lies ahead: check the clock; delete it by hand when it is not needed" in reason


@given(st.integers(5, 120), st.sampled_from(["14d", "30d", "90d"]), st.sampled_from([-400, 400]))
def test_a_clock_that_jumps_drops_at_most_an_eighth_of_the_window(hours: int, within: str, days: int) -> None:
    rules = policy(within=within)
    snapshots = every(hours * HOUR_NS, 100)
    before = set(kept(snapshots, rules))
    jumped = NOW_NS + days * DAY_NS
    wrong = every(HOUR_NS, 3, jumped, first=101)
    lost = before - set(kept(snapshots + wrong, rules, jumped))
    per_eighth = parse_duration(within) // 8 // (hours * HOUR_NS)
    assert len(lost) <= per_eighth + 2
    if days < 0:
        assert not lost
    back = set(kept(snapshots + wrong, rules, NOW_NS + HOUR_NS))
    assert len(before - back) <= 1 + (days > 0)


@pytest.mark.parametrize("days", [-400, 400])
@pytest.mark.parametrize("name", ["windows-like", "kopia-like"])
def test_a_clock_that_jumps_costs_counting_rules_one_period_each_at_most(name: str, days: int) -> None:
    rules = Policy(retention=RETENTION_PRESETS[name], time_zone="Europe/Berlin")
    snapshots = every(12 * HOUR_NS, 1500)
    before = set(kept(snapshots, rules))
    standing = [row for row in snapshots if row.id in before]
    jumped = NOW_NS + days * DAY_NS
    assert kept(standing, rules, jumped) == [row.id for row in standing]
    after = set(kept([*standing, SnapshotFacts(9999, 9999, jumped, "schedule")], rules, jumped))
    assert len({row.id for row in standing} - after) <= 6


@given(st.integers(0, 400), policies(), st.integers(1, 120), st.sampled_from(["barrier", "burst", "something new"]))
def test_a_flood_by_a_branch_changes_nothing_for_the_others(count: int, rules: Policy, minutes: int, trigger: str) -> None:
    honest = every(5 * HOUR_NS, 40) + every(50 * HOUR_NS, 5, NOW_NS - HOUR_NS, "command", first=41)
    honest = [replace(row, sequence=row.sequence * 1000) for row in honest]
    flood = [replace(row, sequence=row.id * 97) for row in every(minutes * 60 * 10**9, count, NOW_NS, trigger, first=1000)]
    honest_ids = {row.id for row in honest}
    assert [id for id in kept(honest + flood, rules) if id in honest_ids] == kept(honest, rules)


def test_a_flood_is_pruned_by_the_same_rules() -> None:
    flood = every(60 * 10**9, 5000, trigger="barrier")
    assert len(kept(flood, Policy())) == 64
    assert len(kept(flood, policy(keep_last=10, daily=7))) < 20


@pytest.mark.parametrize(
    "bad",
    [
        SnapshotFacts(99, 99, 2**68, "schedule"),
        SnapshotFacts(99, 99, -1, "schedule"),
        SnapshotFacts(99, 99, None, "schedule"),  # type: ignore[arg-type]
        SnapshotFacts(99, "9", NOW_NS, "schedule"),  # type: ignore[arg-type]
        SnapshotFacts(99, 99, NOW_NS, None),  # type: ignore[arg-type]
        SnapshotFacts([], 99, NOW_NS, "schedule"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_row_is_kept_and_changes_nothing_for_the_others(bad: SnapshotFacts) -> None:
    rules = Policy(retention=RETENTION_PRESETS["kopia-like"])
    snapshots = every(HOUR_NS, 90)
    *others, last = decide([bad, *snapshots], rules, NOW_NS)
    assert others == decide(snapshots, rules, NOW_NS)
    assert last.keep and last.reasons[0].startswith("cannot be judged")


def test_rows_with_one_id_are_both_kept() -> None:
    snapshots = every(HOUR_NS, 5)
    found = decide([*snapshots, replace(snapshots[0], sequence=7)], policy(keep_last=1), NOW_NS)
    assert [(decision.id, decision.keep) for decision in found if decision.keep] == [(5, True), (1, True), (1, True)]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [("Europe/Berlin", "2026-03-29", 23), ("Europe/Berlin", "2026-10-25", 25), ("America/New_York", "2026-11-01", 25),
     ("Australia/Lord_Howe", "2026-04-05", 25), ("UTC", "2026-10-25", 24)],
)  # fmt: skip
def test_a_day_on_which_clocks_change_is_one_day_with_all_its_hours(zone: str, day: str, hours: int) -> None:
    noon = datetime.fromisoformat(day + "T12:00:00").replace(tzinfo=UTC)
    first = int((noon - timedelta(hours=48)).timestamp()) * 10**9
    snapshots = [SnapshotFacts(n + 1, n + 1, first + n * HOUR_NS // 4, "schedule") for n in range(96 * 4)]
    now_ns = first + 100 * HOUR_NS
    hourly = decide(snapshots, policy(zone, hourly=200), now_ns)
    periods = {reason.split(", ")[0] for found in hourly for reason in found.reasons if reason.startswith(f"hourly: {day}")}
    assert len({period for period in periods if "stands for" not in period}) == hours
    daily = decide(snapshots, policy(zone, daily=20), now_ns)
    assert sum(reason.startswith(f"daily: {day},") for found in daily for reason in found.reasons) == 1


def test_ten_thousand_snapshots_take_ten_times_the_work_of_one_thousand() -> None:
    rules = Policy(retention=RETENTION_PRESETS["compliance"], time_zone="Europe/Berlin")
    calls: list[int] = []
    for count in (1_000, 10_000):
        snapshots = every(HOUR_NS, count)
        before = sys.getprofile()
        counted = 0

        def count_call(frame: FrameType, event: str, argument: Any) -> None:
            nonlocal counted
            counted += event in ("call", "c_call")

        sys.setprofile(count_call)
        try:
            decide(snapshots, rules, NOW_NS)
        finally:
            sys.setprofile(before)
        calls.append(counted)
    assert calls[1] <= 11 * calls[0] and calls[1] <= 200 * 10_000
