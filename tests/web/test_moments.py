"""The strip of moments: which days, which moments, where one stands."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from core.clock import format_time, parse_time
from web.moments import DAYS_SHOWN, MOMENTS_A_DAY, Strip, build_strip, nearest_before, resolve_moment
from web.share_values import Snapshot

NOW = parse_time("2026-11-22T07:00:00Z")
HOUR = 3600 * 10**9


def snapshots_at(*times: str) -> list[Snapshot]:
    return [
        Snapshot(number, number * 10, time, "lunch" if number == 2 else "", "schedule", "crash", "ready")
        for number, time in enumerate(times, 1)
    ]


THREE = snapshots_at("2026-11-19T12:00:00Z", "2026-11-20T12:00:00Z", "2026-11-20T19:00:00Z")


def strip_at(at: str, snapshots: Sequence[Snapshot] = THREE) -> Strip:
    return build_strip(snapshots, resolve_moment(at, snapshots, NOW), NOW)


def shown(strip: Strip) -> list[tuple[str, list[str]]]:
    return [(day.words, [stop.words for stop in day.stops]) for day in strip.days]


def test_now_is_said_as_now() -> None:
    chosen = resolve_moment("", THREE, NOW)
    assert (chosen.now, chosen.when.words) == (True, "now")
    strip = strip_at("")
    assert shown(strip) == [("Today", ["now"]), ("Fri 20 Nov", ["19:00", "12:00"]), ("Thu 19 Nov", ["12:00"])]
    assert (strip.earlier, strip.later) == ("3", None)


def test_a_snapshot_is_said_by_its_time_and_label() -> None:
    chosen = resolve_moment("2", THREE, NOW)
    assert (chosen.when.words, chosen.label) == ("Friday 20 November, 12:00", "lunch")
    strip = strip_at("2")
    assert (strip.earlier, strip.later) == ("1", "3")
    assert [day.place for day in strip.days] == ["after", "chosen", "before"]


def test_no_two_moments_look_alike() -> None:
    close = snapshots_at("2026-11-20T16:20:00Z", "2026-11-20T16:21:05Z", "2026-11-20T16:21:40Z", "2026-11-20T16:21:40.5Z")
    assert shown(strip_at("1", close))[1:] == [("Fri 20 Nov", ["16:21:40 @4", "16:21:40 @3", "16:21:05", "16:20"])]


def test_the_newest_snapshot_is_found_by_its_name() -> None:
    assert resolve_moment("latest", THREE, NOW).at == "3"
    assert resolve_moment("latest", [], NOW).when.words == "latest"


def test_a_time_between_snapshots_has_its_place() -> None:
    for at in ("2026-11-20T13:30:00Z", "GMT-2026.11.20-13.30.00"):
        strip = strip_at(at)
        assert shown(strip)[1] == ("Fri 20 Nov", ["19:00", "13:30", "12:00"])
        assert (strip.earlier, strip.later) == ("2", "3")


def test_a_time_between_snapshots_is_said_with_its_seconds() -> None:
    stops = [stop.words for day in strip_at("2026-11-20T13:00:07Z").days for stop in day.stops if stop.chosen]
    assert stops == ["13:00:07"]


def test_a_sequence_and_nonsense_are_shown_as_asked() -> None:
    assert resolve_moment("seq:12345", THREE, NOW).when.words == "after change 12,345"
    assert resolve_moment("<b>", THREE, NOW).when.words == "<b>"
    assert not any(stop.chosen for day in strip_at("seq:1").days for stop in day.stops)


def test_many_days_are_shown_a_week_at_a_time() -> None:
    days = snapshots_at(*(f"2026-11-{day:02}T12:00:00Z" for day in range(1, 22)))
    strip = strip_at("10", days)
    assert [day.words for day in strip.days] == [
        "Fri 13 Nov", "Thu 12 Nov", "Wed 11 Nov", "Tue 10 Nov", "Mon 9 Nov", "Sun 8 Nov", "Sat 7 Nov",
    ]  # fmt: skip
    assert (strip.earlier_days, strip.later_days) == ("6", "14")


def test_a_day_of_many_moments_is_shortened_and_the_chosen_one_shown_whole() -> None:
    hours = snapshots_at(*(f"2026-11-{day}T{hour:02}:00:00Z" for day in (20, 21) for hour in range(24)))
    strip = strip_at("12", hours)
    assert shown(strip)[1:] == [("Sat 21 Nov", ["23:00", "22:00", "21:00"]), ("Fri 20 Nov", ["11:00"])]
    assert (strip.days[1].hidden, strip.days[1].more) == (21, "45")
    assert strip.whole_day is not None
    assert len(strip.whole_day.stops) == 24


def test_the_nearest_kept_moment_is_the_last_before() -> None:
    found = [nearest_before(THREE, parse_time(f"2026-11-{day}T13:00:00Z")) for day in (18, 19, 20, 25)]
    assert [one.id for one in found if one] == [1, 1, 2, 3]
    assert nearest_before([], NOW) is None


@given(st.lists(st.integers(0, 24 * 60), max_size=60), st.text(max_size=5) | st.integers(1, 60).map(str))
def test_every_strip_can_be_walked_from_end_to_end(hours: list[int], at: str) -> None:
    times = sorted(NOW - hour * HOUR for hour in hours)
    snapshots = snapshots_at(*(format_time(time) for time in times))
    strip = strip_at(at, snapshots)
    assert 1 <= len(strip.days) <= DAYS_SHOWN
    assert all(1 <= len(day.stops) <= MOMENTS_A_DAY for day in strip.days)
    place: str | None = ""
    walked = []
    while place is not None:
        walked.append(place)
        place = strip_at(place, snapshots).earlier
    assert walked == ["", *(str(snapshot.id) for snapshot in sorted(snapshots, key=lambda one: one.id, reverse=True))]
