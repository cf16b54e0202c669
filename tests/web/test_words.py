"""Times, sizes and states in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import parse_time
from web.words import (
    age_words,
    ago,
    count_words,
    crowds_of,
    lag_words,
    pieces,
    size_words,
    state_words,
    time_of,
    to_the_second,
    when,
    when_at_length,
)  # fmt: skip

NOW = parse_time("2026-11-22T07:00:00Z")


@pytest.mark.parametrize(
    ("time", "words"),
    [
        ("2026-11-22T06:58:59Z", "today 06:58"),
        ("2026-11-21T17:30:00Z", "yesterday 17:30"),
        ("2026-11-18T17:30:00+01:00", "Wed 18 Nov, 16:30"),
        ("2026-10-31T10:00:00Z", "31 Oct, 10:00"),
        ("2025-10-31T10:00:00Z", "31 Oct 2025, 10:00"),
        ("2026-11-23T10:00:00Z", "23 Nov, 10:00"),
        ("1970-01-01T00:00:00Z", "1 Jan 1970, 00:00"),
    ],
)
def test_times_beside_other_times(time: str, words: str) -> None:
    assert when(parse_time(time), NOW).words == words


def test_times_in_headings_and_logs() -> None:
    said = when_at_length(parse_time("2026-11-19T12:00:00Z"), NOW)
    assert (said.words, said.exact) == ("Thursday 19 November, 12:00", "2026-11-19T12:00:00Z")
    assert when_at_length(parse_time("2025-11-19T12:00:07Z"), NOW).words == "Wednesday 19 November 2025, 12:00"
    assert to_the_second(parse_time("2026-11-19T12:00:07.25Z")).words == "2026-11-19 12:00:07"
    assert to_the_second(None).words == "unknown"
    assert ago(None, NOW) == ""
    assert ago(parse_time("2026-11-21T07:00:00Z"), NOW) == "1 day ago"


def test_a_crowded_minute_is_told_with_its_seconds() -> None:
    first, second, later = (parse_time(f"2026-11-22T06:{rest}Z") for rest in ("58:00", "58:41", "59:03"))
    crowds = crowds_of([first, later, None, second])
    assert [when(time_ns, NOW, crowds).words for time_ns in (first, second, later)] == [
        "today 06:58:00", "today 06:58:41", "today 06:59",
    ]  # fmt: skip
    assert when_at_length(first, NOW, crowds).words == "Sunday 22 November, 06:58:00"
    assert not any(map(crowds.share_a_second, (first, second, later, None)))


def test_times_of_one_second_are_known_as_such() -> None:
    one, other = parse_time("2026-11-22T06:58:41Z"), parse_time("2026-11-22T06:58:41.9Z")
    assert crowds_of([one, other]).share_a_second(one)
    assert not crowds_of([one]).share_a_second(other)


def test_a_typed_time_is_said_with_its_seconds_unless_they_are_zero() -> None:
    typed, even = parse_time("2026-11-22T06:58:41Z"), parse_time("2026-11-22T06:58:00Z")
    assert when(typed, NOW, crowds_of([], typed)).words == "today 06:58:41"
    assert when(even, NOW, crowds_of([], even)).words == "today 06:58"
    assert when(even, NOW, crowds_of([typed], even)).words == "today 06:58:00"


@given(st.integers(-(2**80), 2**80))
def test_no_file_time_is_too_strange(time_ns: int) -> None:
    assert when(time_ns, NOW).words
    assert when_at_length(time_ns, NOW).words


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 KB"),
        (9_949, "9.9 KB"),
        (9_950, "10 KB"),
        (83_412, "83 KB"),
        (999_499, "999 KB"),
        (999_500, "1.0 MB"),
        (1_200_000, "1.2 MB"),
        (2**62, "4.6 EB"),
        (10**24, "1,000,000 EB"),
    ],
)
def test_sizes(size: int, words: str) -> None:
    assert size_words(size) == words


def test_counts_and_spans() -> None:
    assert count_words(45_210, "file") == "45,210 files"
    assert (age_words(0), age_words(1), age_words(59), age_words(60)) == ("0 seconds", "1 second", "59 seconds", "1 minute")
    assert (age_words(7200), age_words(86_400 * 3)) == ("2 hours", "3 days")
    assert (lag_words(0.4), lag_words(4.2)) == ("up to date", "4 seconds behind")


def test_states_have_a_word_and_a_shape_of_their_own() -> None:
    states = [state_words(state) for state in ("stopped", "resync", "mirroring", "good", "odd")]
    assert len({state.shape for state in states}) == len({state.word for state in states}) == 5
    assert [state.rank for state in states[:4]] == [0, 1, 2, 3]


def test_what_is_no_time_has_none() -> None:
    assert time_of("yesterday") is None
    assert time_of(None) is None


def test_long_texts_are_cut_behind_their_signs() -> None:
    assert pieces("/srv/cartridges/SK0001L9.tar") == ["/", "srv/", "cartridges/", "SK0001L9.tar"]
    assert pieces("leeds/documents@4, fe80::1") == ["leeds/", "documents@", "4,", " fe80:", ":", "1"]
    assert pieces("") == []


@given(st.text(max_size=40))
def test_the_pieces_of_a_text_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text
