"""Seals, sweeps and rebuilding: whatever is dropped, sealed, swept and lost in between, what is kept stays as it was."""

import gc
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule, run_state_machine_as_test

import snapshots.sealing as sealing_module
from core.digest import Digest
from snapshots.anchors import AnchorLimits
from snapshots.catalogue_db import CatalogueWriter
from snapshots.control_format import HoldSet, SnapshotDropped
from snapshots.journal_retention import JournalPolicy
from snapshots.ledger_db import Hold
from snapshots.rebuild import seal_chain
from snapshots.seal_db import sealed_rows
from snapshots.seal_format import SealDamaged, decode_head, decode_rows, encode_head, encode_rows
from snapshots.sealing import read_head
from staging.changes import Attributes, Chunk, Content, Create, Kind, Mirror, Rename, Unlink
from staging.chunk_format import ChunkKind
from tests.share_rig import ShareRig, listing
from tests.snapshots.fold_machine import FoldMachine

PLAIN = Attributes(0o644, 0, 0, 5)


class KeepingMachine(FoldMachine):
    """Random histories in which snapshots are dropped, seals are made, rows are swept and the catalogue is lost."""

    def __init__(self) -> None:
        super().__init__()
        self.barriers: set[int] = set()

    @rule()
    def barrier(self) -> None:
        super().barrier()
        self.barriers.add(max(self.taken))

    @rule(full=st.booleans())
    def seal(self, full: bool) -> None:
        self.rig.sealer.seal(full)

    @rule()
    def sweep(self) -> None:
        while self.rig.fold.sweep():
            pass

    @precondition(lambda self: self.taken)
    @rule(chance=st.randoms(use_true_random=False))
    def drop(self, chance: random.Random) -> None:
        sequence = chance.choice(sorted(self.taken))
        if sequence > self.rig.fold.sequence and sequence in self.barriers:
            return  # a barrier's snapshot cannot be dropped before the fold has made it
        rows = [row for row in self.rig.reader.ledger.snapshots() if row.sequence == sequence]
        for row in rows:
            self.rig.fold.order(lambda number, _, row=row: SnapshotDropped(number, row.id))
        if rows:
            del self.taken[sequence]

    @precondition(lambda self: not self.pending)
    @rule()
    def lose_catalogue(self) -> None:
        newest = self.rig.reader.ledger.newest_seal()
        self.rig.lose_catalogue()
        assert self.rig.fold.sequence == (newest.sequence if newest else 0), "a rebuild begins at the newest seal"
        self.compare()


KEEPING = settings(
    max_examples=60, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
KeepingMachine.TestCase.settings = KEEPING
TestKeeping = KeepingMachine.TestCase


class TrimmingMachine(KeepingMachine):
    """The same with anchors close together and a journal that is trimmed as far as it may."""

    def __init__(self) -> None:
        super().__init__()
        self.rig: ShareRig

    @initialize()
    def start(self) -> None:
        super().start()
        self.rig.limits = AnchorLimits(changes=7)
        self.rig.reopen()

    @rule()
    def new_segment(self) -> None:
        self.rig.journal.begin_segment()

    @precondition(lambda self: not self.pending)
    @rule()
    def trim(self) -> None:
        self.rig.instants.trim(JournalPolicy(keep_ns=0, max_bytes=1))


HISTORIES = 10_000
PARTS = 8


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_ten_thousand_histories_keep_what_is_kept(part: int) -> None:
    """Lifetimes, fence, sweep and seals equal naive snapshots; rules that sixty histories do not tell were found by as many."""
    machine = TrimmingMachine if part % 2 else KeepingMachine
    many = settings(KEEPING, max_examples=HISTORIES // PARTS, phases=[Phase.generate, Phase.shrink], database=None)
    ended = itertools.count(1)

    def teardown(self: KeepingMachine) -> None:
        """Let go of the memory of stores that are gone: there are few objects, so it would not be thought of for long."""
        machine.teardown(self)
        if next(ended) % 20 == 0:
            gc.collect()

    run_state_machine_as_test(seed(part)(type("Here", (machine,), {"teardown": teardown})), settings=many)


@pytest.fixture
def rig(tmp_path: Path) -> ShareRig:
    return ShareRig(tmp_path)


def grow(rig: ShareRig, generation: int, files: int = 30) -> int:
    """Give every file another content and take a snapshot; return its sequence."""
    names = [b"%03d" % number for number in range(files)]
    if generation == 0:
        rig.send(names, [Mirror(True), *[Create(n, Kind.FILE, PLAIN) for n in range(files)], Mirror(False)])
    else:
        rig.send(names, [Content(n, rig.put(b"%d of generation %d" % (n, generation))) for n in range(files)])
    sequence = rig.snapshot(f"generation {generation}").sequence
    rig.fold.fold_all()
    return sequence


def count(rig: ShareRig, table: str) -> int:
    return int(rig.reader.query(f"SELECT count(*) FROM {table}")[0][0])


def drop(rig: ShareRig, sequence: int) -> None:
    for row in rig.reader.ledger.snapshots():
        if row.sequence == sequence:
            rig.fold.order(lambda number, _, row=row: SnapshotDropped(number, row.id))


def test_a_dropped_snapshot_gives_back_the_rows_that_only_it_saw(rig: ShareRig) -> None:
    sequences = [grow(rig, generation) for generation in range(4)]
    before = count(rig, "state")
    drop(rig, sequences[1])
    assert rig.fold.sweep() == 0, "nothing is removed whose death is not sealed"
    rig.sealer.seal()
    assert rig.fold.sweep() == 30
    assert rig.fold.sweep() == 0
    assert count(rig, "state") == before - 30
    assert count(rig, "sweep") == 0
    assert [len(listing(rig.reader.view(sequence))) for sequence in (sequences[0], *sequences[2:])] == [31] * 3


def test_rows_that_die_after_the_newest_fence_was_dropped_go_too(rig: ShareRig) -> None:
    grow(rig, 0)
    newest = grow(rig, 1)
    drop(rig, newest)
    rig.sealer.seal()
    while rig.fold.sweep():
        pass
    kept = count(rig, "state")
    grow(rig, 2)
    rig.sealer.seal()
    while rig.fold.sweep():
        pass
    assert count(rig, "state") == kept, "generation 0 and 2 stay, 1 is seen by none"


def test_what_was_sealed_is_not_changed_in_place_when_its_fence_is_gone(rig: ShareRig) -> None:
    """The next seal tells what was born and what died since; a row that was changed in place would be neither."""
    first = grow(rig, 0)
    rig.sealer.seal()
    drop(rig, first)
    rig.reopen()
    grow(rig, 1)
    seal = rig.sealer.seal()
    assert seal is not None and not seal.full
    shown = listing(rig.live())
    rig.lose_catalogue()
    assert listing(rig.live()) == shown


def test_what_is_being_sealed_is_not_changed_in_place_when_its_fence_goes(rig: ShareRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot is dropped while it is sealed, and a fold that had to begin anew goes on."""
    grow(rig, 0)
    rig.send([b"000", b"moved"], [Rename(0, 1)])
    sequence = rig.snapshot().sequence
    rig.fold.fold_all()

    def meanwhile(*arguments: object) -> Iterator[list[tuple[object, ...]]]:
        drop(rig, sequence)
        rig.send([b"moved", b"again"], [Rename(0, 1)])
        with monkeypatch.context() as patch, pytest.raises(OSError):
            patch.setattr(CatalogueWriter, "add_touched", fail)
            rig.fold.fold()
        rig.fold.fold_all()
        yield from sealed_rows(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sealing_module, "sealed_rows", meanwhile)
    assert rig.sealer.seal() is not None
    shown = listing(rig.live())
    rig.lose_catalogue()
    assert listing(rig.live()) == shown and b"again" in shown and rig.fold.state[0] == "good"


def fail(*_: object) -> None:
    raise OSError(5, "the disk fails once")


def test_what_died_behind_the_newest_seal_stays_until_a_seal_tells_so(rig: ShareRig) -> None:
    """A chain of seals holds the row as open; it must learn of its death before the row goes."""
    first = grow(rig, 0)
    rig.sealer.seal()
    rig.send([b"000"], [Unlink(0)])
    rig.snapshot("behind the seal")
    rig.fold.fold_all()
    drop(rig, first)
    assert rig.fold.sweep() == 0
    seal = rig.sealer.seal()
    assert seal is not None and not seal.full
    assert rig.fold.sweep() > 0
    rig.lose_catalogue()
    assert b"000" not in listing(rig.live())


def test_a_lease_keeps_rows_until_it_ends(rig: ShareRig) -> None:
    first, second = grow(rig, 0), grow(rig, 1)
    grow(rig, 2)
    rig.sealer.seal()
    with rig.fold.lease(second):
        drop(rig, second)
        assert rig.fold.sweep() == 0
        assert listing(rig.reader.view(second))[b"007"][2] == b"7 of generation 1"
    assert rig.fold.sweep() == 30
    assert len(listing(rig.reader.view(first))) == 31


def test_a_seal_holds_what_changed_and_a_full_one_holds_all(rig: ShareRig) -> None:
    grow(rig, 0)
    first = rig.sealer.seal()
    rig.send([b"000"], [Content(0, rig.put(b"one file"))])
    rig.snapshot()
    rig.fold.fold_all()
    second = rig.sealer.seal()
    assert first is not None and first.full
    assert second is not None and not second.full
    heads = [read_head(rig.store, Digest(seal.digest)) for seal in (first, second)]
    assert heads[1].previous == first.digest and heads[1].since == first.sequence
    assert heads[0].rows > 60 and heads[1].rows < 20
    assert heads[1].frame_hash == rig.journal.position_at(second.sequence).hash
    assert rig.sealer.seal() is None, "nothing is sealed twice"
    third_at = grow(rig, 2)
    third = rig.sealer.seal(full=True)
    assert third is not None and third.full and third.sequence == third_at
    assert [seal.sequence for seal in rig.reader.ledger.seals()] == [third_at]


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_dropped_snapshot_stays_dropped_when_no_change_stands_behind_it(rig: ShareRig, is_empty: bool) -> None:
    if not is_empty:
        grow(rig, 0)
    row = rig.snapshot("dropped")
    rig.fold.fold_all()
    rig.sealer.seal()
    rig.fold.order(lambda number, _: SnapshotDropped(number, row.id))
    for _ in range(2):
        rig.lose_catalogue()
        rig.fold.fold_all()
        assert row.id not in {kept.id for kept in rig.reader.ledger.snapshots()}


def test_a_long_chain_begins_anew(rig: ShareRig) -> None:
    kinds = []
    for generation in range(12):
        grow(rig, generation)
        seal = rig.sealer.seal()
        assert seal is not None
        kinds.append(seal.full)
    assert kinds[0] and any(kinds[1:]), "what the parts hold grows beyond the tree"
    assert kinds.count(True) <= 5


def test_nothing_is_sealed_while_a_repair_runs(rig: ShareRig) -> None:
    grow(rig, 0)
    rig.sealer.seal()
    rig.send([b"000"], [Mirror(True), Create(0, Kind.FILE, PLAIN)])
    rig.snapshot("in the middle of a repair")
    rig.fold.fold_all()
    assert rig.sealer.seal() is None
    rig.send([b"000"], [Mirror(False)])
    rig.fold.fold_all()
    rig.snapshot("after it")
    assert rig.sealer.seal() is not None
    assert set(listing(rig.live())) == {b"", b"000"}
    rig.lose_catalogue()
    assert set(listing(rig.live())) == {b"", b"000"}


def test_holds_of_the_time_of_the_seal_come_back_and_the_fold_goes_on(rig: ShareRig) -> None:
    grow(rig, 0)
    taken = rig.reader.ledger.snapshots()[0]
    rig.fold.order(lambda number, _: HoldSet(number, taken.id, "audit", "carol", "why", 0))
    rig.sealer.seal()
    rig.send([b"000"], [Unlink(0)])
    rig.lose_catalogue()
    assert rig.reader.ledger.holds() == {taken.id: [Hold(taken.id, "audit", "carol", "why", 0)]}
    assert b"000" not in listing(rig.live())
    assert rig.fold.state == ("good", "")
    assert rig.snapshot("new").id > taken.id


def test_a_chain_that_does_not_hold_is_refused(rig: ShareRig) -> None:
    grow(rig, 0)
    seal = rig.sealer.seal()
    assert seal is not None
    with pytest.raises(SealDamaged, match="another share"):
        seal_chain(rig.store, bytes(16), Digest(seal.digest))
    head = read_head(rig.store, Digest(seal.digest))
    with pytest.raises(SealDamaged, match="none"):
        decode_head(b"SKX1" + encode_head(head)[4:])
    with pytest.raises(SealDamaged, match="newer"):
        decode_head(encode_head(head).replace(b"\xdc\x00\x14\x01", b"\xdc\x00\x14\x02", 1))


def test_rows_come_back_from_lines_as_they_went() -> None:
    rows = [("e", 1, b'\xff\n"', 5, None, 2), ("S", 7, 2**62, 3)]
    lines = encode_rows(rows)
    assert lines == b'["e",1,"/woi",5,null,2]\n["S",7,4611686018427387904,3]\n'
    assert decode_rows(lines) == [["e", 1, "/woi", 5, None, 2], ["S", 7, 2**62, 3]]
    with pytest.raises(SealDamaged):
        decode_rows(b"[1\n")


def test_what_a_seal_holds_is_stored_once_and_a_branch_holds_none_of_it(rig: ShareRig) -> None:
    grow(rig, 0)
    seal = rig.sealer.seal()
    assert seal is not None
    body = read_head(rig.store, Digest(seal.digest)).body
    assert isinstance(body, Chunk)
    key = (ChunkKind.DATA, Digest(body.digest))
    assert rig.store.missing("branch", [key]) == [key]


def test_a_rebuilt_catalogue_has_no_anchors_from_before_the_trimmed_journal(rig: ShareRig) -> None:
    """The seal was written while they stood; collect may have taken since what only they kept."""
    rig.fold.anchor_limits = AnchorLimits(changes=1)
    for generation in range(3):
        grow(rig, generation)
    rig.journal.begin_segment()
    grow(rig, 3)
    rig.sealer.seal()
    rig.fold.trim_journal(rig.journal.spans()[0].last_sequence)
    kept = rig.reader.ledger.anchors()
    rig.lose_catalogue()
    rig.fold.fold_all()
    start = rig.journal.start.sequence
    assert start > 0 and kept
    assert [anchor for anchor in rig.reader.ledger.anchors() if anchor[0] < start] == []
