"""The parts that hold data, in memory but for the appliance's own backups, for tests of everything around them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import Struct

from appliance.backup import BackedUp
from appliance.backup_desk import BackupDesk
from appliance.exports import Exporter
from appliance.wiring import Parts, Plumbing
from core.errors import NotFound
from snapshots.chunk_store import ChunkStore
from tests.web.memory_differences import MemoryDifferences
from tests.web.memory_finding import MemoryFinding
from tests.web.memory_journals import MemoryJournals
from tests.web.memory_keeping import MemoryKeeping, MemoryMaintenance, MemorySealing
from tests.web.memory_operations import MemoryHealth, MemoryIntake
from tests.web.memory_removal import MemoryRemoval
from tests.web.memory_shares import MemoryShare, MemoryShares, Thing
from web.operations import Actor
from web.share_values import Progress

SHARE = "leeds/finance"
FILES: dict[bytes, bytes] = {b"Budget.txt": b"a budget\n", b"2026/Plan.txt": b"plan " * 1000, b"bad\xff\nname": b"x"}


class SourceUnknown(NotFound):
    """There is nothing to export under that name."""


class MemoryReport(Struct, frozen=True):
    """What a memory export answers."""

    set: str
    snapshots: list[str]
    cartridges: list[dict[str, Any]]
    members: int
    bytes: int
    verified: bool


@dataclass
class MemoryExporter:
    """Writes one file a set; tests may make it fail or wait."""

    known: set[str] = field(default_factory=lambda: {SHARE})
    verified: bool = True
    pieces: int = 3
    ended: list[str] = field(default_factory=list)

    def export(self, actor: Actor, sources: list[str], destination: Path, kind: str) -> Iterator[Any]:
        self._check(sources)
        try:
            for step in range(self.pieces):
                yield Progress(step, self.pieces, step, "writing")
            path = destination / "SK0001L9.tar"
            path.write_bytes(b"tar")
            cartridge = {"sequence": 1, "barcode": "SK0001L9", "path": str(path), "size_bytes": 3}
            yield MemoryReport("set-1", sources, [cartridge], 1, 3, self.verified)
        finally:
            self.ended.append("export")

    def stream(self, actor: Actor, sources: list[str], report: Callable[[Any], None]) -> Iterator[bytes]:
        self._check(sources)
        try:
            for _ in range(self.pieces):
                yield b"t" * 1000
            report(MemoryReport("set-1", sources, [], 1, 3, True))
        finally:
            self.ended.append("stream")

    def _check(self, sources: list[str]) -> None:
        for source in sources:
            if source.partition("@")[0] not in self.known:
                raise SourceUnknown(f"there is no {source}", remedy="see the shares")


@dataclass
class MemoryParts:
    """Made once, handed to every appliance that is opened, so that a test can look inside."""

    exporter: Exporter = field(default_factory=MemoryExporter)
    shares: MemoryShares | None = None
    grants: dict[str, list[str]] = field(default_factory=dict)

    def __call__(self, plumbing: Plumbing) -> Parts:
        if self.shares is None:
            self.shares = MemoryShares(plumbing.clock.now_ns, self.grants, lambda *args, **details: None)
            share = MemoryShare(SHARE)
            share.change(1, {name: Thing(content=content) for name, content in FILES.items()})
            self.shares.shares[SHARE] = share
        root = plumbing.root
        store = ChunkStore(root.packs, root.db / "index.db", root.store_id, plumbing.files)
        backed_up = BackedUp(root, store, plumbing.audit, plumbing.clock, plumbing.chance, plumbing.files)
        backups = BackupDesk(backed_up, plumbing.rights)

        def close() -> None:
            backups.close()
            store.close()

        return Parts(
            shares=self.shares,
            intake=MemoryIntake(),
            health=MemoryHealth(),
            keeping=MemoryKeeping(),
            sealing=MemorySealing(),
            journals=MemoryJournals(),
            maintenance=MemoryMaintenance(),
            differences=MemoryDifferences(),
            removal=MemoryRemoval(),
            exporter=self.exporter,
            backups=backups,
            finding=MemoryFinding(self.shares),
            close=close,
        )
