"""A store of two shares that tests damage copies of: what it shows, and the verdict on a damaged copy."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from appliance.database_checks import DatabaseChecks
from appliance.founding import found_appliance
from appliance.journal_losses import check_journals, journal_losses
from appliance.rebuilding import rebuild
from appliance.root import open_root
from appliance.vault import OpenShare, Vault
from core.errors import Damaged
from snapshots.collect import Collector
from snapshots.control_format import HoldSet, PolicySet
from snapshots.mark import JournalPart, Roots
from snapshots.scrub import Pace, Scrubber
from staging.changes import Attributes, Content, Create, Kind, Mirror, Rename, Unlink
from staging.chunk_format import ChunkKind
from tests.appliance.program import VaultRig
from tests.share_rig import listing
from tests.snapshots.collect_rig import HOUR, TestClock, place

SHARES = ("leeds/finance", "york/sales")
PLAIN = Attributes(0o640, 7, 8, 5, b"anna", b"staff", ((b"user.colour", b"red"),))
Seen = dict[str, Any]
"""What the shares show, by `SHARE@ID`, and the rows of their snapshots and holds."""
_FILES = 120
_CHANCE = random.Random(3).randbytes


def build(folder: Path) -> dict[str, Path]:
    """Make a store; return it as it was `older`, before the last share's second snapshot, `killed` at the end, and `closed`."""
    made = folder / "made"
    clock = TestClock()
    found_appliance(made, ["backup.example"], "correct horse battery", clock, _CHANCE)
    for share in SHARES:
        rig = VaultRig(made, share, clock)
        _fill(rig, rig._vault.share(share), share.encode(), lambda: shutil.copytree(made, folder / "older", dirs_exist_ok=True))
        shutil.copytree(made, folder / "killed", dirs_exist_ok=True)
        rig.close()
    shutil.copytree(made, folder / "closed")
    return {name: folder / name for name in ("older", "killed", "closed")}


def _fill(rig: VaultRig, opened: OpenShare, seed: bytes, half: Callable[[], object]) -> None:
    """Three snapshots, two of them sealed, files of all forms, and changes that stand in the journal only."""
    names = [seed[:4].replace(b"/", b"_") + b" file %03d" % number for number in range(_FILES)]
    content = [rig.put(seed + b" %d " % number * (1 + number % 7)) for number in range(_FILES)]
    created = [Create(number, Kind.FILE, PLAIN, content[number]) for number in range(_FILES)]
    rig.send(names, [Mirror(True), *created, Mirror(False)])
    big = random.Random(seed).randbytes(300_000)
    rig.send([b"big", b"link"], [Create(0, Kind.FILE, PLAIN, rig.put(big)), Create(1, Kind.SYMLINK, PLAIN, None, b"big")])
    first = rig.snapshot("first")
    rig.fold.order(lambda number, _: HoldSet(number, first.id, "audit", "anna", "asked for", 0))
    rig.fold.order(lambda number, _: PolicySet(number, b'{"keep_last":3}'))
    rig.fold.fold_all()
    opened.sealer.seal()
    half()
    rig.put(b"nobody names this " + seed)
    rig.send(names[:40], [Content(number, rig.put(seed + b" again %d" % number)) for number in range(30)])
    rig.send([names[1], b"moved", names[2]], [Rename(0, 1), Unlink(2)])
    rig.snapshot("second")
    rig.fold.fold_all()
    opened.sealer.seal()
    rig.send([b"late"], [Create(0, Kind.FILE, PLAIN, rig.put(seed + b" late"))])
    rig.snapshot("third")
    rig.send([b"later"], [Create(0, Kind.FILE, PLAIN, rig.put(seed + b" later"))])
    rig.fold.fold_all()


def seen(vault: Vault, share: str) -> Seen:
    """Return all that a share shows: every snapshot, the live state, the rows of snapshots, holds, and the policy."""
    opened = vault.share(share)
    opened.fold.fold_all()
    ledger = opened.reader.ledger
    found: Seen = {f"{share}@{row.id}": listing(opened.reader.view(row.sequence)) for row in ledger.snapshots(deleted=True)}
    found[share] = listing(opened.reader.view(opened.fold.sequence))
    found[f"{share} snapshots"] = ledger.snapshots(deleted=True), ledger.holds(), ledger.policy(), ledger.deletion()
    return found


def all_seen(root: Path) -> Seen:
    """Return what both shares show; nothing is damaged."""
    vault = Vault(open_root(root), TestClock(), _CHANCE)
    found = {key: value for share in SHARES for key, value in seen(vault, share).items()}
    vault.close()
    return found


class Verdict:
    """What a damaged store told (`told`: each damage by message), and whether it showed anything else than was kept."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.differs: list[str] = []

    def hear(self, work: Callable[[], None]) -> None:
        """Do something; only damage that is named may keep it from being done."""
        try:
            work()
        except Damaged as error:
            assert error.message and error.remedy, error
            self.told.append(error.message)


def judge(root: Path, kept: Seen) -> Verdict:
    """Read everything, scrub everything, and collect until all that could go is gone; nothing is repaired."""
    verdict = Verdict()
    clock = TestClock()
    verdict.hear(lambda: _read_all(root, clock, kept, verdict))
    verdict.hear(lambda: _scrub(root, clock, verdict))
    for _ in range(4):
        clock.pass_(73 * HOUR)
        verdict.hear(lambda: _collect(root, clock, verdict))
    return verdict


def _read_all(root: Path, clock: TestClock, kept: Seen, verdict: Verdict) -> None:
    vault = Vault(open_root(root), clock, _CHANCE)
    try:
        for share in SHARES:
            verdict.hear(lambda share=share: _read(vault, share, kept, verdict))  # type: ignore[misc]
    finally:
        vault.close()


def _read(vault: Vault, share: str, kept: Seen, verdict: Verdict) -> None:
    found = seen(vault, share)
    expected = {key: value for key, value in kept.items() if key.startswith(share)}
    verdict.differs += [key for key in found.keys() | expected.keys() if found.get(key) != expected.get(key)]


def _scrub(root: Path, clock: TestClock, verdict: Verdict) -> None:
    vault = Vault(open_root(root), clock, _CHANCE)
    try:
        verdict.told += Scrubber(vault.store, pace=Pace(10**9)).run(lambda: False, lambda done, total: None, True).findings
        verdict.told += DatabaseChecks(vault).run(lambda step: None, True)[1]
        verdict.told += journal_losses(vault.opened())
    finally:
        vault.close()


def _collect(root: Path, clock: TestClock, verdict: Verdict) -> None:
    vault = Vault(open_root(root), clock, _CHANCE)
    try:
        shares = [vault.share(name) for name in vault.names()]
        check_journals(shares)
        roots = Roots(
            [[JournalPart(str(path), size) for path, size in share.journal.extents()] for share in shares],
            [str(share.fold.path) for share in shares],
            [(ChunkKind.SEAL, seal.digest) for share in shares for seal in share.reader.ledger.seals()],
        )
        folder = vault.root.db / "collect"
        folder.mkdir(exist_ok=True)
        report = Collector(vault.store, place(folder)).run(lambda: roots, lambda: False, lambda what, done: None)
        verdict.told += report.damaged
    finally:
        vault.close()


def rebuilt(root: Path, kept: Seen) -> None:
    """Rebuild as the command does and compare everything with what was kept."""
    report = rebuild(root, lambda step: None, clock=TestClock())
    assert [(row.share, row.error) for row in report.shares] == [(share, None) for share in SHARES]
    found = all_seen(root)
    assert found == kept, sorted(key for key in kept if found.get(key) != kept[key])


def copied(store: Path, folder: Path) -> Path:
    """Return a copy of a store."""
    target = folder / "store"
    if target.exists():
        shutil.rmtree(target)
    return Path(shutil.copytree(store, target))
