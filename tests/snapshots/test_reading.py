"""Reading as of a moment: folders page by page, versions of a path, moments, random access."""

import random
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import NANOSECONDS, format_time
from core.relpath import ROOT, RelPath
from snapshots.control_format import SnapshotDeleted
from snapshots.history import NeverThere
from snapshots.ledger_db import SnapshotRow
from snapshots.moments import NoSuchMoment, Window, resolve_moment
from snapshots.share_fold import CatalogueAhead
from snapshots.tree import NoSuchPath
from staging.changes import Attributes, Content, Create, Kind, Mirror, Rename, SetAttributes, Unlink, Write
from tests.share_rig import ShareRig, kept_versions

PLAIN = Attributes(0o644, 0, 0, 0)


@pytest.fixture
def rig(tmp_path: Path) -> ShareRig:
    rig = ShareRig(tmp_path)
    rig.send([b"x"], [Mirror(True), Mirror(False)])
    return rig


def test_a_folder_is_read_page_by_page_in_order_of_bytes(rig: ShareRig) -> None:
    names = [b"%05d" % n for n in range(2500)] + [b"\xff", b"A", b"a"]
    rig.send([b"d"], [Create(0, Kind.FOLDER, PLAIN)])
    rig.send([b"d/" + name for name in names], [Create(n, Kind.FILE, PLAIN) for n in range(len(names))])
    view = rig.live()
    found: list[bytes] = []
    while page := view.list_folder(RelPath(b"d"), found[-1] if found else b"", 700):
        found += [name for name, _ in page]
    assert found == sorted(names)
    assert [path for path, _ in view.walk(RelPath(b"d"))] == [b"d", *[b"d/" + name for name in sorted(names)]]


def test_a_read_gives_exactly_the_bytes_that_were_asked(rig: ShareRig) -> None:
    data = random.Random(1).randbytes(400_000) + bytes(200_000) + b"end"
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, rig.put(data))])
    view = rig.live()
    content = view.node_at(RelPath(b"f")).content
    for offset, length in [(0, 10), (399_990, 100), (500_000, 90_000), (600_000, 99), (600_003, 5), (10**9, 1), (0, 10**9)]:
        assert view.read(content, offset, length) == data[offset : offset + length]
    runs = list(view.extents(content))
    assert sum(run.length for run in runs) == len(data)
    assert [run.length for run in runs if run.digest is None] == [200_000]


def test_what_is_not_there_is_refused_by_name(rig: ShareRig) -> None:
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN)])
    view = rig.live()
    for path in (b"g", b"f/g"):
        with pytest.raises(NoSuchPath):
            view.node_at(RelPath(path))
    with pytest.raises(NoSuchPath, match="not a folder"):
        view.list_folder(RelPath(b"f"))


def test_versions_follow_a_file_through_renames_deletions_and_new_files(rig: ShareRig) -> None:
    paths = [b"draft", b"plan", b"folder", b"folder/plan"]
    contents = [rig.put(b"x" * size) for size in (10, 20, 30, 40)]
    rig.send(paths, [Create(0, Kind.FILE, PLAIN, contents[0]), Create(2, Kind.FOLDER, PLAIN)])
    first = rig.snapshot()
    rig.send(paths, [Rename(0, 1), Content(1, contents[1])])
    second = rig.snapshot()
    rig.send(paths, [Content(1, contents[2])])
    rig.live()
    found = kept_versions(rig, b"plan")
    assert [(v.state.size if v.state else None, v.snapshots, v.is_live, v.path) for v in found] == [
        (30, (), True, b"plan"),
        (20, (second.id,), False, b"plan"),
        (10, (first.id,), False, b"draft"),
    ]
    rig.send(paths, [Unlink(1)])
    third = rig.snapshot()
    rig.send(paths, [Create(1, Kind.FILE, PLAIN, contents[3])])
    rig.live()
    found = kept_versions(rig, b"plan")
    assert [(v.state.size if v.state else None, v.snapshots) for v in found] == [
        (40, ()),
        (None, (third.id,)),
        (20, (second.id,)),
    ]
    assert [v.snapshots for v in kept_versions(rig, b"draft")] == [(second.id, third.id), (first.id,)]


def test_versions_follow_a_file_when_its_folder_was_renamed(rig: ShareRig) -> None:
    paths = [b"old", b"old/file", b"new", b"new/file"]
    rig.send(paths, [Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FILE, PLAIN, rig.put(b"one"))])
    first = rig.snapshot()
    rig.send(paths, [Rename(0, 2), Content(3, rig.put(b"four"))])
    rig.live()
    found = kept_versions(rig, b"new/file")
    assert [(v.state.size if v.state else None, v.is_live, v.snapshots) for v in found] == [
        (4, True, ()),
        (3, False, (first.id,)),
    ]


def test_a_state_is_told_by_its_last_change_also_when_writes_are_laid_behind_it(rig: ShareRig) -> None:
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN), Write(0, 0, b"x"), SetAttributes(0, Attributes(0o600, 0, 0, 9))])
    assert [version.sequence for version in rig.versions(b"f") if version.is_live] == [5]


def test_a_path_that_never_was_is_refused(rig: ShareRig) -> None:
    with pytest.raises(NeverThere):
        kept_versions(rig, b"nothing")


def test_every_listed_version_can_be_read(rig: ShareRig) -> None:
    chance = random.Random(3)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN)])
    sizes: dict[int, int] = {}
    for _ in range(12):
        size = chance.randrange(1, 5000)
        rig.send([b"f"], [Content(0, rig.put(chance.randbytes(size)))])
        if chance.random() < 0.6:
            sizes[rig.snapshot().id] = size
    rig.live()
    shown = {snapshot: v.state.size for v in kept_versions(rig, b"f") if v.state for snapshot in v.snapshots}
    assert shown == sizes


def test_a_long_reader_of_the_live_state_sees_no_later_change(rig: ShareRig) -> None:
    rig.send([b"a", b"b"], [Create(0, Kind.FILE, PLAIN, rig.put(b"first")), Create(1, Kind.FILE, PLAIN)])
    rig.fold.fold_all()
    with rig.fold.lease() as sequence:
        view = rig.reader.view(sequence)
        rig.send([b"a", b"b"], [Content(0, rig.put(b"second!")), Unlink(1)])
        rig.fold.fold_all()
        assert [(path, node.size_bytes) for path, node in view.walk(ROOT)] == [(b"", 0), (b"a", 5), (b"b", 0)]


def rows(*taken: tuple[int, int, int]) -> list[SnapshotRow]:
    return [SnapshotRow(number, sequence, second * NANOSECONDS, "", "command", 1) for number, sequence, second in taken]


SHOTS = rows((1, 10, 1_700_000_000), (2, 20, 1_700_003_600), (5, 20, 1_700_007_200))
WINDOW = Window(16, 40, 1_700_003_000 * NANOSECONDS, 1_700_010_000 * NANOSECONDS, lambda time_ns: 25)
EMPTY = Window(1, 0, 0, 0, lambda time_ns: 0)


@pytest.mark.parametrize(
    ("text", "sequence", "snapshot"),
    [
        ("", 33, None),
        ("latest", 20, 5),
        ("1", 10, 1),
        ("seq:10", 10, 1),
        ("seq:20", 20, 5),
        ("seq:33", 33, None),
        ("2023-11-14T22:13:20Z", 10, 1),
        ("2023-11-14T23:13:20+01:00", 10, 1),
        ("GMT-2023.11.14-23.13.20", 20, 2),
        ("seq:16", 16, None),
        ("seq:40", 40, None),
        ("2023-11-14T23:20:00.5Z", 25, None),
        ("GMT-2023.11.14-23.20.00", 25, None),
    ],
)
def test_moments_name_a_sequence(text: str, sequence: int, snapshot: int | None) -> None:
    found = resolve_moment(text, SHOTS, 33, lambda: WINDOW)
    assert (found.sequence, found.snapshot.id if found.snapshot else None) == (sequence, snapshot)
    assert found.is_live is (text == "")


@pytest.mark.parametrize("text", ["3", "seq:15", "2023-11-14T22:30:00Z", "yesterday", "GMT-2023.11.14", "latest2", "-1", "seq:x"])
def test_a_moment_without_a_snapshot_is_refused_with_a_way_out(text: str) -> None:
    with pytest.raises(NoSuchMoment) as refusal:
        resolve_moment(text, SHOTS, 33, lambda: WINDOW)
    assert "@" in refusal.value.remedy


@pytest.mark.parametrize("text", ["seq:15", "seq:41", "2023-11-14T22:30:00Z", "2024-01-01T00:00:00Z"])
def test_an_instant_outside_the_window_is_refused_with_its_bounds(text: str) -> None:
    with pytest.raises(NoSuchMoment) as refusal:
        resolve_moment(text, SHOTS, 33, lambda: WINDOW)
    assert "@seq:16 to @seq:40 (2023-11-14T23:03:20.000000Z to 2023-11-15T01:00:00.000000Z)" in refusal.value.remedy
    with pytest.raises(NoSuchMoment):
        resolve_moment(text, SHOTS, 33, lambda: EMPTY)


TAKEN_NS = 1_700_000_000 * NANOSECONDS + 500_000_900  # told as .500000
CHANGED_NS = TAKEN_NS + 200_000_000


def last_up_to(time_ns: int) -> int:
    return sum(sequence for sequence, when in ((9, 0), (1, TAKEN_NS), (1, CHANGED_NS)) if when <= time_ns)


@pytest.mark.parametrize(
    ("fraction", "sequence", "snapshot"),
    [
        ("", 10, 1),
        (".0", 10, 1),
        (".499999", 9, None),
        (".500000", 10, 1),
        (".5", 10, 1),
        (".500001", 10, None),
        (".7", 11, None),
        (".700000", 11, None),
        (".699999", 10, None),
        (".9", 11, None),
    ],
)
def test_a_fraction_of_a_second_means_what_was_there_by_then(fraction: str, sequence: int, snapshot: int | None) -> None:
    shots = [SnapshotRow(1, 10, TAKEN_NS, "", "command", 1)]
    window = Window(9, 11, TAKEN_NS - NANOSECONDS, CHANGED_NS + NANOSECONDS, last_up_to)
    found = resolve_moment(f"2023-11-14T22:13:20{fraction}Z", shots, 11, lambda: window)
    assert (found.sequence, found.snapshot.id if found.snapshot else None) == (sequence, snapshot)


def test_the_bounds_that_a_refusal_tells_can_be_asked_for() -> None:
    window = Window(9, 11, TAKEN_NS, CHANGED_NS, last_up_to)
    assert resolve_moment(format_time(TAKEN_NS), [], 11, lambda: window).sequence == 10
    assert resolve_moment(format_time(CHANGED_NS), [], 11, lambda: window).sequence == 11


@given(st.integers(0, 4_000_000_000).map(lambda second: second * NANOSECONDS))
def test_a_gmt_token_and_a_time_mean_the_same_snapshot(time_ns: int) -> None:
    shots = [SnapshotRow(1, 5, time_ns, "", "", 1)]
    token = time.strftime("GMT-%Y.%m.%d-%H.%M.%S", time.gmtime(time_ns // NANOSECONDS))
    of_token, of_time = (resolve_moment(text, shots, 9, lambda: EMPTY) for text in (token, format_time(time_ns)))
    assert of_token == of_time


def test_a_version_under_a_renamed_folder_is_listed_with_the_path_that_its_snapshot_shows(rig: ShareRig) -> None:
    paths = [b"a", b"a/f", b"b", b"c", b"c/f", b"f"]
    rig.send(paths, [Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FILE, PLAIN, rig.put(b"one"))])
    first = rig.snapshot()
    rig.send(paths, [Rename(0, 2), Rename(2, 3), Rename(4, 5)])
    rig.live()
    found = kept_versions(rig, b"f")
    assert [(v.path, v.snapshots) for v in found] == [(b"f", ()), (b"a/f", (first.id,))]


def test_nothing_uncommitted_is_shown_while_a_fold_runs(rig: ShareRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.send([b"n%d" % n for n in range(50)], [Create(n, Kind.FILE, PLAIN) for n in range(50)])
    taken = rig.snapshot()
    seen: list[tuple[int, int]] = []
    original = rig.fold._records.keep

    def look_then_keep() -> None:
        seen.append((rig.fold.sequence, len(rig.reader.view(rig.fold.sequence).list_folder(ROOT))))
        original()

    monkeypatch.setattr(rig.fold._records, "keep", look_then_keep)
    rig.fold.fold_all()
    assert seen == [(0, 0)] and rig.fold.sequence == taken.sequence


def test_a_catalogue_ahead_of_its_journal_is_refused(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    rig.fold.fold_all()
    rig.close()
    path = next(rig.folder.glob("journal/*.skj"))
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CatalogueAhead):
        ShareRig(rig.folder)


def test_an_id_means_its_snapshot_whatever_stands_beside_it_and_one_that_is_to_go_means_none(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    taken = [rig.snapshot(), rig.snapshot(), rig.snapshot()]
    rig.fold.order(lambda number, _: SnapshotDeleted(number, taken[1].id, 1, 2**62, "test"))
    for row in (taken[0], taken[2]):
        found = rig.instants.resolve(str(row.id)).snapshot
        assert found is not None and found.id == row.id
    for absent in (str(taken[1].id), "0", "9" * 60):
        with pytest.raises(NoSuchMoment):
            rig.instants.resolve(absent)
