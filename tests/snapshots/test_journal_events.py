"""What the journal tells about a path: every change of its nodes, under every name, and nothing that did not happen."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from core.relpath import RelPath
from snapshots.history import NeverThere
from snapshots.journal_events import Event, events_of
from snapshots.share_fold import ANCHORED
from staging.changes import Change, Create, Group, Kind, Link, Mirror, Rename, SetAttributes, Truncate, Unlink, Write
from staging.journal_scan import LoggedRecord
from tests.share_rig import ShareRig, listing
from tests.snapshots.fold_machine import PATHS
from tests.snapshots.test_instants import FOLDER, PLAIN, history


def events(rig: ShareRig, path: bytes, after: tuple[int, int] = (0, 0)) -> list[Event]:
    rig.fold.fold_all()
    return list(events_of(rig.reader, rig.journal, RelPath(path), after))


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
