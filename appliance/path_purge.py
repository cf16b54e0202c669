"""Purging a path of a share: what is asked before, and what is told afterwards.

The one removal without a delay and without an undo: for data that must not exist any more. Holds still outrank it. The keeper
then seals anew and trims the journal; collect frees the chunks that nothing names any more.
"""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from appliance.goodness import LAST_GOOD
from appliance.removals import in_force
from appliance.vault import OpenShare
from core.clock import format_time
from core.errors import NotFound, Refused, TryLater
from core.relpath import ROOT, RelPath, show_path
from snapshots.collect import Margins
from snapshots.purging import order_purge
from snapshots.tree import NoSuchPath
from tapeexport.inventory_db import InventoryDb
from web.upkeep_values import PurgeReport


class RootPurged(Refused):
    """The root of a share is not purged."""


class PurgeHeld(Refused):
    """A held snapshot shows what is to be purged."""


class PurgeBusy(TryLater):
    """A share cannot be purged at this moment."""


class PathPurge:
    """Purges paths. Any thread may call."""

    def __init__(self, inventory_file: Path, now_ns: Callable[[], int], forget_names: Callable[[OpenShare], None]) -> None:
        """Bind the inventory of cartridges; `forget_names` drops what is derived from a share's names."""
        self._inventory_file, self._now_ns, self._forget_names = inventory_file, now_ns, forget_names

    def purge(self, share: OpenShare, path: RelPath) -> PurgeReport:
        """Purge a path; durable on return. Raises `RootPurged`, `PurgeHeld` or `PurgeBusy` with nothing done."""
        if path == ROOT:
            raise RootPurged("the whole share cannot be purged", remedy=f"delete it: stagekeeper share delete {share.name}")
        share.fold.fold_all()
        if share.fold.state == ("mirroring", "differences are being repaired"):
            raise PurgeBusy(f"{share.name} is being repaired", remedy="try again when that has ended")
        if share.reader.ledger.is_leased():
            raise PurgeBusy(f"{share.name} is being read", remedy="try again when restores and exports have ended")
        now_ns = self._now_ns()
        showing = self._showing(share, path)
        self._check_holds(share, path, showing, now_ns)
        was_live = _stands(share, path, share.fold.sequence)
        done = order_purge(share.fold, path, now_ns)
        share.instants.close()
        self._forget_names(share)
        cartridges, to_check = self._cartridges(share, showing)
        return PurgeReport(
            share=share.name,
            path=show_path(path),
            names=done.names,
            versions=done.versions,
            was_live=was_live,
            snapshots=showing,
            cartridges=cartridges,
            cartridges_to_check=to_check,
            freed_after=format_time(now_ns + _collect_ns()),
        )

    def _showing(self, share: OpenShare, path: RelPath) -> list[int]:
        rows = share.reader.ledger.snapshots(deleted=True)
        return [row.id for row in rows if _stands(share, path, row.sequence)]

    def _check_holds(self, share: OpenShare, path: RelPath, showing: list[int], now_ns: int) -> None:
        every = share.reader.ledger.holds()
        holds = [hold for number in showing for hold in in_force(every.get(number, []), now_ns) if hold.name != LAST_GOOD]
        if holds:
            names = ", ".join(f"{hold.name} ({hold.owner}) on snapshot {hold.snapshot}" for hold in holds[:10])
            raise PurgeHeld(f"{show_path(path)} stands in snapshots that are held: {names}", remedy="release the holds first")

    def _cartridges(self, share: OpenShare, showing: list[int]) -> tuple[list[str], list[str]]:
        """Return the barcodes of cartridges with snapshots that showed the path, and with such that are gone here."""
        known = {row.id for row in share.reader.ledger.snapshots(deleted=True)}
        certain: list[str] = []
        possible: list[str] = []
        with closing(InventoryDb(self._inventory_file)) as inventory:
            for media_set in inventory.media_sets():
                on_it = {label.id for label in media_set.snapshots if label.share == share.name}
                barcodes = [cartridge.barcode for cartridge in media_set.cartridges]
                if on_it & set(showing):
                    certain += barcodes
                elif on_it - known:
                    possible += barcodes
        return sorted(certain), sorted(possible)


def _stands(share: OpenShare, path: RelPath, sequence: int) -> bool:
    try:
        share.reader.view(sequence).node_at(path)
    except (NoSuchPath, NotFound):
        return False
    return True


def _collect_ns() -> int:
    """Return how long collect waits at least before what nothing names is unlinked."""
    margins = Margins()
    return margins.pin_ns + margins.condemned_ns + margins.trash_ns
