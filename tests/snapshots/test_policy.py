"""A policy document says what it says, or is refused with the field and the remedy."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from core.durations import DurationUnreadable, parse_duration
from core.errors import Refused
from snapshots.policy import RETENTION_PRESETS, Limits, Policy, PolicyUnreadable, Retention
from snapshots.policy_document import check_policy, read_policy, write_policy

DAY_NS = 86_400 * 10**9
DURATIONS = st.builds(
    lambda number, unit: f"{number}{unit}", st.integers(1, 99_999), st.sampled_from(["min", "h", "d", "w", "y"])
)
COUNTS = st.integers(0, 100_000)
RETENTIONS = st.builds(
    Retention, keep_last=COUNTS, hourly=COUNTS, daily=COUNTS, weekly=COUNTS, monthly=COUNTS, yearly=COUNTS,
    within=st.none() | DURATIONS, max=st.none(), floor=st.integers(1, 100), not_before_on_tape=st.booleans(),
)  # fmt: skip


def any_schedule(text: str) -> None:
    """Take every text."""


def no_schedule(text: str) -> None:
    raise Refused(f"not a cron text: {text}", remedy="write five fields")


def refusal(document: object) -> PolicyUnreadable:
    with pytest.raises(PolicyUnreadable) as caught:
        check_policy(document, any_schedule)
    return caught.value


def test_an_empty_document_is_the_default() -> None:
    policy = check_policy({}, any_schedule)
    assert policy == Policy() == read_policy(b"{}")
    assert (policy.retention.max, policy.limits.journal_keep, policy.limits.removal_delay) == (64, "7d", "24h")
    assert policy.schedule is None and policy.quota_bytes is None and not policy.retention.has_rules


@given(RETENTIONS, st.none() | st.integers(1, 2**62), st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]))
def test_what_is_written_is_read(retention: Retention, quota: int | None, zone: str) -> None:
    policy = Policy(retention=retention, quota_bytes=quota, time_zone=zone, schedule="0 7,12 * * 1-5")
    assert read_policy(write_policy(policy)) == policy
    assert check_policy(json.loads(write_policy(policy)), any_schedule) == policy


def test_a_written_document_shows_every_field() -> None:
    shown = json.loads(write_policy(Policy()))
    assert list(shown) == ["version", "time_zone", "schedule", "retention", "thresholds", "limits", "quota_bytes"]
    assert shown["retention"]["max"] == 64 and shown["retention"]["within"] is None


@pytest.mark.parametrize("name", RETENTION_PRESETS)
def test_a_preset_is_stored_as_what_it_stands_for(name: str) -> None:
    policy = check_policy({"retention": name}, any_schedule)
    assert policy.retention == RETENTION_PRESETS[name]
    assert name.encode() not in write_policy(policy)


@pytest.mark.parametrize(
    ("document", "field", "remedy"),
    [
        ({"retension": {}}, "retension", "retention"),
        ({"retention": {"dayly": 1}}, "retention.dayly", "daily"),
        ({"retention": {"daily": -1}}, "retention.daily", "leave it out"),
        ({"retention": {"daily": "7"}}, "retention.daily", "leave it out"),
        ({"retention": {"daily": True}}, "retention.daily", "leave it out"),
        ({"retention": {"daily": 1.5}}, "retention.daily", "leave it out"),
        ({"retention": {"floor": 0}}, "retention.floor", "leave it out"),
        ({"retention": {"within": "30 days"}}, "retention.within", "leave it out"),
        ({"retention": {"within": "30d\n"}}, "retention.within", "leave it out"),
        ({"retention": {"within": "٣d"}}, "retention.within", "leave it out"),
        ({"retention": {"not_before_on_tape": 1}}, "retention.not_before_on_tape", "leave it out"),
        ({"retention": None}, "retention", "leave it out"),
        ({"retention": "for ever"}, "retention", "windows-like, kopia-like, compliance"),
        ({"retention": {"hourly": 48, "daily": 30}}, "retention.max", "78"),
        ({"retention": {"max": 3, "floor": 4}}, "retention.floor", "lower"),
        ({"thresholds": {"deleted_percent": 101}}, "thresholds.deleted_percent", "leave it out"),
        ({"thresholds": {"burst_files": 0}}, "thresholds.burst_files", "leave it out"),
        ({"limits": {"removal_delay": "59min"}}, "limits.removal_delay", "1h to 90d"),
        ({"limits": {"removal_delay": "91d"}}, "limits.removal_delay", "hold"),
        ({"limits": {"journal_bytes": 0}}, "limits.journal_bytes", "leave it out"),
        ({"limits": []}, "limits", "leave it out"),
        ({"quota_bytes": "1G"}, "quota_bytes", "leave it out"),
        ({"time_zone": "Mars/Olympus"}, "time_zone", "Europe/Berlin"),
        ({"time_zone": "../../etc/passwd"}, "time_zone", "Europe/Berlin"),
        ({"schedule": ""}, "schedule", "leave it out"),
        ({"version": 0}, "version", "leave it out"),
        ({"version": 2}, "version", "upgrade"),
        ({"a`b - at `$.c": 1}, "", "leave it out"),
        ([], "", "{}"),
        (None, "", "{}"),
    ],
)  # fmt: skip
def test_a_bad_document_is_refused_with_field_and_remedy(document: Any, field: str, remedy: str) -> None:
    error = refusal(document)
    assert field in error.message and remedy in error.remedy, (error.message, error.remedy)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b'"x"', b'{"version": 1}}', b'{"a\xff": 1}'])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(PolicyUnreadable):
        read_policy(text)


def test_a_schedule_is_judged_by_who_runs_it() -> None:
    with pytest.raises(PolicyUnreadable, match="schedule: not a cron text: noon") as caught:
        check_policy({"schedule": "noon"}, no_schedule)
    assert caught.value.remedy == "write five fields"


def test_a_stored_schedule_stays_readable_when_cron_parsers_become_stricter() -> None:
    policy = check_policy({"schedule": "noon"}, any_schedule)
    assert read_policy(write_policy(policy)).schedule == "noon"


def test_values_made_by_code_are_checked_too() -> None:
    with pytest.raises(PolicyUnreadable):
        replace(Retention(), keep_last=65)
    with pytest.raises(PolicyUnreadable):
        Limits(removal_delay="1min")


@pytest.mark.parametrize(
    ("text", "days"), [("1440min", 1), ("24h", 1), ("30d", 30), ("4w", 28), ("1y", 365), ("99999y", 99_999 * 365)]
)
def test_durations(text: str, days: int) -> None:
    assert parse_duration(text) == days * DAY_NS


@pytest.mark.parametrize("text", ["", "0d", "d", "30", "30m", "-1d", "1.5d", "30d ", "30d\n", "100000d", "1D", "٣d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(DurationUnreadable):
        parse_duration(text)
