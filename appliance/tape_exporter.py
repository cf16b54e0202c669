"""The seam to `tapeexport`: opens the asked snapshots, runs the export beside the reader, and passes its steps on."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any, BinaryIO

from appliance.handover import pieces_of, steps_of
from core.clock import Clock
from core.durable import OS_FILES
from core.errors import Refused
from tapeexport.export_job import run_export
from tapeexport.export_recovery import recover_exports
from tapeexport.export_report import ExportReport, SnapshotSource
from tapeexport.inventory_db import InventoryDb
from web.operations import Actor
from web.share_values import Progress

OpenSource = Callable[[Actor, str], AbstractContextManager[SnapshotSource]]
"""Opens `B/S@M` for the time of an export; a lease keeps prune and collect away until it is left."""

StepTaker = Callable[[Progress], None]


class KindUnavailable(Refused):
    """This kind of export is not made by this release."""


class TapeExporter:
    """Exports over `tapeexport`; implements `appliance.exports.Exporter`."""

    def __init__(self, open_source: OpenSource, inventory_file: Path, clock: Clock) -> None:
        self._open_source = open_source
        self._inventory_file = inventory_file
        self._clock = clock

    def export(self, actor: Actor, sources: list[str], destination: Path, kind: str) -> Iterator[Any]:
        """Yield `Progress`, then the report."""
        if kind != "full":
            raise KindUnavailable(f"exports of kind {kind[:40]!r} are not made", remedy="use --kind full")

        def work(take: StepTaker) -> ExportReport:
            return self._run(actor, sources, destination, take)

        return steps_of(work)

    def stream(self, actor: Actor, sources: list[str], report: Callable[[Any], None]) -> Iterator[bytes]:
        """Yield one tar; `report` is given how it went before the last piece was taken."""
        return pieces_of(lambda stream: report(self._run(actor, sources, stream, None)))

    def recover(self) -> list[str]:
        """Settle cartridges of exports that were cut off; called before the first export."""
        with closing(InventoryDb(self._inventory_file)) as inventory:
            return recover_exports(inventory, self._clock)

    def _run(self, actor: Actor, sources: list[str], destination: Path | BinaryIO, take: StepTaker | None) -> ExportReport:
        """Run one export in the thread that calls (the inventory's connection belongs to it)."""

        def report(members: int, content_bytes: int) -> None:
            if take is not None:
                take(Progress(content_bytes, None, members, "writing"))

        with ExitStack() as stack:
            views = [stack.enter_context(self._open_source(actor, source)) for source in sources]
            inventory = stack.enter_context(closing(InventoryDb(self._inventory_file)))
            return run_export(views, destination, inventory, self._clock, OS_FILES, report)
