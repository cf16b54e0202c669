"""Sealing, dropping and sweeping, killed at every durable operation: what is kept stays, with and without the catalogue."""

import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from core.errors import StagekeeperError
from snapshots.control_format import SnapshotDropped
from staging.changes import Attributes, Change, Content, Create, Kind, Mirror, Unlink
from tests.faulty_files import FaultyFiles, Killed
from tests.share_rig import ShareRig, listing

pytestmark = pytest.mark.in_memory

PLAIN = Attributes(0o644, 0, 0, 5)
NAMES = [b"%02d" % number for number in range(8)]

Shown = dict[bytes, tuple[object, ...]]


@dataclass
class Ledger:
    """What the appliance answered, kept outside of it."""

    acknowledged: int = 0
    kept: dict[int, Shown] = field(default_factory=dict)
    dropping: set[int] = field(default_factory=set)
    finished: bool = False


def play(rig: ShareRig, ledger: Ledger) -> None:
    chance = random.Random(7)
    baseline: list[Change] = [Mirror(True), *[Create(n, Kind.FILE, PLAIN) for n in range(8)], Mirror(False)]
    ledger.acknowledged = rig.send(NAMES, baseline)
    for generation in range(4):
        changed = [Content(n, rig.put(chance.randbytes(300))) for n in range(generation, 8)]
        ledger.acknowledged = rig.send(NAMES, [*changed, Unlink(0)] if generation == 0 else list(changed))
        sequence = rig.snapshot().sequence
        shown = listing(rig.live())
        ledger.kept[sequence] = shown
        rig.sealer.seal(full=generation == 3)
        if generation in (1, 2):
            oldest = rig.reader.ledger.snapshots()[0]
            ledger.dropping.add(oldest.sequence)
            rig.fold.order(lambda number, _, row=oldest: SnapshotDropped(number, row.id))
            while rig.fold.sweep():
                pass
    ledger.finished = True


def check(folder: Path, ledger: Ledger) -> None:
    """What was acknowledged is there as it was; what was being dropped is there whole or not at all."""
    rig = ShareRig(folder)
    for attempt in ("the catalogue as it was found", "the catalogue made again"):
        assert rig.journal.durable.sequence >= ledger.acknowledged
        live = listing(rig.live())
        shown = {row.sequence for row in rig.reader.ledger.snapshots()}
        for sequence, expected in ledger.kept.items():
            if sequence not in ledger.dropping:
                assert sequence in shown, attempt
            if sequence in shown:
                assert listing(rig.reader.view(sequence)) == expected, attempt
        rig.sealer.seal()
        while rig.fold.sweep():
            pass
        rig.lose_catalogue()
        assert listing(rig.live()) == live, attempt
    rig.close()


def run_until_fault(folder: Path, files: FaultyFiles) -> Ledger:
    folder.mkdir()
    ledger = Ledger()
    try:
        rig = ShareRig(folder, files)
        play(rig, ledger)
        rig.close()
    except (Killed, StagekeeperError, OSError):
        pass
    return ledger


LONGER = [pytest.param(fault, marks=pytest.mark.long) for fault in ("kill_after", "EIO", "ENOSPC")]


@pytest.mark.parametrize("fault", ["kill", "torn", *LONGER])
@pytest.mark.parametrize("power_cut", [False, True], ids=["process-killed", "power-cut"])
def test_what_is_kept_survives_a_fault_at_any_step(tmp_path: Path, fault: str, power_cut: bool) -> None:
    whole = FaultyFiles()
    assert run_until_fault(tmp_path / "whole", whole).finished
    fired = 0
    for at in range(1, whole.count + 1):
        files = FaultyFiles(at, fault)
        ledger = run_until_fault(tmp_path / str(at), files)
        if power_cut:
            files.lose_unsynced()
        fired += files.fired
        check(tmp_path / str(at), ledger)
    assert fired >= whole.count - 5, "the sweep must really meet the operations"


def test_a_rebuild_that_was_cut_off_is_begun_again(tmp_path: Path) -> None:
    (tmp_path / "rig").mkdir()
    rig = ShareRig(tmp_path / "rig")
    ledger = Ledger()
    play(rig, ledger)
    rig.close()
    counted = FaultyFiles()
    for at in range(1, 20):
        for path in (tmp_path / "rig").glob("share.db*"):
            path.unlink()
        files = FaultyFiles(at, "kill")
        try:
            ShareRig(tmp_path / "rig", files).close()
        except Killed:
            counted.count += 1
        check(tmp_path / "rig", ledger)
    assert counted.count >= 2, "a rebuild removes leftovers and renames what it made"
