"""One scenario, killed at every durable operation in every way; after recovery every promise is checked.

The verdict comes from outside: a ledger of what was acknowledged, and a model. What was acknowledged must be there, what
was not is there whole or not at all, and the share must go on taking changes. Mutants of the product must be caught.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from core import durable
from core.errors import StagekeeperError
from core.relpath import ROOT
from snapshots.ledger_db import SnapshotRow
from snapshots.restore import restore_tree
from staging.changes import Attributes, Barrier, Change, Content, Create, Group, Kind, Mirror, Rename, Unlink, Write
from tests.faulty_files import FaultyFiles, Killed
from tests.naive_tree import NaiveTree
from tests.share_rig import ShareRig, listing

pytestmark = pytest.mark.in_memory

PATHS = [b"d", b"d/a", b"d/b", b"c", b"e"]
PLAIN = Attributes(0o644, 0, 0, 5)
CONTENTS = [random.Random(n).randbytes(size) for n, size in enumerate((3_000, 90_000, 400_000))]


@dataclass
class Ledger:
    """What the appliance answered, kept outside of it."""

    acknowledged: int = 0
    models: dict[int, NaiveTree] = field(default_factory=dict)
    snapshots: list[SnapshotRow] = field(default_factory=list)


def play(rig: ShareRig, ledger: Ledger) -> None:
    """The scenario: baseline, edits, snapshots, folds and a restart in between."""
    model = NaiveTree({})
    sequence = 0

    def send(changes: list[Change]) -> None:
        nonlocal sequence
        for change in changes:
            model.apply(change, PATHS)
            sequence += 1
            ledger.models[sequence] = model.copy()
        ledger.acknowledged = rig.send(PATHS, changes)

    refs = []
    for data in CONTENTS:
        ref = rig.put(data)
        assert ref is not None
        model.contents[ref.digest] = data
        refs.append(ref)
    send([Mirror(True), Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FILE, PLAIN, refs[0]), Mirror(False)])
    ledger.snapshots.append(rig.snapshot("one"))
    send([Create(2, Kind.FILE, PLAIN, refs[2]), Write(2, 100_000, b"inside"), Barrier("b"), Unlink(1)])
    rig.fold.fold(2)
    ledger.snapshots.append(rig.snapshot("two"))
    send([Group((Rename(2, 3), Content(3, refs[1], PLAIN)))])
    rig.fold.fold_all()
    rig.reopen()
    send([Write(3, 10, b"after the restart"), Create(4, Kind.FILE, PLAIN, refs[0])])
    ledger.snapshots.append(rig.snapshot("three"))
    rig.fold.fold_all()


def check(folder: Path, ledger: Ledger) -> None:
    """Recover with a sound file layer and compare with ledger and model; then go on working."""
    rig = ShareRig(folder)
    durable_sequence = rig.journal.durable.sequence
    assert durable_sequence >= ledger.acknowledged, "acknowledged changes are lost"
    model = ledger.models.get(durable_sequence, NaiveTree({}))
    assert listing(rig.live()) == model.listing()
    rows = rig.reader.ledger.snapshots()
    shown = {row.id: replace(row, good=None, files=None, logical_bytes=None) for row in rows}  # as they were before the fold
    for row in ledger.snapshots:
        assert shown.get(row.id) == row, "an acknowledged snapshot is lost"
    for row in shown.values():
        expected = ledger.models.get(row.sequence, NaiveTree({}))
        assert listing(rig.reader.view(row.sequence)) == expected.listing(), row
    content = rig.put(b"still taking data")
    rig.send([b"new"], [Create(0, Kind.FILE, PLAIN, content)])
    assert rig.live().node_at(b"new").size_bytes == 17  # type: ignore[arg-type]
    restored = restore_tree(rig.reader.view(rig.fold.sequence), ROOT, folder / "restored")
    assert not restored.not_applied
    rig.close()


def run_until_fault(folder: Path, files: FaultyFiles, make: Callable[[Path, FaultyFiles], ShareRig] = ShareRig) -> Ledger:
    """Play the scenario until the fault ends it (or the end)."""
    ledger = Ledger()
    try:
        rig = make(folder, files)
        play(rig, ledger)
        rig.close()
    except (Killed, StagekeeperError, OSError):
        pass
    return ledger


def operations_of_the_scenario(folder: Path) -> int:
    """Return how many durable operations the scenario makes without a fault."""
    files = FaultyFiles()
    folder.mkdir()
    ledger = run_until_fault(folder, files)
    assert len(ledger.snapshots) == 3, "the scenario must come to its end without a fault"
    return files.count


@pytest.mark.parametrize("fault", ["kill", "kill_after", "torn", "EIO", "ENOSPC"])
@pytest.mark.parametrize("power_cut", [False, True], ids=["process-killed", "power-cut"])
def test_every_durable_operation_can_be_the_last(tmp_path: Path, fault: str, power_cut: bool) -> None:
    total = operations_of_the_scenario(tmp_path / "whole")
    assert total > 40
    fired = 0
    for at in range(1, total + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        files = FaultyFiles(at, fault)
        ledger = run_until_fault(folder, files)
        if power_cut:
            files.lose_unsynced()
        fired += files.fired
        check(folder, ledger)
    assert fired >= total - 5, "the sweep must really meet the operations"


class AcknowledgeBeforeSync(FaultyFiles):
    """Mutant: a journal's sync answers at once and does nothing."""

    def sync(self, descriptor: int) -> None:
        if self._paths[descriptor].suffix != ".skj":
            super().sync(descriptor)


class NoDirectorySync(FaultyFiles):
    """Mutant: names are never made durable."""

    def sync_directory(self, path: Path) -> None:
        return


@pytest.mark.parametrize("mutant", [AcknowledgeBeforeSync, NoDirectorySync])
def test_the_sweep_catches_a_product_that_promises_too_early(tmp_path: Path, mutant: type[FaultyFiles]) -> None:
    total = operations_of_the_scenario(tmp_path / "whole")
    caught = 0
    for at in range(1, total + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        files = mutant(at, "kill")
        ledger = run_until_fault(folder, files)
        files.lose_unsynced()
        try:
            check(folder, ledger)
        except (AssertionError, StagekeeperError):
            caught += 1
    assert caught, f"{mutant.__name__} was not caught"


def test_a_failed_sync_is_final_until_the_file_is_opened_again(tmp_path: Path) -> None:
    files = FaultyFiles()
    file = durable.AppendFile(tmp_path / "f", files)
    file.append([b"one"])
    files.at, files.fault = files.count + 1, "EIO"
    with pytest.raises(durable.WriteFailed):
        file.sync()
    with pytest.raises(durable.WriteFailed, match="takes no more data"):
        file.sync()
    with pytest.raises(durable.WriteFailed):
        file.append([b"two"])
