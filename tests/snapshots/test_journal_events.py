"""What the journal tells about a path: every change of its nodes, under every name, and nothing that did not happen."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from core.relpath import RelPath
from snapshots.history import NeverThere
from snapshots.journal_events import Event
from snapshots.share_fold import ANCHORED
from staging.changes import Change, Create, Group, Kind, Link, Mirror, Rename, SetAttributes, Truncate, Unlink, Write
from staging.journal_scan import LoggedRecord
from tests.share_rig import ShareRig, listing
from tests.snapshots.fold_machine import PATHS
from tests.snapshots.test_instants import FOLDER, PLAIN, history
from tests.snapshots.test_versions import seen_at


def events(rig: ShareRig, path: bytes, after: tuple[int, int] = (0, 0)) -> list[Event]:
    rig.fold.fold_all()
    with rig.instants.events(RelPath(path), after) as found:
        return list(found)


def told(rig: ShareRig, path: bytes) -> list[tuple[object, ...]]:
    return [(e.sequence, e.what, e.path, e.offset, e.length, e.size_bytes) for e in events(rig, path)]


def test_a_file_is_followed_through_groups_links_and_renames(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"a", b"b", b"c", b"d", b"d/f"]
    rig.send(paths, [Create(0, Kind.FILE, PLAIN), Write(0, 5, b"12345"), Write(0, 10, b"67"), Write(3, 0, b"misfit")])
    rig.send(paths, [Group((Write(0, 1, b"x"), Rename(0, 1), SetAttributes(1, FOLDER))), Create(3, Kind.FOLDER, FOLDER)])
    rig.send(paths, [Group((Write(1, 7, b"undone"), Rename(2, 0))), Truncate(1, 4), Link(2, 1)])
    rig.send(paths, [Write(2, 0, b"by its other name"), Unlink(1), Rename(2, 4)])
    assert told(rig, b"d/f") == [
        (1, "create", b"a", None, None, 0),
        (2, "write", b"a", 5, 5, None),
        (3, "write", b"a", 10, 2, None),
        (5, "write", b"a", 1, 1, None),
        (5, "rename", b"b", None, None, None),
        (5, "attributes", b"b", None, None, None),
        (8, "truncate", b"b", None, None, 4),
        (9, "link", b"c", None, None, None),
        (10, "write", b"c", 0, 17, None),
        (11, "unlink", b"b", None, None, None),
        (12, "rename", b"d/f", None, None, None),
    ]
    everything = events(rig, b"d/f")
    for place, event in enumerate(everything):
        assert events(rig, b"d/f", event.mark) == everything[place + 1 :]
    with pytest.raises(NeverThere):
        events(rig, b"nothing")
    rig.close()


def test_what_took_a_name_away_is_told(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"a", b"b", b"d", b"d/f", b"k"]
    rig.send(paths, [Create(0, Kind.FILE, PLAIN), Create(1, Kind.FILE, PLAIN), Create(2, Kind.FOLDER, FOLDER)])
    rig.send(paths, [Create(3, Kind.FILE, PLAIN), Create(4, Kind.FILE, PLAIN)])
    rig.snapshot()
    rig.send(paths, [Rename(0, 1), Unlink(2), Mirror(True), Create(1, Kind.FILE, PLAIN), Mirror(False)])
    assert [line[:3] for line in told(rig, b"b")] == [
        (1, "create", b"a"), (2, "create", b"b"), (6, "rename", b"b"), (6, "unlink", b"b"),
    ]  # fmt: skip
    assert [line[:3] for line in told(rig, b"d/f")] == [(4, "create", b"d/f"), (7, "unlink", b"d")]
    assert [line[:3] for line in told(rig, b"k")] == [(5, "create", b"k"), (10, "unlink", None)]
    rig.close()


def test_a_file_that_came_and_went_between_two_fences_is_followed(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"a", b"b", b"d", b"d/f"]
    rig.snapshot()
    rig.send(paths, [Create(0, Kind.FILE, PLAIN), Write(0, 0, b"12")])
    rig.send(paths, [Rename(0, 1), Write(1, 2, b"3")])
    rig.send(paths, [Unlink(1), Create(2, Kind.FOLDER, FOLDER), Create(3, Kind.FILE, PLAIN)])
    rig.send(paths, [Create(1, Kind.FILE, PLAIN), Unlink(2)])
    rig.snapshot()
    went = [(1, "create", b"a"), (2, "write", b"a"), (3, "rename", b"b"), (4, "write", b"b"), (5, "unlink", b"b")]
    assert [line[:3] for line in told(rig, b"a")] == went
    assert [line[:3] for line in told(rig, b"b")] == [*went, (8, "create", b"b")]
    assert [line[:3] for line in told(rig, b"d/f")] == [(7, "create", b"d/f"), (9, "unlink", b"d")]
    rig.close()


def test_what_a_mirror_laid_first_is_told(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"a", b"d", b"d/f"]
    laid: list[Change] = [Create(0, Kind.FILE, PLAIN), Create(1, Kind.FOLDER, FOLDER), Create(2, Kind.FILE, PLAIN)]
    rig.send(paths, [Mirror(True), *laid, Write(0, 0, b"1")])
    rig.send(paths, [Mirror(False), Write(0, 1, b"2")])
    assert [line[:3] for line in told(rig, b"a")] == [(2, "create", b"a"), (5, "write", b"a"), (7, "write", b"a")]
    assert [line[:3] for line in told(rig, b"d/f")] == [(4, "create", b"d/f")]
    everything = events(rig, b"a")
    assert events(rig, b"a", everything[0].mark) == everything[1:] and events(rig, b"a", everything[1].mark) == everything[2:]
    rig.close()


def test_no_event_is_lost_where_one_frame_holds_very_many_of_a_name(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"a"], [change for _ in range(1500) for change in (Create(0, Kind.FILE, PLAIN), Unlink(0))])
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    assert [event.sequence for event in events(rig, b"a")] == list(range(1, 3002))
    rig.close()


@pytest.mark.parametrize("seed", range(6))
def test_every_change_that_is_seen_at_a_name_is_told(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rig = ShareRig(tmp_path, limits=replace(ANCHORED, changes=chance.choice([3, 20])))
    contents: list[object] = [rig.put(data) for data in (b"", b"small", bytes(range(256)) * 300)]
    changes = history(chance, contents, 150)
    while changes:
        size = chance.randint(1, 7)
        rig.send(PATHS, changes[:size])
        changes = changes[size:]
        if chance.random() < 0.15:
            rig.snapshot()
    rig.fold.fold_all()
    last = rig.fold.sequence
    views = [rig.at(f"seq:{number}") for number in range(last + 1)]
    for path in (path for path in PATHS if path and b"/" not in path):
        seen = [seen_at(view, path) for view in views]
        differ = {number for number in range(1, last + 1) if seen[number] != seen[number - 1]}
        assert differ <= ({event.sequence for event in events(rig, path)} if differ else set())
    rig.close()


def test_only_frames_that_concern_the_path_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"a", b"b"], [Create(0, Kind.FILE, PLAIN), Create(1, Kind.FILE, PLAIN)])
    for number in range(300):
        rig.send([b"a", b"b"], [Write(0 if number % 100 == 50 else 1, number, b"x")])
    rig.fold.fold_all()
    read: list[LoggedRecord] = []
    plain = rig.journal.read
    monkeypatch.setattr(rig.journal, "read", lambda cursor: (read.append(record) or record for record in plain(cursor)))
    assert [event.offset for event in events(rig, b"a")] == [None, 50, 150, 250]
    assert len(read) == 4
    rig.close()


@pytest.mark.parametrize("seed", range(6))
def test_every_change_of_a_node_is_noted(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rig = ShareRig(tmp_path, limits=replace(ANCHORED, changes=5))
    contents: list[object] = [rig.put(data) for data in (b"", b"small", bytes(range(256)) * 300)]
    changes: list[Change] = history(chance, contents, 250)
    before = nodes(rig)
    missed = []
    for number, change in enumerate(changes, start=1):
        rig.send(PATHS, [change])
        now = nodes(rig)
        differ = {node for node in before.keys() | now.keys() if before.get(node) != now.get(node)}
        noted = {row[0] for row in rig.reader.query("SELECT node FROM touched WHERE sequence = ?", (number,))}
        mirrored = now.keys() - before.keys() if isinstance(change, Create | Link) else set()
        if not differ - mirrored <= noted:
            missed.append((number, change, differ - noted))
        before = now
    assert missed == []
    rig.close()


def nodes(rig: ShareRig) -> dict[int, object]:
    """Return what each node is and under which names it stands."""
    view = rig.live()
    shown = listing(view)
    ids = {path: view.node_at(path).id for path in shown}  # type: ignore[arg-type]
    names: dict[int, set[object]] = {}
    for path, node in ids.items():
        folder, _, name = path.rpartition(b"/")
        names.setdefault(node, set()).add((ids[folder] if path else 0, name))
    return {ids[path]: (what[:4], names[ids[path]]) for path, what in shown.items()}
