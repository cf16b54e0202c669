"""Control records: journaled before they are answered, applied once, and found again when the catalogue is lost."""

from pathlib import Path

import pytest

from core.database import open_database, transaction
from snapshots.control_format import (
    Control,
    HoldReleased,
    HoldSet,
    PolicySet,
    Sealed,
    SnapshotDeleted,
    SnapshotDropped,
    SnapshotLabelled,
    SnapshotTaken,
    SnapshotUndeleted,
    decode_control,
    encode_control,
)
from snapshots.ledger_db import Hold, LedgerWriter
from snapshots.share_fold import MomentGone
from staging.changes import Attributes, Barrier, Create, Kind, Mirror, Unlink
from staging.protocol import Position
from tests.share_rig import ShareRig, listing

PLAIN = Attributes(0o644, 0, 0, 5)
RECORDS: list[Control] = [
    SnapshotTaken(3, 77, 5, "noon", "command", 1, 9),
    SnapshotLabelled(10, 3, "after lunch"),
    HoldSet(11, 3, "audit", "carol", "asked for by the auditors", 0),
    HoldReleased(12, 3, "audit"),
    SnapshotDeleted(13, 3, 100, 200, "policy"),
    SnapshotUndeleted(14, 3),
    SnapshotDropped(15, 3),
    PolicySet(16, b"{}", 5, 6),
    Sealed(17, 9, bytes(32), True, 5),
]


@pytest.fixture
def rig(tmp_path: Path) -> ShareRig:
    return ShareRig(tmp_path)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_control_record_is_read_as_it_was_written(record: Control) -> None:
    assert decode_control(encode_control(record)) == record


def test_a_snapshot_of_the_first_release_is_read() -> None:
    assert decode_control(bytes.fromhex("97010348 05 a4 6e6f6f6e a7 636f6d6d616e64 01")) == SnapshotTaken(
        3, 72, 5, "noon", "command", 1, 0
    )


def test_holds_labels_and_deletions_survive_the_loss_of_the_catalogue(rig: ShareRig) -> None:
    rig.send([b"a"], [Mirror(True), Create(0, Kind.FILE, PLAIN), Mirror(False)])
    first, second, third = rig.snapshot("one").id, rig.snapshot("two").id, rig.snapshot("three").id
    rig.fold.order(lambda number, at: HoldSet(number, first, "audit", "carol", "why", 0))
    rig.fold.order(lambda number, at: HoldSet(number, first, "short", "carol", "why", 5))
    rig.fold.order(lambda number, at: HoldReleased(number, first, "short"))
    rig.fold.order(lambda number, at: SnapshotLabelled(number, second, "renamed"))
    rig.fold.order(lambda number, at: SnapshotDeleted(number, second, 7, 8, "by hand"))
    rig.fold.order(lambda number, at: SnapshotDropped(number, third))
    rig.fold.order(lambda number, at: PolicySet(number, b'{"a":1}'))
    rig.fold.fold_all()
    before = (rig.reader.ledger.snapshots(deleted=True), rig.reader.ledger.holds(), rig.reader.ledger.policy())
    assert [(row.id, row.label, row.deleted_ns) for row in before[0]] == [(first, "one", 0), (second, "renamed", 7)]
    assert before[1:] == ({first: [Hold(first, "audit", "carol", "why", 0)]}, b'{"a":1}')
    rig.lose_catalogue()
    rig.fold.fold_all()
    assert (rig.reader.ledger.snapshots(deleted=True), rig.reader.ledger.holds(), rig.reader.ledger.policy()) == before


def test_a_record_that_a_crash_left_unapplied_holds_and_its_number_is_not_given_again(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    taken = rig.snapshot("one")
    journaled = HoldSet(2, taken.id, "audit", "carol", "why", 0)

    def build(position: Position) -> bytes:
        return encode_control(journaled)

    rig.journal.sync(rig.journal.append_control(build))
    rig.reopen()
    assert rig.fold.order(lambda number, at: SnapshotLabelled(number, taken.id, "x")).number == 3
    assert list(rig.reader.ledger.holds()) == [taken.id]


def test_records_of_the_past_are_not_applied_again_by_the_fold(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    taken = rig.snapshot("one")
    rig.fold.order(lambda number, at: SnapshotDeleted(number, taken.id, 7, 8, ""))
    rig.fold.order(lambda number, at: SnapshotUndeleted(number, taken.id))
    rig.fold.order(lambda number, at: SnapshotDropped(number, taken.id))
    rig.fold.fold_all()
    rig.reopen()
    rig.fold.fold_all()
    assert rig.reader.ledger.snapshots(deleted=True) == []


def test_a_snapshot_knows_whether_the_share_was_good(rig: ShareRig) -> None:
    rig.send([b"a"], [Mirror(True), Create(0, Kind.FILE, PLAIN)])
    rig.snapshot("while mirroring")
    rig.send([b"a"], [Mirror(False)])
    rig.snapshot("good")
    rig.send([b"a", b"b"], [Unlink(1)])
    rig.snapshot("after what did not fit")
    assert [row.good for row in rig.reader.ledger.snapshots()] == [None, None, None]
    rig.fold.fold_all()
    assert [row.good for row in rig.reader.ledger.snapshots()] == [0, 1, 0]


def test_only_what_is_kept_can_be_leased_and_a_lease_of_a_dead_process_is_none(rig: ShareRig) -> None:
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    taken = rig.snapshot()
    rig.send([b"a"], [Unlink(0)])
    rig.fold.fold_all()
    with pytest.raises(MomentGone), rig.fold.lease(taken.sequence + 5):
        pass
    with rig.fold.lease(taken.sequence) as sequence:
        rig.fold.order(lambda number, at: SnapshotDropped(number, taken.id))
        assert rig.reader.ledger.fence_before(sequence) == sequence
        assert b"a" in listing(rig.reader.view(sequence))
    assert rig.reader.ledger.fence_before(sequence) == 0
    database = open_database(rig.fold.path)
    with transaction(database.conn):
        LedgerWriter(database.conn).add_lease(2)
    assert rig.reader.ledger.fence_before(99) == 2
    rig.reopen()
    assert rig.reader.ledger.fence_before(99) == 0


@pytest.mark.parametrize("sealed", [False, True])
def test_a_barriers_id_is_the_same_again_when_a_snapshot_before_it_was_dropped_while_the_fold_was_behind(
    tmp_path: Path, sealed: bool
) -> None:
    """Else a hold would come back for another snapshot, or for none, and a removal would take another one away."""
    rig = ShareRig(tmp_path)
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    kept = rig.snapshot("kept")
    first = rig.snapshot("first")
    rig.fold.fold_all()
    rig.send([b"b"], [Create(0, Kind.FILE, PLAIN), Barrier("asked for by the branch")])
    rig.fold.order(lambda number, _: SnapshotDropped(number, first.id))
    if sealed:
        rig.sealer.seal()
    rig.fold.fold_all()
    barrier = rig.reader.ledger.snapshots()[-1]
    assert barrier.trigger == "barrier"
    rig.fold.order(lambda number, _: HoldSet(number, barrier.id, "audit", "anna", "asked for", 0))
    rows, holds = rig.reader.ledger.snapshots(), rig.reader.ledger.holds()
    for _ in range(2):
        rig.lose_catalogue()
        rig.fold.fold_all()
        assert (rig.reader.ledger.snapshots(), rig.reader.ledger.holds()) == (rows, holds)
    assert [row.id for row in rows] == [kept.id, barrier.id]
    assert set(holds) == {barrier.id}


def test_a_hold_longer_than_the_catalogue_can_write_down_stops_no_fold(rig: ShareRig) -> None:
    """An earlier release journaled such holds, and met them again at every start."""
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN)])
    kept = rig.snapshot("kept")
    rig.fold.order(lambda number, _: HoldSet(number, kept.id, "audit", "anna", "asked for", 2**64 - 1))
    for again in (rig.reopen, rig.lose_catalogue):
        again()
        rig.send([b"b"], [Create(0, Kind.FILE, PLAIN)])
        rig.fold.fold_all()
        assert [hold.expires_ns for hold in rig.reader.ledger.holds()[kept.id]] == [2**63 - 1]
