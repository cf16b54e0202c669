"""Looks at an export before anything is written: what is asked for, where it should go, whether it fits."""

import os
from pathlib import Path

from core.clock import format_time
from core.errors import NotFound, Refused, TryLater
from core.relpath import ROOT
from snapshots.tree import Node, TreeView
from staging.changes import Kind
from tapeexport.cartridge_format import SnapshotLabel
from tapeexport.export_report import SnapshotSource
from tapeexport.sparse_map import plan_sparse

_MEMBER_BYTES = 3000  # headers, padding, lines in index and check sums, here and in the copies beside the archive
_FIXED_BYTES = 100_000  # label, restore text, end of the archive


class NothingToExport(Refused):
    """No snapshot was named, or one share twice."""


class DestinationMissing(NotFound):
    """The directory to export to does not exist."""


class DestinationRefused(Refused):
    """The destination is no directory."""


class NoRoomForExport(TryLater):
    """The destination has less space than the export needs; nothing was written."""


def snapshot_labels(sources: list[SnapshotSource]) -> tuple[SnapshotLabel, ...]:
    """Return what the label says of each snapshot; raise `NothingToExport` when they cannot be one export."""
    shares = [source.view.share for source in sources]
    if not shares:
        raise NothingToExport("no snapshot is named", remedy="name at least one, for example branch/share@latest")
    for share in shares:
        if shares.count(share) > 1:
            raise NothingToExport(
                f"two snapshots of {share} would get the same names", remedy="export each snapshot of a share by itself"
            )
    return tuple(
        SnapshotLabel(
            share=source.view.share,
            id=source.snapshot_id,
            sequence=source.view.sequence,
            taken_at=format_time(source.taken_at_ns),
            label=source.label,
        )
        for source in sources
    )


def check_destination(folder: Path) -> None:
    """Raise `DestinationMissing` or `DestinationRefused` unless `folder` is a directory."""
    if not folder.exists():
        raise DestinationMissing(f"there is no directory {folder}", remedy="make it or mount it, then export again")
    if not folder.is_dir():
        raise DestinationRefused(f"{folder} is not a directory", remedy="name a directory, or - for a stream")


def check_space(folder: Path, sources: list[SnapshotSource]) -> None:
    """Raise `NoRoomForExport` unless all fits into what is free in `folder`."""
    status = os.statvfs(folder)
    free_bytes = status.f_bavail * status.f_frsize
    views = [source.view for source in sources]
    needed_bytes = 0
    for with_holes in (False, True):  # holes and further names cost a closer look, taken only where it decides
        needed_bytes = _FIXED_BYTES + sum(_tree_bytes(view, with_holes=with_holes) for view in views)
        if needed_bytes <= free_bytes:
            return
    raise NoRoomForExport(
        f"the export needs about {needed_bytes} bytes, {folder} has {free_bytes} free",
        remedy="free space there, or export to another directory",
    )


def _tree_bytes(view: TreeView, *, with_holes: bool) -> int:
    total = 0
    seen: set[int] = set()
    for path, node in view.walk(ROOT):
        total += _MEMBER_BYTES + 4 * len(path) + sum(len(value) for _, value in node.attributes.xattrs)
        if node.kind is Kind.FILE and not (with_holes and node.id in seen):
            total += _stored_bytes(view, node) if with_holes else node.size_bytes
            if with_holes and node.linked:
                seen.add(node.id)
    return total


def _stored_bytes(view: TreeView, node: Node) -> int:
    sparse = plan_sparse(view.extents(node.content), node.size_bytes)
    return sparse.data_bytes + len(sparse.encoded) if sparse else node.size_bytes
