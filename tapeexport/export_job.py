"""One export: static snapshots to a cartridge in a directory, read back and compared, or to a stream.

Order: the barcode is taken, the archive is written and synced under a temporary name, gets its name, is read back from
the medium, and only then does the inventory call it verified. Whatever fails before that fails the cartridge, in the
inventory too, and leaves no archive that could be taken for a good one.
"""

import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO

from core.clock import NANOSECONDS, Clock, format_time
from core.durable import OS_FILES, FileLayer
from core.errors import Damaged, StagekeeperError, TryLater
from core.relpath import show_path
from tapeexport.archive_reader import Verification, verify_cartridge
from tapeexport.archive_writer import ArchiveWriter
from tapeexport.cartridge_files import CartridgeFiles
from tapeexport.cartridge_format import Label, SnapshotLabel
from tapeexport.export_checks import check_destination, check_space, snapshot_labels
from tapeexport.export_report import CartridgeReport, ExportReport, SnapshotSource
from tapeexport.inventory_db import CartridgeRow, InventoryDb
from tapeexport.member_writer import Progress
from tapeexport.spool import LineSpool
from tapeexport.volume import FileSink, Sink, StreamSink, Volume


class CartridgeNotVerified(Damaged):
    """A cartridge did not read back as it was written."""


def run_export(
    views: list[SnapshotSource],
    destination: Path | BinaryIO,
    inventory: InventoryDb,
    clock: Clock,
    files: FileLayer = OS_FILES,
    progress: Progress | None = None,
) -> ExportReport:
    """Export snapshots of different shares and return the report.

    To a directory: on return the archive, `<barcode>.index.jsonl` and `<barcode>.tar.sha256` are durable and verified.
    To a stream: all is handed over and flushed; nothing is read back. Raises `CartridgeNotVerified`, `SourceUnreadable`,
    `NoSpace`, `CartridgeNotWritten`, and refusals before anything is written.
    """
    labels = snapshot_labels(views)
    if isinstance(destination, Path):
        return _export_to_directory(views, labels, destination, inventory, clock, files, progress)
    return _export_to_stream(views, labels, destination, inventory, clock, progress)


def _export_to_directory(
    sources: list[SnapshotSource],
    labels: tuple[SnapshotLabel, ...],
    folder: Path,
    inventory: InventoryDb,
    clock: Clock,
    files: FileLayer,
    progress: Progress | None,
) -> ExportReport:
    check_destination(folder)
    check_space(folder, sources)
    created_ns = clock.now_ns()
    row = inventory.begin_set(labels, created_ns, folder.absolute())
    place = CartridgeFiles(folder.absolute(), row.barcode, files)
    try:
        place.check_absent()
    except StagekeeperError as error:
        inventory.fail(row.barcode, error.message)
        raise
    try:
        with ExitStack() as stack:
            index = stack.enter_context(closing(LineSpool(place.index_part, files)))
            sums = stack.enter_context(closing(LineSpool(place.sums_part, files)))
            sink = FileSink(place.tar_part, files)
            writer = _write(sources, _label(row, labels, created_ns), sink, index, sums, progress)
            index.sync()
        place.publish()
        proof = verify_cartridge(place.tar)
        if not proof.is_of(row.set):
            raise _not_verified(place.tar, row, proof)
        place.discard_parts()
        place.write_checksum(proof.sha256)
        inventory.complete(row.barcode, "verified", proof.size_bytes, proof.sha256, clock.now_ns())
    except BaseException as error:
        _give_up(place, inventory, row, error)
        raise
    return _report(row, labels, writer, proof.size_bytes, verified=True)


def _export_to_stream(
    sources: list[SnapshotSource],
    labels: tuple[SnapshotLabel, ...],
    stream: BinaryIO,
    inventory: InventoryDb,
    clock: Clock,
    progress: Progress | None,
) -> ExportReport:
    created_ns = clock.now_ns()
    row = inventory.begin_set(labels, created_ns, None)
    try:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stagekeeper-export-")))
            index = stack.enter_context(closing(LineSpool(folder / "index", OS_FILES)))
            sums = stack.enter_context(closing(LineSpool(folder / "sums", OS_FILES)))
            writer = _write(sources, _label(row, labels, created_ns), StreamSink(stream), index, sums, progress)
        inventory.complete(row.barcode, "streamed", writer.size_bytes, None, clock.now_ns())
    except BaseException as error:
        inventory.fail(row.barcode, _reason(error))
        raise
    return _report(row, labels, writer, writer.size_bytes, verified=None)


def _write(
    sources: list[SnapshotSource],
    label: Label,
    sink: Sink,
    index: LineSpool,
    sums: LineSpool,
    progress: Progress | None,
) -> ArchiveWriter:
    with closing(Volume(label.sequence, sink)) as volume:
        writer = ArchiveWriter(volume, label, index, sums, progress)
        for source in sources:
            writer.add_tree(source.view)
        writer.finish()
    return writer


def _label(row: CartridgeRow, labels: tuple[SnapshotLabel, ...], created_ns: int) -> Label:
    created = format_time(created_ns // NANOSECONDS * NANOSECONDS)
    return Label(set=row.set, sequence=row.sequence, barcode=row.barcode, snapshots=labels, created=created)


def _not_verified(tar: Path, row: CartridgeRow, proof: Verification) -> CartridgeNotVerified:
    named = "; ".join(f"{problem.path or 'archive'}: {problem.what}" for problem in proof.problems[:5])
    return CartridgeNotVerified(
        f"cartridge {row.barcode} ({tar}) did not read back as it was written: {named or 'it is another cartridge'}",
        remedy="do not use this medium; export again to another one",
    )


def _give_up(place: CartridgeFiles, inventory: InventoryDb, row: CartridgeRow, error: BaseException) -> None:
    try:
        place.withdraw()
    except TryLater as problem:  # the medium is gone: the first error is what matters, this goes with it
        error.add_note(f"and its files could not be removed: {problem.message}")
    inventory.fail(row.barcode, _reason(error))


def _reason(error: BaseException) -> str:
    return error.message if isinstance(error, StagekeeperError) else f"{type(error).__name__}: {error}"


def _report(
    row: CartridgeRow, labels: tuple[SnapshotLabel, ...], writer: ArchiveWriter, size_bytes: int, *, verified: bool | None
) -> ExportReport:
    path = show_path(row.path) if row.path else "-"
    return ExportReport(
        set=row.set,
        snapshots=labels,
        cartridges=(CartridgeReport(row.sequence, row.barcode, path, size_bytes),),
        members=writer.members,
        bytes=writer.content_bytes,
        verified=verified,
        not_exported=tuple(writer.not_exported),
    )
