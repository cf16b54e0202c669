"""A reader that stays open (a restore, an export) beside all that removes, in every order: it reads to its end what it began."""

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from core.digest import digest_of
from core.errors import StagekeeperError
from snapshots.control_format import SnapshotDropped
from snapshots.ledger_db import LedgerWriter
from staging.changes import Attributes, Content, Create, Kind, SetAttributes, Unlink
from tests.faults.whole_life import KEEP_LITTLE, LifeRig
from tests.share_rig import listing
from tests.snapshots.collect_rig import stored

pytestmark = pytest.mark.in_memory

PLAIN = Attributes(0o644, 0, 0, 7)
NAMES = [b"gone", b"changed"]
GONE, BEFORE, AFTER = (random.Random(seed).randbytes(3_000) for seed in (1, 2, 3))
KEPT = {digest_of(GONE), digest_of(BEFORE)}

Step = Callable[[LifeRig], None]


def change(rig: LifeRig) -> None:
    rig.send(NAMES, [Unlink(0), Content(1, rig.put(AFTER))])
    rig.fold.fold_all()


def drop(rig: LifeRig) -> None:
    row = rig.reader.ledger.snapshots()[0]
    rig.fold.order(lambda number, _: SnapshotDropped(number, row.id))


def snapshot_and_sweep(rig: LifeRig) -> None:
    rig.snapshot("behind")
    rig.fold.fold_all()
    rig.sealer.seal(full=True)
    while rig.fold.sweep():
        pass


def trim(rig: LifeRig) -> None:
    rig.journal.begin_segment()
    rig.instants.trim(KEEP_LITTLE)


def collect(rig: LifeRig) -> None:
    rig.collect_all()


def go_on(rig: LifeRig) -> None:
    """Drop every snapshot, and change enough for an anchor, behind which the journal can be trimmed."""
    while rig.reader.ledger.snapshots():
        drop(rig)
    rig.send(NAMES, [SetAttributes(1, Attributes(0o600, 0, 0, mtime)) for mtime in range(6)])
    rig.fold.fold_all()


STEPS: list[Step] = [change, drop, snapshot_and_sweep, trim, collect]


def read_through(folder: Path, order: tuple[Step, ...]) -> None:
    """Open a reader, do the steps, read everything after each; then let go, and see that it alone kept what was removed."""
    folder.mkdir()
    rig = LifeRig(folder)
    rig.send(NAMES, [Create(0, Kind.FILE, PLAIN, rig.put(GONE)), Create(1, Kind.FILE, PLAIN, rig.put(BEFORE))])
    rig.fold.fold_all()
    sequence = rig.snapshot("read").sequence
    shown = listing(rig.reader.view(sequence))
    with rig.fold.lease(sequence):
        for step in (*order, snapshot_and_sweep, trim, collect):
            step(rig)
            assert listing(rig.reader.view(sequence)) == shown, step.__name__
    assert stored(rig.store) >= KEPT
    for step in (go_on, snapshot_and_sweep, trim, go_on, snapshot_and_sweep, trim, collect):
        step(rig)
    assert not KEPT & stored(rig.store), "what the reader kept must go behind it"
    assert {path: what[2] for path, what in listing(rig.live()).items() if path} == {b"changed": AFTER}
    rig.close()


def test_a_reader_reads_to_its_end_whatever_is_removed_meanwhile(tmp_path: Path) -> None:
    orders = list(itertools.permutations(STEPS))
    for number, order in enumerate(orders):
        read_through(tmp_path / str(number), order)
    assert len(orders) == 120


def test_a_lease_that_is_not_written_down_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LedgerWriter, "add_lease", lambda self, sequence: None)
    with pytest.raises((AssertionError, StagekeeperError)):
        read_through(tmp_path / "mutant", tuple(STEPS))
