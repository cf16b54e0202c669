"""How much of a journal goes, and that what stays can be read at every instant, whenever the removal is cut short."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NANOSECONDS
from core.errors import StagekeeperError
from snapshots.journal_retention import JournalPolicy, trim_below
from snapshots.moments import NoSuchMoment
from snapshots.share_fold import ANCHORED
from staging import journal as journal_module
from staging.changes import Attributes, Change, Create, Kind, Write
from staging.journal_scan import SegmentSpan
from tests.appliance.settable_clock import SettableClock
from tests.faulty_files import FaultyFiles, Killed
from tests.naive_tree import NaiveTree
from tests.share_rig import ShareRig, listing

DAY = 24 * 3600 * NANOSECONDS
PLAIN = Attributes(0o644, 0, 0, 7)


def spans(*closed_days: float | None) -> list[SegmentSpan]:
    """Return segments of ten changes and a hundred bytes each, closed at these days."""
    opened = [0, *closed_days[:-1]]
    return [
        SegmentSpan(10 * n + 1, 10 * n + 10, int((start or 0) * DAY), None if end is None else int(end * DAY), 100)
        for n, (start, end) in enumerate(zip(opened, closed_days, strict=True))
    ]


WEEK = spans(1, 2, 3, 4, None)
ANCHORS = [(sequence, sequence * DAY // 10) for sequence in range(0, 50, 2)]


@pytest.mark.parametrize(
    ("now", "policy", "sealed", "folded", "anchors", "below"),
    [
        (7.9, JournalPolicy(), 50, 50, ANCHORS, 0),
        (8.5, JournalPolicy(), 50, 50, ANCHORS, 10),
        (10.5, JournalPolicy(), 50, 50, ANCHORS, 30),
        (99, JournalPolicy(), 50, 50, ANCHORS, 40),  # the newest segment stays
        (99, JournalPolicy(), 0, 50, ANCHORS, 0),
        (99, JournalPolicy(), 29, 50, ANCHORS, 20),
        (99, JournalPolicy(), 20, 50, ANCHORS, 10),  # the record of the seal at 20 may stand where 20 does
        (99, JournalPolicy(), 50, 15, ANCHORS, 10),
        (99, JournalPolicy(), 50, 50, [(0, 0), (18, 2 * DAY)], 10),  # an anchor for the oldest instant
        (10.5, JournalPolicy(), 50, 50, [(0, 0), (32, 4 * DAY)], 0),  # it came only later than the oldest instant
        (5, JournalPolicy(max_bytes=250), 50, 50, ANCHORS, 30),
        (5, JournalPolicy(max_bytes=250), 50, 50, [(0, 0), (22, 2 * DAY)], 20),
        (5, JournalPolicy(keep_ns=DAY, max_bytes=450), 50, 50, ANCHORS, 40),
    ],
)
def test_the_journal_goes_by_age_and_by_bytes_as_far_as_it_may(
    now: float, policy: JournalPolicy, sealed: int, folded: int, anchors: list[tuple[int, int]], below: int
) -> None:
    assert trim_below(WEEK, anchors, sealed, folded, int(now * DAY), policy) == below


@given(
    st.lists(st.integers(1, 20), min_size=1, max_size=12),
    st.lists(st.integers(0, 240), max_size=30),
    st.integers(0, 240),
    st.integers(0, 240),
    st.integers(0, 300),
    st.integers(0, 50),
    st.integers(0, 1000),
)
def test_the_oldest_promised_instant_can_always_be_replayed(
    counts: Sequence[int], anchors: list[int], sealed: int, folded: int, now: int, keep: int, max_bytes: int
) -> None:
    """Change n comes at time n here, so that times and sequences compare."""
    ends = [sum(counts[: n + 1]) for n in range(len(counts))]
    segments = [
        SegmentSpan(end - count + 1, end, end - count + 1, end + 1 if end != ends[-1] else None, 100)
        for end, count in zip(ends, counts, strict=True)
    ]
    kept = sorted({anchor for anchor in anchors if anchor <= folded} | {0})
    below = trim_below(segments, [(a, a) for a in kept], sealed, folded, now, JournalPolicy(keep, max_bytes))
    assert below in {0, *ends[:-1]} and below <= folded
    if below:
        assert below < sealed
        assert any(anchor >= below for anchor in kept)
        if not max_bytes:
            assert any(below <= anchor <= now - keep for anchor in kept)


def test_after_trimming_every_instant_from_the_oldest_anchor_on_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, models = worked(tmp_path, monkeypatch)
    segments = rig.journal.spans()
    assert len(segments) > 6 and [s.first_sequence for s in segments[1:]] == [s.last_sequence + 1 for s in segments[:-1]]
    below = segments[3].last_sequence
    rig.fold.trim_journal(below)
    for _ in range(2):
        check_window(rig, models)
        assert below <= rig.instants.window().first <= below + 2
        rig.reopen()
    assert rig.journal.spans()[0].first_sequence == below + 1
    assert rig.send([b"f"], [Write(0, 0, b"more")]) == len(models) + 1
    rig.close()


def test_what_a_reader_has_leased_and_the_newest_frame_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, models = worked(tmp_path, monkeypatch)
    with rig.instants.leased(rig.instants.resolve("seq:5")) as view:
        rig.fold.trim_journal(10**9)
        assert listing(view) == models[5].listing()
        assert rig.journal.start.sequence <= 5
    rig.fold.trim_journal(10**9)
    assert rig.journal.start.sequence >= len(models) - 4
    assert rig.journal.hash_of(len(models)) is not None
    rig.reopen()
    assert rig.fold.sequence == len(models)
    rig.close()


def test_a_trim_cut_short_anywhere_leaves_a_journal_without_gaps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for fault in ("kill", "kill_after", "EIO"):
        for number in range(1, 100):
            folder = tmp_path / f"{fault}-{number}"
            rig, models = worked(folder, monkeypatch)
            rig.close()
            files = FaultyFiles()
            rig = ShareRig(folder, files, limits=rig.limits, clock=rig.clock)
            files.at, files.fault = files.count + number, fault
            with suppress(Killed, OSError, StagekeeperError):
                rig.fold.trim_journal(rig.journal.spans()[3].last_sequence)
            rig.close()
            again = ShareRig(folder, limits=rig.limits, clock=rig.clock)
            again.journal.spans()
            assert again.fold.sequence == len(models)
            check_window(again, models)
            again.fold.trim_journal(30)
            check_window(again, models)
            again.close()
            if not files.fired:
                break
        assert number > 3


def worked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[ShareRig, dict[int, NaiveTree]]:
    """A share of many small segments and anchors, and the model behind every change."""
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 500)
    rig = ShareRig(folder, limits=replace(ANCHORED, changes=2), clock=SettableClock())
    models: dict[int, NaiveTree] = {}
    model = NaiveTree({})
    for number in range(1, 31):
        change: Change = Create(0, Kind.FILE, PLAIN) if number == 1 else Write(0, number, b"change %d" % number)
        model.apply(change, [b"f"])
        models[number] = model.copy()
        rig.send([b"f"], [change])
    rig.fold.fold_all()
    return rig, models


def check_window(rig: ShareRig, models: dict[int, NaiveTree]) -> None:
    window = rig.instants.window()
    assert rig.journal.start.sequence <= window.first <= window.last == len(models)
    for sequence in range(max(window.first, 1), window.last + 1):
        assert listing(rig.at(f"seq:{sequence}")) == models[sequence].listing()
    if window.first:
        with pytest.raises(NoSuchMoment):
            rig.at(f"seq:{window.first - 1}")


def test_a_trimmed_share_is_made_again_from_seals_with_its_instants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, models = worked(tmp_path, monkeypatch)
    rig.snapshot("kept")
    rig.sealer.seal()
    rig.clock.move(8 * 24 * 3600)  # type: ignore[attr-defined]
    for number in range(31, 41):
        rig.send([b"f"], [Write(0, number, b"later")])
        models[number] = models[number - 1].copy()
        models[number].apply(Write(0, number, b"later"), [b"f"])
    rig.fold.fold_all()
    rig.instants.trim(JournalPolicy())
    assert 20 <= rig.journal.start.sequence < 30
    check_window(rig, models)
    window = rig.instants.window()
    rig.lose_catalogue()
    rig.fold.fold_all()
    assert rig.instants.window().first == window.first
    check_window(rig, models)
    assert listing(rig.at("1")) == models[30].listing()
    rig.close()
