"""A purge broken at every durable operation, in every way: before it or after it, never half, and then it can be finished.

Names, contents and counts are compared, with the catalogue as it was found and made again; nothing else may be missing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import StagekeeperError
from core.relpath import RelPath
from snapshots.purging import finish_purge, order_purge
from snapshots.sealing import Sealer
from staging.changes import Attributes, Create, Kind
from tests.faults.test_mutants import Lazy, seal_before_packs
from tests.faulty_files import FaultyFiles, Killed
from tests.share_rig import ShareRig, listing
from tests.snapshots.test_purge import lay

pytestmark = pytest.mark.in_memory

SECRET = b"d/secret"
BEHIND = 10**6
"""An operation that no run gets to."""

Shown = dict[bytes, tuple[object, ...]]


def shown_by(rig: ShareRig) -> list[Shown]:
    """Return what each snapshot and the live state show, oldest first."""
    live = listing(rig.live())
    return [*(listing(rig.reader.view(row.sequence)) for row in rig.reader.ledger.snapshots()), live]


def purge_until_fault(folder: Path, files: FaultyFiles, at: int) -> tuple[list[Shown], bool, bool]:
    """Lay a share, then purge and finish, failing at the at-th operation; return what was shown, and how far it got."""
    folder.mkdir()
    rig = ShareRig(folder, files)
    lay(rig)
    before = shown_by(rig)
    files.at = files.count + at
    is_ordered = is_finished = False
    try:
        order_purge(rig.fold, RelPath(SECRET), 5)
        is_ordered = True
        is_finished = finish_purge(rig.journal, rig.fold, rig.reader, rig.sealer)
        rig.close()
    except (Killed, StagekeeperError, OSError):
        pass
    return before, is_ordered, is_finished


def purged_of(shown: Shown) -> Shown:
    """Return a state without the secret; where it has another name, that one is the first now."""
    left = {path: what for path, what in shown.items() if path != SECRET}
    return {path: (*what[:4], path if what[4] == SECRET else what[4]) for path, what in left.items()}


def check(folder: Path, before: list[Shown], is_ordered: bool) -> None:
    """Open soundly: all is as before the purge or as after it, for ever once it was so; it can be finished."""
    after = [purged_of(shown) for shown in before]
    rig = ShareRig(folder)
    for attempt in ("as it was found", "made again", "finished", "made again when finished"):
        found = shown_by(rig)
        assert found == after if is_ordered else found in (before, after), attempt
        is_ordered = is_ordered or found == after
        if attempt in ("made again", "finished") and is_ordered:
            assert finish_purge(rig.journal, rig.fold, rig.reader, rig.sealer), "it must be possible to finish what was cut off"
            assert rig.journal.start.sequence >= rig.reader.ledger.purged(), "the journal still tells of what was purged"
        if attempt != "made again":
            rig.lose_catalogue()
    rig.send([b"new"], [Create(0, Kind.FILE, Attributes(0o644, 0, 0, 7), rig.put(b"still taking data"))])
    assert listing(rig.live())[b"new"][2] == b"still taking data"
    rig.close()


@pytest.mark.parametrize("fault", ["kill", "kill_after", "torn", "EIO", "ENOSPC"])
@pytest.mark.parametrize("power_cut", [False, True], ids=["process-killed", "power-cut"])
def test_a_fault_at_any_step_leaves_it_as_it_was_or_purged(tmp_path: Path, fault: str, power_cut: bool) -> None:
    whole, fired = FaultyFiles(), 0
    assert purge_until_fault(tmp_path / "whole", whole, BEHIND)[2]
    laid = whole.at - BEHIND
    for at in range(1, whole.count - laid + 1):
        files = FaultyFiles(fault=fault)
        before, is_ordered, _ = purge_until_fault(tmp_path / str(at), files, at)
        fired += files.fired
        if power_cut:
            files.lose_unsynced()
        check(tmp_path / str(at), before, is_ordered)
    opened = sum(entry.startswith("open ") for entry in whole.log[laid:])  # no kill comes behind the opening of a file
    assert fired >= whole.count - laid - opened > 5, "the sweep must really meet the operations"


class OrderNotSynced(FaultyFiles):
    """From the purge on no sync of the journal does anything."""

    def sync(self, descriptor: int) -> None:
        if not (self.at and self._paths[descriptor].suffix == ".skj"):
            super().sync(descriptor)


def trim_before_seal(patch: pytest.MonkeyPatch) -> None:
    """The segments go before a seal stands for them."""
    real: Callable[..., Any] = Sealer.seal

    def seal(self: Sealer, full: bool = False) -> Any:
        self._fold.trim_journal(self._reader.ledger.purged(), last_too=True)
        return real(self, full)

    patch.setattr(Sealer, "seal", seal)


MUTANTS: list[tuple[str, type[FaultyFiles], Callable[[pytest.MonkeyPatch], None]]] = [
    ("order_not_synced", OrderNotSynced, lambda patch: None),
    ("seal_before_packs", Lazy, seal_before_packs),
    ("trim_before_seal", FaultyFiles, trim_before_seal),
]


def is_wrong(folder: Path, layer: type[FaultyFiles], at: int) -> bool:
    files = layer()
    before, is_ordered, _ = purge_until_fault(folder, files, at)
    files.lose_unsynced()
    try:
        check(folder, before, is_ordered)
    except (AssertionError, StagekeeperError, OSError):
        return True
    return False


@pytest.mark.parametrize(("layer", "mutate"), [row[1:] for row in MUTANTS], ids=[row[0] for row in MUTANTS])
def test_a_purge_in_a_broken_order_is_caught_by_the_sweep(
    tmp_path: Path, layer: type[FaultyFiles], mutate: Callable[[pytest.MonkeyPatch], None]
) -> None:
    for at in range(1, 30):
        with pytest.MonkeyPatch.context() as patch:
            mutate(patch)
            caught = is_wrong(tmp_path / f"{at}-mutant", layer, at)
        if caught:
            assert not is_wrong(tmp_path / f"{at}-product", FaultyFiles, at), "the product itself is wrong here"
            return
    pytest.fail("no step of the sweep found fault with the mutant")
