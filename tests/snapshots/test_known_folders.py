"""Folders at hand: bounded whatever the tree, and never the truth of anything."""

import random
import tracemalloc
from pathlib import Path

import pytest

from core.relpath import ROOT, RelPath
from snapshots.known_folders import KnownFolders
from snapshots.schema_db import ROOT_NODE
from staging.changes import Create, Kind
from tests.share_rig import ShareRig, listing
from tests.snapshots.fold_machine import FOLDER, PATHS, history


def test_what_is_held_is_bounded_by_bytes_and_the_newest_is_at_hand() -> None:
    known = KnownFolders(held_bytes=10_000)
    for number in range(1000):
        path = RelPath(b"%04d" % number * (1 + number % 50))
        known.put(path, number)
        assert known.get(path) == number and known.get(ROOT) == ROOT_NODE
        assert len(known) <= 10_000 // 150 + 1
    known.forget()
    assert len(known) == 1 and known.get(ROOT) == ROOT_NODE


def test_a_path_longer_than_all_that_may_be_held_is_known_alone() -> None:
    known = KnownFolders(held_bytes=200)
    known.put(RelPath(b"a" * 4000), 5)
    assert known.get(RelPath(b"a" * 4000)) == 5
    known.put(RelPath(b"b"), 6)
    assert known.get(RelPath(b"a" * 4000)) is None and known.get(RelPath(b"b")) == 6


def test_a_fold_of_many_folders_does_not_hold_them(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"top"], [Create(0, Kind.FOLDER, FOLDER)])
    rig.fold.fold_all()
    tracemalloc.start()
    try:
        for part in range(14):
            paths = [b"top/%d-%d-%s" % (part, number, b"n" * 240) for number in range(1000)]
            rig.send(paths, [Create(number, Kind.FOLDER, FOLDER) for number in range(1000)])
            rig.fold.fold_all()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 4_000_000, "14,000 paths of 250 bytes would be more than 5 MB"
    rig.close()


@pytest.mark.parametrize("seed", range(4))
def test_what_is_forgotten_changes_no_outcome(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    for forgetful in (False, True):
        if forgetful:
            monkeypatch.setattr(KnownFolders, "put", lambda self, path, node: self.forget())
        chance = random.Random(seed)
        rig = ShareRig(tmp_path / str(forgetful))
        contents: list[object] = [rig.put(data) for data in (b"", b"small")]
        changes = history(chance, contents, 300)
        for first in range(0, len(changes), 5):
            rig.send(PATHS, changes[first : first + 5])
        shown.append((listing(rig.live()), rig.fold.totals, rig.fold.state))
        rig.close()
    assert shown[0] == shown[1]
