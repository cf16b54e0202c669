"""Collecting a rig's store with a clock that only tests move, and a mark in this process."""

from collections.abc import Callable, Iterator
from pathlib import Path

from core.clock import NANOSECONDS
from core.digest import Digest
from core.durable import OS_FILES, FileLayer
from snapshots.chunk_store import ChunkStore
from snapshots.collect import Collector, CollectPlace, CollectReport, Margins, Round
from snapshots.mark import JournalPart, Roots
from snapshots.mark_child import Marked, MarkPlan, mark_here
from staging.chunk_format import ChunkKind
from tests.share_rig import ShareRig

HOUR = 3600


class TestClock:
    """Begins in 2026 and stands still until `pass_`."""

    __test__ = False

    def __init__(self) -> None:
        self.seconds = 1_800_000_000

    def now_ns(self) -> int:
        return self.seconds * NANOSECONDS

    def monotonic(self) -> float:
        return float(self.seconds)

    def pass_(self, seconds: int) -> None:
        self.seconds += seconds


def here(plan: MarkPlan, stopping: Callable[[], bool], report: Callable[[int], None]) -> Marked:
    return mark_here(plan, report)


def roots_of(rig: ShareRig) -> Roots:
    journal = [JournalPart(str(path), size) for path, size in rig.journal.extents()]
    return Roots([journal], [str(rig.folder / "share.db")], [(ChunkKind.SEAL, seal.digest) for seal in rig.reader.ledger.seals()])


class CollectRig(ShareRig):
    """A share whose store is collected."""

    def __init__(self, folder: Path, files: FileLayer = OS_FILES, margins: Margins | None = None) -> None:
        self.test_clock = TestClock()
        self.margins = margins or Margins()
        super().__init__(folder, files, clock=self.test_clock)

    def place(self) -> CollectPlace:
        return place(self.folder)

    def begin(self) -> Round:
        round_ = Round(self.store.parts, self.place(), self.margins)
        round_.begin(lambda: False)
        return round_

    def collect(self) -> CollectReport:
        """Run once, when nothing that happened before counts as young or touched any more."""
        self.test_clock.pass_(73 * HOUR)
        return Collector(self.store, self.place(), self.margins).run(lambda: roots_of(self), lambda: False, ignore)

    def collect_all(self) -> list[CollectReport]:
        """Run until what is garbage now is gone, packs too."""
        return [self.collect() for _ in range(4)]


def place(folder: Path) -> CollectPlace:
    (folder / "lists").mkdir(exist_ok=True)
    return CollectPlace(folder / "lists", lambda: b"saltsalt", here)


def ignore(what: str, done: int) -> None:
    return


def stored(store: ChunkStore) -> set[Digest]:
    return {Digest(row[0]) for row in store.parts.index.query("SELECT digest FROM chunk")}


def condemned(store: ChunkStore) -> set[Digest]:
    return {Digest(row[0]) for row in store.parts.index.query("SELECT digest FROM condemned")}


def pack_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("packs/??/*.skp"))


def drain(steps: Iterator[object]) -> None:
    for _ in steps:
        pass
