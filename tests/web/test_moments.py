"""The strip of moments: which days, which moments, where one stands, and in which words."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from core.clock import format_time, parse_time
from web.moments import DAYS_SHOWN, MOMENTS_A_DAY, Chosen, Strip, build_strip, choose, nearest_before, unkept
from web.share_values import Moment, Snapshot

NOW = parse_time("2026-11-22T07:00:00Z")
HOUR = 3600 * 10**9


def snapshots_at(*times: str) -> list[Snapshot]:
    return [
        Snapshot(number, number * 10, time, "lunch" if number == 2 else "", "schedule", "crash", "ready")
        for number, time in enumerate(times, 1)
    ]


THREE = snapshots_at("2026-11-19T12:00:00Z", "2026-11-20T12:00:00Z", "2026-11-20T19:00:00Z")


def chosen_at(at: str, snapshots: Sequence[Snapshot] = THREE) -> Chosen:
    """Return now, or the snapshot of an id."""
    number = int(at) if at else None
    others = (
        [one.id for one in snapshots if number is None or one.id < number],
        [one.id for one in snapshots if one.id > (number or 0)],
    )
    before, after = max(others[0], default=None), min(others[1], default=None) if at else None
    if number is None:
        return choose(Moment("live", 99, None, None, before, None), "", snapshots, NOW)
    one = next(one for one in snapshots if one.id == number)
    return choose(Moment("snapshot", one.sequence, one.taken_at, number, before, after), at, snapshots, NOW)


def instant_at(asked: str, time: str, before: int | None, after: int | None, snapshots: Sequence[Snapshot] = THREE) -> Chosen:
    return choose(Moment("instant", 25, time, None, before, after), asked, snapshots, NOW)


def strip_at(at: str, snapshots: Sequence[Snapshot] = THREE) -> Strip:
    return build_strip(snapshots, chosen_at(at, snapshots), NOW)


def shown(strip: Strip) -> list[tuple[str, list[str]]]:
    return [(day.words, [stop.words for stop in day.stops]) for day in strip.days]


def test_now_is_said_as_now() -> None:
    chosen = chosen_at("")
    assert (chosen.now, chosen.when.words) == (True, "now")
    strip = strip_at("")
    assert shown(strip) == [("Today", ["now"]), ("Fri 20 Nov", ["19:00", "12:00"]), ("Thu 19 Nov", ["12:00"])]
    assert (strip.earlier, strip.later) == ("3", None)


def test_a_snapshot_is_said_by_its_time_and_label() -> None:
    chosen = chosen_at("2")
    assert (chosen.when.words, chosen.label) == ("Friday 20 November, 12:00", "lunch")
    strip = strip_at("2")
    assert (strip.earlier, strip.later) == ("1", "3")
    assert [day.place for day in strip.days] == ["after", "chosen", "before"]


def test_no_two_moments_look_alike() -> None:
    close = snapshots_at("2026-11-20T16:20:00Z", "2026-11-20T16:21:05Z", "2026-11-20T16:21:40Z", "2026-11-20T16:21:40.5Z")
    assert shown(strip_at("1", close))[1:] == [("Fri 20 Nov", ["16:21:40 @4", "16:21:40 @3", "16:21:05", "16:20"])]


def test_a_moment_is_said_in_the_same_words_in_the_heading_and_in_the_strip() -> None:
    close = snapshots_at("2026-11-20T16:20:03Z", "2026-11-20T16:21:00Z", "2026-11-20T16:21:40Z", "2026-11-20T16:21:40.5Z")
    for number in range(1, 5):
        chosen, strip = chosen_at(str(number), close), strip_at(str(number), close)
        (stop,) = [stop for day in strip.days for stop in day.stops if stop.chosen]
        assert f"{chosen.when.words} {chosen.beside}".strip() == f"Friday 20 November, {stop.words}"
        assert stop.title.startswith(f"Friday 20 November, {stop.words.split()[0]} UTC")
    said = [(chosen_at(str(number), close).when.words[-8:], chosen_at(str(number), close).beside) for number in range(1, 5)]
    assert said == [("r, 16:20", ""), ("16:21:00", ""), ("16:21:40", "@3"), ("16:21:40", "@4")]


def test_a_moment_that_means_a_snapshot_is_shown_as_that() -> None:
    at = "2026-11-20T12:00:00Z"
    for asked in (at, "seq:20", "latest", "GMT-2026.11.20-12.00.00"):
        chosen = choose(Moment("snapshot", 20, at, 2, 1, 3), asked, THREE, NOW)
        assert (chosen.at, chosen.when.words, chosen.label) == ("2", "Friday 20 November, 12:00", "lunch")


def test_an_instant_has_its_time_and_its_place_in_the_strip() -> None:
    for asked in ("2026-11-20T13:30:00Z", "seq:25"):
        strip = build_strip(THREE, instant_at(asked, "2026-11-20T13:30:00Z", 2, 3), NOW)
        assert shown(strip)[1] == ("Fri 20 Nov", ["19:00", "13:30", "12:00"])
        assert (strip.earlier, strip.later) == ("2", "3")
        assert [stop.at for day in strip.days for stop in day.stops if stop.chosen] == [asked]


def test_an_instant_of_the_time_of_a_snapshot_stands_where_its_change_does() -> None:
    for before, after, order in ((2, 3, ["2", "seq:25", "3"]), (1, 2, ["seq:25", "2", "3"])):
        strip = build_strip(THREE, instant_at("seq:25", "2026-11-20T12:00:00Z", before, after), NOW)
        assert [stop.at for stop in reversed(strip.days[1].stops)] == order
        assert len({stop.words for stop in strip.days[1].stops}) == 3


def test_an_instant_before_and_behind_all_snapshots_has_its_place() -> None:
    first = build_strip(THREE, instant_at("seq:25", "2026-11-18T08:00:00Z", None, 1), NOW)
    last = build_strip(THREE, instant_at("seq:25", "2026-11-21T08:00:00Z", 3, None), NOW)
    assert (shown(first)[-1], first.earlier, first.later) == (("Wed 18 Nov", ["08:00"]), None, "1")
    assert (shown(last)[1], last.earlier, last.later) == (("Sat 21 Nov", ["08:00"]), "3", "")


def test_an_instant_is_said_with_its_seconds_and_one_asked_for_by_its_change_with_that() -> None:
    chosen = instant_at("seq:25", "2026-11-20T13:00:07Z", 2, 3)
    assert (chosen.when.words, chosen.beside) == ("Friday 20 November, 13:00:07", "after change 25")
    assert instant_at("2026-11-20T13:00:07Z", "2026-11-20T13:00:07Z", 2, 3).beside == ""
    stops = [stop for day in build_strip(THREE, chosen, NOW).days for stop in day.stops if stop.chosen]
    assert [stop.words for stop in stops] == ["13:00:07"]


def test_a_moment_that_is_not_kept_has_no_place() -> None:
    for asked, words in (("<b>", "<b>"), ("2026-11-20T13:00:07Z", "Friday 20 November, 13:00:07")):
        chosen = unkept(asked, NOW)
        assert (chosen.when.words, chosen.now) == (words, False)
        strip = build_strip(THREE, chosen, NOW)
        assert not any(stop.chosen for day in strip.days for stop in day.stops)
        assert (strip.earlier, strip.later) == (None, None)


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
    assert (strip.whole_day.words, len(strip.whole_day.stops)) == ("Fri 20 Nov", 24)


def test_today_is_said_without_a_capital_within_a_phrase() -> None:
    strip = strip_at("", snapshots_at(*(f"2026-11-22T0{hour}:00:00Z" for hour in range(6))))
    assert strip.whole_day is not None
    assert (strip.days[0].words, strip.whole_day.words) == ("Today", "today")


def test_the_nearest_kept_moment_is_the_last_before() -> None:
    found = [nearest_before(THREE, parse_time(f"2026-11-{day}T13:00:00Z")) for day in (18, 19, 20, 25)]
    assert [one.id for one in found if one] == [1, 1, 2, 3]
    assert nearest_before([], NOW) is None


@given(st.lists(st.integers(0, 24 * 60), max_size=60), st.data())
def test_every_strip_can_be_walked_from_end_to_end(hours: list[int], data: st.DataObject) -> None:
    times = sorted(NOW - hour * HOUR for hour in hours)
    snapshots = snapshots_at(*(format_time(time) for time in times))
    strip = strip_at(data.draw(st.sampled_from(["", *(str(one.id) for one in snapshots)])), snapshots)
    assert 1 <= len(strip.days) <= DAYS_SHOWN
    assert all(1 <= len(day.stops) <= MOMENTS_A_DAY for day in strip.days)
    place: str | None = ""
    walked = []
    while place is not None:
        walked.append(place)
        place = strip_at(place, snapshots).earlier
    assert walked == ["", *(str(snapshot.id) for snapshot in sorted(snapshots, key=lambda one: one.id, reverse=True))]
