"""verify-seal: a sound catalogue equals its seals, and whatever was changed behind their back is named."""

from pathlib import Path

import pytest

from core.database import open_database
from snapshots.control_format import HoldReleased, HoldSet, SnapshotDropped, SnapshotLabelled, SnapshotTaken
from snapshots.seal_verify import NeverSealed, SealVerdict, verify_seals
from staging.changes import Attributes, Content, Create, Kind, Mirror, Unlink
from tests.share_rig import ShareRig

PLAIN = Attributes(0o644, 0, 0, 5)


@pytest.fixture
def rig(tmp_path: Path) -> ShareRig:
    made = ShareRig(tmp_path)
    names = [b"a", b"b", b"c"]
    made.send(names, [Mirror(True), *[Create(n, Kind.FILE, PLAIN) for n in range(3)], Mirror(False)])
    held = made.snapshot().id
    made.fold.fold_all()
    made.sealer.seal()
    made.send(names, [Content(0, made.put(b"changed")), Unlink(2)])
    made.snapshot()
    made.fold.fold_all()
    made.sealer.seal()
    made.fold.order(lambda number, _: HoldSet(number, held, "audit", "anna", "asked for", 0))
    return made


def verify(rig: ShareRig) -> SealVerdict:
    scratch = rig.folder / "scratch.db"
    try:
        return verify_seals(rig.folder / "share.db", rig.journal, rig.store, scratch, lambda done, total: None)
    finally:
        assert not list(rig.folder.glob("scratch*")), "nothing is left behind"


def change(rig: ShareRig, statement: str) -> None:
    database = open_database(rig.folder / "share.db")
    assert database.conn.execute(statement).rowcount > 0
    database.conn.close()


def test_a_sound_catalogue_equals_its_seals(rig: ShareRig) -> None:
    verdict = verify(rig)
    assert (verdict.seals, verdict.differences) == (2, ())
    assert verdict.rows == 3 + 5 + 2 + 1, "names, one of them closed; states of root, a (twice), b and c; snapshots; a hold"
    rig.send([b"b"], [Unlink(0)])
    rig.fold.fold_all()
    assert verify(rig).differences == (), "what happened behind the seal is none of its business"


def test_what_was_dropped_and_swept_is_no_difference(rig: ShareRig) -> None:
    first = rig.reader.ledger.snapshots()[0]
    rig.fold.order(lambda number, _: SnapshotDropped(number, first.id))
    assert verify(rig).differences == ()
    assert rig.fold.sweep() > 0
    assert verify(rig).differences == ()


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE state SET size=size+1 WHERE content IS NOT NULL", "state"),
        ("UPDATE state SET mode=511 WHERE node=3", "state 3"),
        ("DELETE FROM entry WHERE name=x'62'", "entry 1 b'b': sealed, not there"),
        ("UPDATE entry SET died=7 WHERE name=x'62'", "entry 1 b'b'"),
        ("INSERT INTO entry VALUES (1, x'7a', 3, 9223372036854775807, 2)", "entry 1 b'z': not sealed"),
        ("UPDATE owner SET user=x'78'", "state"),
        ("UPDATE snapshot SET sequence=sequence-1 WHERE id=9", "snapshot 9"),
        ("UPDATE snapshot SET label='other' WHERE id=6", "snapshot 6"),
        ("DELETE FROM snapshot WHERE id=6", "snapshot 6 5: sealed, not there"),
        ("UPDATE hold SET expires_ns=1", "hold 6 'audit'"),
        ("DELETE FROM hold", "hold 6 'audit': sealed, not there"),
    ],
)
def test_a_catalogue_that_was_changed_is_named(rig: ShareRig, statement: str, told: str) -> None:
    change(rig, statement)
    assert any(difference.startswith(told) for difference in verify(rig).differences)


def test_a_share_without_a_seal_says_so(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    with pytest.raises(NeverSealed):
        verify(rig)


def test_what_was_done_to_snapshots_since_the_seal_is_no_difference(rig: ShareRig) -> None:
    first, second = (row.id for row in rig.reader.ledger.snapshots())
    rig.fold.order(lambda number, _: SnapshotLabelled(number, second, "renamed"))
    rig.fold.order(lambda number, _: SnapshotTaken(number + 100, 6, 9, "of the past", "burst", 1, number, 7))
    rig.snapshot("of the sequence that is sealed")
    rig.send([b"b"], [Unlink(0)])
    rig.snapshot("ahead of the seal")
    rig.fold.order(lambda number, _: HoldReleased(number, first, "audit"))
    assert verify(rig).differences == (), "with acts that the fold has not come to"
    rig.fold.fold_all()
    assert verify(rig).differences == ()
    rig.lose_catalogue()
    rig.fold.fold_all()
    assert verify(rig).differences == ()
    change(rig, "UPDATE snapshot SET label='other' WHERE label='of the past'")
    assert len(verify(rig).differences) == 2
