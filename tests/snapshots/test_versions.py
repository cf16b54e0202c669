"""Versions of a path: every state that the journal's window knows, against what the share was after each single change."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import pytest

from core.relpath import RelPath
from snapshots.control_format import SnapshotDropped
from snapshots.history import NeverThere
from snapshots.journal_retention import JournalPolicy
from snapshots.schema_db import LIVE
from snapshots.share_fold import ANCHORED
from snapshots.tree import Node, NoSuchPath, TreeView
from snapshots.versions import PathVersion
from staging.changes import (
    Attributes,
    Content,
    Create,
    Group,
    Kind,
    Link,
    Mirror,
    Rename,
    SetAttributes,
    Unlink,
    Write,
)
from staging.journal import Cursor
from staging.journal_scan import LoggedRecord
from tests.share_rig import ShareRig
from tests.snapshots.fold_machine import PATHS
from tests.snapshots.test_instants import PLAIN, history

OTHER = Attributes(0o600, 0, 0, 8)
Seen = tuple[object, ...] | None
"""What stood at a path: node, kind, attributes, size, digest, target; None when nothing did."""


def seen_at(view: TreeView, path: bytes) -> Seen:
    try:
        node: Node = view.node_at(RelPath(path))
    except NoSuchPath:
        return None
    return node.id, node.kind, node.attributes, node.size_bytes, node.digest, node.target


def seen_in(version: PathVersion) -> Seen:
    state = version.state
    if state is None:
        return None
    digest = state.content.digest if state.content is not None else None
    return state.node, state.kind, state.attributes, state.size, digest, state.target


@dataclass
class Told:
    """A share, what each path was after each change, and where frames end."""

    rig: ShareRig
    seen: dict[tuple[int, bytes], Seen]
    ends: list[int]


def told(folder: Path, seed: int, count: int = 80, often_written: float = 0.0) -> Told:
    """Lay a random history with anchors, snapshots and barriers at random places."""
    chance = random.Random(seed)
    rig = ShareRig(folder, limits=replace(ANCHORED, changes=chance.choice([2, 6, 15, 10**6])))
    contents: list[object] = [rig.put(data) for data in (b"", b"small", bytes(range(256)) * 300)]
    changes, ends = history(chance, contents, count), [0]
    for number in range(count):
        if chance.random() < often_written:  # so that writes of several frames meet between fences
            changes[number] = Write(chance.randrange(2), chance.randrange(100), chance.randbytes(5))
    while changes:
        size = chance.randint(1, 7)
        ends.append(rig.send(PATHS, changes[:size]))
        changes = changes[size:]
        if chance.random() < 0.15:
            rig.snapshot()
        if chance.random() < 0.5:
            rig.fold.fold()
        if chance.random() < 0.1:
            rig.journal.begin_segment()
    rig.fold.fold_all()
    views = [rig.at(f"seq:{number}") for number in range(count + 1)]
    return Told(rig, {(number, path): seen_at(view, path) for number, view in enumerate(views) for path in PATHS}, ends)


def check(share: Told, path: bytes, moment: str, until: int, floor: int) -> None:
    """Compare the versions of a path with what was seen: all are true, and every visible state is there, once."""
    rig, seen = share.rig, share.seen
    shots = {row.id: row.sequence for row in rig.reader.ledger.snapshots()}
    try:
        found = rig.versions(path, moment)
    except NeverThere:
        found = []
    assert rig.versions(path, moment, limit=1) == found if found else True
    own = [version for version in found if version.path == path]
    numbers = [version.sequence for version in found]
    assert numbers == sorted(numbers, reverse=True) and len({one.sequence for one in own}) == len(own)
    assert all(number <= until for number in numbers)
    for version in found:
        if version.sequence >= floor:
            assert seen[version.sequence, version.path] == seen_in(version), (path, version)
        assert all(seen[shots[number], path] == seen_in(version) for number in version.snapshots if version.path == path)
    visible = sorted({min(end, until) for end in share.ends} | {at for at in shots.values() if at <= until} | {until})
    for point in [point for point in visible if point >= floor]:
        here = [version for version in own if version.sequence <= point][:1]
        if seen[point, path] is not None or any(
            seen[number, path] is not None for number in share.ends if floor < number < point
        ):
            assert here and seen_in(here[0]) == seen[point, path], (path, point)
    for newer, older in pairwise(own):
        assert newer.state is not None or older.state is not None, "gone once"


@pytest.mark.parametrize("seed", range(12))
def test_versions_are_what_was_seen_at_the_ends_of_frames(tmp_path: Path, seed: int) -> None:
    share = told(tmp_path, seed, often_written=seed % 3 / 4)
    last = share.rig.fold.sequence
    chance = random.Random(seed)
    for path in PATHS:
        check(share, path, "", last, 0)
        until = chance.randint(1, last)
        check(share, path, f"seq:{until}", until, 0)
    share.rig.close()


@pytest.mark.parametrize("seed", [100, 101, 102, 103, 104, 105, 2023, 2039])
def test_they_stay_true_when_snapshots_go_and_the_journal_is_trimmed(tmp_path: Path, seed: int) -> None:
    share, chance = told(tmp_path, seed, often_written=seed % 3 / 4), random.Random(seed)
    rig = share.rig
    for row in rig.reader.ledger.snapshots():
        if chance.random() < 0.7:
            rig.fold.order(lambda number, at, row=row: SnapshotDropped(number, row.id))  # type: ignore[misc]
    rig.sealer.seal()
    while rig.fold.sweep():
        pass
    if chance.random() < 0.7:
        rig.instants.trim(JournalPolicy(keep_ns=0))
    floor = rig.instants.window().first
    for path in PATHS:
        check(share, path, "", rig.fold.sequence, floor)
    rig.close()


def sizes(versions: list[PathVersion]) -> list[tuple[int, int | None, bytes]]:
    return [(one.sequence, None if one.state is None else one.state.size, one.path) for one in versions]


def test_every_save_of_an_editor_between_two_snapshots_is_a_version(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"plan", b"plan~"]
    rig.send(paths, [Create(0, Kind.FILE, PLAIN, rig.put(b"1"))])
    first = rig.snapshot()
    for number in range(2, 5):
        rig.send(paths, [Create(1, Kind.FILE, PLAIN, rig.put(b"x" * number)), Rename(1, 0)])
    rig.send(paths, [Unlink(0)])
    rig.send(paths, [Create(0, Kind.FILE, PLAIN, rig.put(b"again"))])
    found = rig.versions(b"plan")
    assert sizes(found) == [
        (9, 5, b"plan"), (8, None, b"plan"), (7, 4, b"plan"), (5, 3, b"plan"), (3, 2, b"plan"), (1, 1, b"plan"),
    ]  # fmt: skip
    assert [one.snapshots for one in found] == [(), (), (), (), (), (first.id,)]
    assert sizes(rig.versions(b"plan", "seq:5")) == [(5, 3, b"plan"), (3, 2, b"plan"), (1, 1, b"plan")]
    rig.close()


def test_what_one_frame_did_is_one_version_and_its_attributes_count_as_of_the_last_change(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN), *(Write(0, at, b"x") for at in range(5)), SetAttributes(0, OTHER)])
    rig.send([b"a"], [Write(0, 5, b"y")])
    found = rig.versions(b"a")
    assert sizes(found) == [(8, 6, b"a"), (7, 5, b"a")]
    assert found[1].state is not None and found[1].state.attributes == OTHER
    rig.close()


def test_a_moment_within_a_frame_ends_the_list_there(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN), *(Write(0, at, b"x") for at in range(5))])
    rig.send([b"a"], [Unlink(0)])
    assert sizes(rig.versions(b"a", "seq:3")) == [(3, 2, b"a")]
    with pytest.raises(NeverThere):
        rig.versions(b"a", "seq:0")
    rig.close()


def test_names_of_today_s_file_before_are_followed_between_snapshots_too(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"d", b"d/draft", b"d/plan", b"e", b"e/plan"]
    rig.send(paths, [Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FILE, PLAIN, rig.put(b"1"))])
    rig.send(paths, [Write(1, 1, b"2")])
    rig.send(paths, [Rename(1, 2)])
    rig.send(paths, [Rename(0, 3)])
    rig.send(paths, [Content(4, None)])
    assert sizes(rig.versions(b"e/plan")) == [
        (6, 0, b"e/plan"), (5, 2, b"e/plan"), (4, 2, b"d/plan"), (3, 2, b"d/draft"), (2, 1, b"d/draft"),
    ]  # fmt: skip
    rig.close()


def test_what_a_mirror_laid_is_a_version_although_it_was_written_into_before_any_fence(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"a"], [Mirror(True), Create(0, Kind.FILE, PLAIN, rig.put(b"laid")), Mirror(False)])
    rig.send([b"a"], [Write(0, 4, b" and written into")])
    rig.send([b"a", b"b"], [Link(1, 0)])
    rig.send([b"a", b"b"], [Group((Write(1, 0, b"!"), Write(1, 1, b"?")))])
    assert sizes(rig.versions(b"a")) == [(6, 21, b"a"), (4, 21, b"a"), (2, 4, b"a")]
    rig.close()


def test_a_page_reads_and_holds_what_came_between_two_anchors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ShareRig(tmp_path, limits=replace(ANCHORED, changes=50))
    rig.send([b"a", b"b"], [Create(0, Kind.FILE, PLAIN), Create(1, Kind.FILE, PLAIN)])
    for number in range(600):
        rig.send([b"a", b"b"], [Write(0, number, b"x"), Write(1, 0, b"y")])
    rig.fold.fold_all()
    read: list[LoggedRecord] = []
    plain = rig.journal.read
    monkeypatch.setattr(rig.journal, "read", lambda cursor: (read.append(record) or record for record in plain(cursor)))
    below, pages, found = LIVE, 0, 0
    while True:
        page, following = rig.versions_page(b"a", "", below, 20)
        pages, found = pages + 1, found + len(page)
        assert len(read) <= 3 * 25 + 20
        read.clear()
        if following is None:
            break
        below = following
    assert (found, pages) == (601, 31)
    rig.close()


def test_a_journal_that_is_trimmed_meanwhile_takes_no_version_that_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = ShareRig(tmp_path, limits=replace(ANCHORED, changes=4))
    rig.send([b"a", b"b"], [Create(0, Kind.FILE, PLAIN), Create(1, Kind.FILE, PLAIN)])
    for number in range(20):
        rig.send([b"a", b"b"], [Write(0, number, b"x"), Write(1, 0, b"y")])
        rig.send([b"a", b"b"], [Write(1, 0, b"z")])
        rig.fold.fold_all()
        rig.journal.begin_segment()
    rig.sealer.seal()
    before, window = rig.versions(b"a"), rig.instants.window()
    plain = rig.journal.read

    def trimmed_first(cursor: Cursor) -> Iterator[LoggedRecord]:
        rig.instants.trim(JournalPolicy(keep_ns=0))
        return plain(cursor)

    monkeypatch.setattr(rig.journal, "read", trimmed_first)
    assert rig.versions(b"a") == before and len(before) == 21
    assert rig.instants.window().first == window.first, "a reader kept it"
    rig.instants.trim(JournalPolicy(keep_ns=0))
    assert rig.instants.window().first > window.first and len(rig.versions(b"a")) < 21
    rig.close()


def test_a_file_that_rests_costs_no_look_into_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"a", b"b"], [Create(0, Kind.FILE, PLAIN), Create(1, Kind.FILE, PLAIN)])
    rig.snapshot()
    rig.send([b"a", b"b"], [Write(0, 0, b"x")])
    rig.send([b"a", b"b"], [Write(1, 0, b"x")])
    rig.fold.fold_all()
    monkeypatch.setattr(rig.journal, "read", None)
    assert [version.sequence for version in rig.versions(b"a")] == [3, 1]
    rig.close()


@pytest.mark.parametrize("statement", ["touched", "brief"])
def test_what_is_asked_for_one_node_is_found_by_an_index(tmp_path: Path, statement: str) -> None:
    rig = ShareRig(tmp_path)
    asked = {
        "touched": ("SELECT sequence, runs FROM touched WHERE node=? AND gone=0 AND sequence BETWEEN ? AND ?", (1, 2, 3)),
        "brief": ("SELECT parent FROM brief WHERE node=? ORDER BY born DESC", (1,)),
    }
    plan = " ".join(row[3] for row in rig.reader.query("EXPLAIN QUERY PLAN " + asked[statement][0], asked[statement][1]))
    assert "SEARCH" in plan and "SCAN" not in plan and "TEMP B-TREE" not in plan
    rig.close()
