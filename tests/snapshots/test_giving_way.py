"""A fold beside others: who waits for the share gets it, frames are taken in parts, and one fold runs at a time."""

import random
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from core.relpath import ROOT
from snapshots.fold_pace import CHANGES_A_TRANSACTION, LEAST_CHANGES, MOST_GIVEN_UP, FoldPace, GaveWay
from snapshots.pending_edits import HELD_BYTES
from snapshots.turns import Turns
from staging.changes import Attributes, Barrier, Change, Create, Group, Kind, Mirror, Rename, SetAttributes, Unlink, Write
from tests.faulty_files import FaultyFiles
from tests.share_rig import ShareRig, listing

pytestmark = pytest.mark.in_memory

PLAIN = Attributes(0o644, 0, 0, 7)


class PausedFiles(FaultyFiles):
    """Holds the next sync of a pack, once it is armed, until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.armed = False
        self.reached, self.go_on = threading.Event(), threading.Event()

    def sync(self, descriptor: int) -> None:
        if self.armed and self._paths[descriptor].suffix == ".skp":
            self.armed = False
            self.reached.set()
            assert self.go_on.wait(30)
        super().sync(descriptor)


def while_it_folds(rig: ShareRig, files: PausedFiles, work: Callable[[], None]) -> None:
    """Fold everything, and do the work in another thread, begun while the fold is about to sync a pack."""
    files.armed = True
    fold = threading.Thread(target=rig.fold.fold_all)
    fold.start()
    assert files.reached.wait(30)
    other = threading.Thread(target=work)
    other.start()
    while not rig.fold.turns.is_wanted:
        threading.Event().wait(0.001)
    files.go_on.set()
    other.join()
    fold.join()


def test_a_snapshot_gets_its_turn_inside_a_frame_that_has_much_more_to_do(tmp_path: Path) -> None:
    files = PausedFiles()
    rig = ShareRig(tmp_path, files)
    names = [b"f%04d" % number for number in range(3000)]
    creates: list[Change] = [Create(number, Kind.FILE, PLAIN) for number in range(len(names))]
    rig.send(names, [creates[0], Write(0, 0, b"synced before the barrier"), Barrier(""), *creates[1:]])
    seen: list[int] = []

    def take() -> None:
        with rig.fold.turns.taken():
            seen.append(rig.fold.sequence)
            seen.append(rig.snapshot().sequence)

    while_it_folds(rig, files, take)
    assert seen == [LEAST_CHANGES, 3002]
    rig.reopen()
    assert len(listing(rig.live())) == 3001
    rig.close()


def test_a_transaction_whose_writes_would_take_long_is_given_up_for_who_waits(tmp_path: Path) -> None:
    files = PausedFiles()
    rig = ShareRig(tmp_path, files)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN)])
    rig.fold.fold_all()
    offsets = random.Random(1).sample(range(0, 200_000_000, 200_000), 800)
    rig.send([b"f"], [Write(0, offset, b"%d" % offset) for offset in offsets])
    seen: list[int] = []

    def look() -> None:
        with rig.fold.lease() as sequence:
            seen.append(sequence)

    while_it_folds(rig, files, look)
    assert seen == [1] and rig.fold.sequence == 801
    view = rig.live()
    content = view.node_at(b"f").content  # type: ignore[arg-type]
    assert all(view.read(content, offset, len(b"%d" % offset)) == b"%d" % offset for offset in offsets)
    rig.close()


def test_transactions_shrink_when_they_are_given_up_and_after_so_many_one_is_not() -> None:
    pace = FoldPace()
    for _ in range(MOST_GIVEN_UP):
        part = pace.slice(CHANGES_A_TRANSACTION, lambda: True)
        while not part.ends_behind_change():
            pass
        assert part.changes == LEAST_CHANGES
        with pytest.raises(GaveWay):
            part.give_way(10**6)
        pace.gave_way(part.changes)
    stubborn = pace.slice(CHANGES_A_TRANSACTION, lambda: True)
    assert not stubborn.ends_behind_record(), "so little is not worth a transaction that others wait for"
    while not stubborn.ends_behind_change():
        stubborn.give_way(10**6)
    assert stubborn.changes == LEAST_CHANGES and stubborn.ends_behind_record()
    stubborn.give_way(10**6)
    pace.went_on()
    with pytest.raises(GaveWay):
        pace.slice(CHANGES_A_TRANSACTION, lambda: True).give_way(10**6)
    pace.slice(CHANGES_A_TRANSACTION, lambda: True).give_way(1)
    pace.slice(CHANGES_A_TRANSACTION, lambda: False).give_way(10**6)
    for _ in range(60):
        pace.went_on()
    patient = pace.slice(CHANGES_A_TRANSACTION, lambda: False)
    while not patient.ends_behind_record():
        patient.ends_behind_change()
    assert patient.changes == CHANGES_A_TRANSACTION


def test_a_fold_comes_to_its_end_though_somebody_always_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN)])
    rig.fold.fold_all()
    for start in range(0, 120, 10):
        rig.send([b"f"], [Write(0, number * 300_000, b"%d" % number) for number in range(start, start + 10)])
    monkeypatch.setattr(Turns, "is_wanted", True)
    rig.fold.fold_all()
    assert rig.fold.sequence == 121
    monkeypatch.undo()
    view = rig.live()
    content = view.node_at(b"f").content  # type: ignore[arg-type]
    assert all(view.read(content, number * 300_000, 3)[: len(b"%d" % number)] == b"%d" % number for number in range(120))
    rig.close()


def rows(rig: ShareRig) -> list[object]:
    tables = ("entry", "state", "touched", "snapshot", "problem", "anchor", "moment")
    return [rig.reader.query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


@pytest.mark.parametrize("restarts", [False, True])
def test_frames_that_are_taken_in_parts_leave_the_same_rows(tmp_path: Path, restarts: bool) -> None:
    whole = ShareRig(tmp_path / "whole")
    names = [b"d", b"d/a", b"d/b", b"c", b"none/x"]
    files: list[Change] = [Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FILE, PLAIN), Create(3, Kind.FILE, PLAIN)]
    first: list[Change] = [Mirror(True), *files, Mirror(False), Barrier("")]
    chance = random.Random(5)
    for _ in range(4):
        more: list[Change] = []
        for _ in range(12):
            offset = chance.randrange(100_000)
            more += [Write(1, offset, b"x"), Write(3, offset, b"y"), SetAttributes(0, PLAIN), Unlink(4), Barrier("b")]
            more += [Group((Rename(1, 2), Write(2, offset, b"g"), Rename(2, 1))), Group((Write(3, 1, b"undone"), Unlink(4)))]
        whole.send(names, [*first, *more])
        first = []
    whole.send(names, [Mirror(True), *files[:2], Write(1, 3, b"z"), Barrier(""), Create(2, Kind.FILE, PLAIN), Mirror(False)])
    shutil.copytree(whole.folder, tmp_path / "parts")
    whole.fold.fold_all()
    parts = ShareRig(tmp_path / "parts")
    while parts.fold.sequence < parts.journal.durable.sequence:
        parts.fold.fold(chance.choice([1, 2, 5]))
        if restarts:
            parts.reopen()
    assert rows(parts) == rows(whole)
    assert listing(parts.live()) == listing(whole.live())
    whole.close()
    parts.close()


def test_folds_of_two_shares_that_share_a_turn_run_one_after_the_other(tmp_path: Path) -> None:
    files, one_fold = PausedFiles(), Turns()
    first = ShareRig(tmp_path / "first", files, one_fold=one_fold)
    second = ShareRig(tmp_path / "second", one_fold=one_fold)
    for rig in (first, second):
        rig.send([b"f"], [Create(0, Kind.FILE, PLAIN), Write(0, 0, b"data")])
    files.armed = True
    threads = [threading.Thread(target=rig.fold.fold_all) for rig in (first, second)]
    threads[0].start()
    assert files.reached.wait(30)
    threads[1].start()
    while not one_fold.waiting:
        threading.Event().wait(0.001)
    taken = second.snapshot()  # does not wait for another share's fold
    assert (first.fold.sequence, second.fold.sequence, taken.sequence) == (0, 0, 2)
    files.go_on.set()
    for thread in threads:
        thread.join()
    assert len(second.live().list_folder(ROOT)) == 1
    first.close()
    second.close()


def test_large_writes_are_applied_before_they_hold_much_and_within_one_transaction(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN)])
    rig.fold.fold_all()
    chance = random.Random(1)
    for frame in range(6):
        rig.send([b"f"], [Write(0, (frame * 100 + number) * 70_000, chance.randbytes(70_000)) for number in range(100)])
    held: list[int] = []
    original = rig.fold._records.changes._flush_edits

    def note_then_flush() -> None:
        held.append(sum(len(data) for _, edits in rig.fold._records.tree.edits.items() for _, _, data in edits.extents()))
        original()

    rig.fold._records.changes._flush_edits = note_then_flush  # type: ignore[method-assign]
    assert rig.fold.fold() == 600
    assert len(held) == 2 and all(HELD_BYTES - 70_000 < size <= HELD_BYTES + 70_000 for size in held)
    rig.close()
