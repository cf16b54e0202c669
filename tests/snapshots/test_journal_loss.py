"""The oldest segments of a journal removed by somebody: nothing goes on as if they had never been, and what is gone is told."""

import random
from dataclasses import replace
from pathlib import Path

import pytest

from core.relpath import RelPath
from snapshots.journal_loss import JournalLoss, journal_loss
from snapshots.journal_retention import JournalPolicy
from snapshots.purging import finish_purge, order_purge
from snapshots.share_fold import ANCHORED, ChangesLost
from staging.changes import Create, Kind
from tests.share_rig import ShareRig, listing
from tests.snapshots.fold_machine import PLAIN


def segments(rig: ShareRig) -> list[Path]:
    return sorted((rig.folder / "journal").glob("*.skj"))


def filled(folder: Path, folded: int, sealed: int = 0) -> ShareRig:
    """Return a share of eight changes in segments of two, of which some are folded and some of those sealed."""
    rig = ShareRig(folder, limits=replace(ANCHORED, changes=2))
    for number in range(1, 9):
        rig.send([b"f%d" % number], [Create(0, Kind.FILE, PLAIN, rig.put(b"%d" % number))])
        if number <= folded:
            rig.fold.fold_all()
        if number == sealed:
            rig.snapshot()
            rig.fold.fold_all()
            rig.sealer.seal()
        if number % 2 == 0:
            rig.journal.begin_segment()
    return rig


def lost(rig: ShareRig) -> JournalLoss | None:
    return journal_loss(rig.journal, rig.reader, rig.fold.sequence)


def names(rig: ShareRig) -> set[bytes]:
    return set(listing(rig.reader.view(rig.fold.sequence))) - {b""}


@pytest.mark.parametrize("is_folded_by_hand", [False, True])
def test_changes_that_were_never_folded_are_not_passed_over(tmp_path: Path, is_folded_by_hand: bool) -> None:
    rig = filled(tmp_path, folded=3)
    gone = {path: path.read_bytes() for path in segments(rig)[:3]}
    rig.close()
    for path in gone:
        path.unlink()
    rig._open()
    with pytest.raises(ChangesLost, match="changes 4 to 6"):
        rig.fold.fold() if is_folded_by_hand else rig.fold.fold_all()
    assert names(rig) == {b"f1", b"f2", b"f3"}, "what was folded is read as before"
    loss = lost(rig)
    assert loss is not None and (loss.first, loss.last) == (1, 6) and list(loss.lost_for_good) == [4, 5, 6]
    rig.close()
    for path, data in gone.items():
        path.write_bytes(data)
    rig._open()
    rig.fold.fold_all()
    assert names(rig) == {b"f%d" % number for number in range(1, 9)} and lost(rig) is None
    rig.close()


def test_a_journal_that_holds_no_change_any_more_is_no_endless_fold(tmp_path: Path) -> None:
    rig = filled(tmp_path, folded=3)
    rig.close()
    for path in segments(rig)[:-1]:
        path.unlink()
    rig._open()
    with pytest.raises(ChangesLost, match="changes 4 to 8"):
        rig.fold.fold_all()
    rig.close()


@pytest.mark.parametrize(("sealed", "alone"), [(0, [1, 2, 3, 4]), (3, [4]), (6, [])])
def test_what_is_folded_but_not_sealed_stands_in_the_catalogue_alone(tmp_path: Path, sealed: int, alone: list[int]) -> None:
    rig = filled(tmp_path, folded=8, sealed=sealed)
    for path in segments(rig)[:2]:
        path.unlink()
    loss = lost(rig)  # found while it is open, too
    assert loss is not None and (loss.first, loss.last) == (1, 4)
    assert list(loss.lost_for_good) == [] and list(loss.in_catalogue_only) == alone
    rig.reopen()
    assert lost(rig) == loss and names(rig) == {b"f%d" % number for number in range(1, 9)}
    rig.close()


def test_it_is_told_until_the_journal_is_trimmed_past_that_place(tmp_path: Path) -> None:
    rig = filled(tmp_path, folded=8, sealed=8)
    segments(rig)[0].unlink()
    rig.reopen()
    assert lost(rig) is not None
    rig.instants.trim(JournalPolicy(keep_ns=0))
    assert lost(rig) is None and names(rig) == {b"f%d" % number for number in range(1, 9)}
    rig.close()


@pytest.mark.parametrize("seed", range(8))
def test_what_the_appliance_trims_itself_is_no_loss(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rig = ShareRig(tmp_path, limits=replace(ANCHORED, changes=3))
    for number in range(40):
        rig.send([b"f%d" % number], [Create(0, Kind.FILE, PLAIN)])
        act = chance.randrange(9)
        if act == 0:
            rig.journal.begin_segment()
        elif act == 1:
            rig.snapshot()
            rig.fold.fold_all()
            rig.sealer.seal()
        elif act == 2:
            rig.instants.trim(JournalPolicy(keep_ns=0))
        elif act == 3:
            rig.reopen()
        elif act == 4 and number % 4 == 0:
            order_purge(rig.fold, RelPath(b"f%d" % chance.randrange(number + 1)), rig.clock.now_ns())
            while not finish_purge(rig.journal, rig.fold, rig.reader, rig.sealer):
                pass
        elif act == 5 and number % 3 == 0:
            rig.lose_catalogue()
        assert lost(rig) is None
    rig.snapshot()
    rig.fold.fold_all()
    rig.sealer.seal()
    rig.journal.begin_segment()
    rig.instants.trim(JournalPolicy(keep_ns=0))
    assert rig.journal.kept_behind() > 0 and lost(rig) is None
    rig.close()
