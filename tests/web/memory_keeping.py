"""`web.operations.Keeping` in memory: remembers what was asked, and answers with one snapshot."""

from collections.abc import Iterator
from typing import Any

from web.operations import Actor
from web.share_values import Progress, Snapshot
from web.upkeep_values import CollectReport, PruneDecision, ScrubReport, SealReport, WeighedSnapshot, Weight

SHOWN = Snapshot(3, 7, "2026-11-22T07:00:00.000000Z", "noon", "command", "crash", "ready", True)


class MemoryKeeping:
    """Acts on snapshots, told in `asked`."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.document: dict[str, Any] = {"version": 1}

    def label(self, actor: Actor, share: str, snapshot: int, label: str) -> Snapshot:
        return self._note("label", share, snapshot, label)

    def hold(self, actor: Actor, share: str, snapshot: int, name: str, reason: str, until: str | None) -> Snapshot:
        return self._note("hold", share, snapshot, name, reason, until)

    def release(self, actor: Actor, share: str, snapshot: int, name: str) -> Snapshot:
        return self._note("release", share, snapshot, name)

    def delete(self, actor: Actor, share: str, snapshot: int) -> Snapshot:
        return self._note("delete", share, snapshot)

    def undelete(self, actor: Actor, share: str, snapshot: int) -> Snapshot:
        return self._note("undelete", share, snapshot)

    def policy(self, actor: Actor, share: str) -> dict[str, Any]:
        return self.document

    def set_policy(self, actor: Actor, share: str, document: object) -> dict[str, Any]:
        self.document = dict(document)  # type: ignore[call-overload]
        return self.document

    def prune(self, actor: Actor, share: str | None, dry_run: bool) -> list[PruneDecision]:
        self._note("prune", share, dry_run)
        return [PruneDecision("leeds/finance", 3, True, ["newest"], 0)]

    def weigh(self, actor: Actor, share: str, first: int, last: int) -> Iterator[Progress | Weight]:
        self._note("weigh", share, first, last)
        yield Progress(20_000, None, 20_000, "states")
        yield Weight(share, [WeighedSnapshot(first, "2026-11-22T07:00:00.000000Z", "noon", 5)], 7)

    def _note(self, *words: object) -> Snapshot:
        self.asked.append(words)
        return SHOWN


class MemoryMaintenance:
    """Finds nothing to free and nothing damaged."""

    def collect(self, actor: Actor) -> Iterator[Progress | CollectReport]:
        yield Progress(0, None, 5, "mark: 5 chunks")
        yield CollectReport(1, 5, 5, 0, 0, 0, 0, 0, 0, 0, 0, [])

    def scrub(self, actor: Actor, everything: bool) -> Iterator[Progress | ScrubReport]:
        yield Progress(0, 10, 0, "packs")
        yield ScrubReport(1 if everything else 0, 10, 5, [], 0, 0, [], False, "2026-11-22T07:00:00.000000Z")


class MemorySealing:
    """Finds every catalogue equal to its seals."""

    def verify_seal(self, actor: Actor, share: str) -> Iterator[Progress | SealReport]:
        yield Progress(0, 1, 0, "rows")
        yield SealReport(share, 7, "blake3:00", 1, 10, True, [])
