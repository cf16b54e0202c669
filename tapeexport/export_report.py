"""What an export is given and what it answers: the shapes that the command line and the API print."""

from dataclasses import dataclass

from msgspec import Struct

from snapshots.tree import TreeView
from tapeexport.archive_writer import NotExported
from tapeexport.cartridge_format import SnapshotLabel


@dataclass(frozen=True, slots=True)
class SnapshotSource:
    """A snapshot to export: its view and what its label says."""

    view: TreeView
    snapshot_id: int
    label: str
    taken_at_ns: int


class CartridgeReport(Struct, frozen=True):
    """One cartridge that was written; the path of a stream is `-`."""

    sequence: int
    barcode: str
    path: str
    size_bytes: int


class ExportReport(Struct, frozen=True):
    """One export. `bytes` counts the content of files, holes included, each file once; names of hard links are members.

    `verified` is true when every cartridge was read back and found whole, null for a stream, which cannot be read back.
    """

    set: str
    snapshots: tuple[SnapshotLabel, ...]
    cartridges: tuple[CartridgeReport, ...]
    members: int
    bytes: int
    verified: bool | None
    not_exported: tuple[NotExported, ...]
