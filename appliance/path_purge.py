"""Purging a path of a share: what is asked before, and what is told afterwards.

The one removal without a delay and without an undo: for data that must not exist any more. Holds still outrank it. The keeper
then seals anew and trims the journal; collect frees the chunks that nothing names any more.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, closing

from appliance.goodness import LAST_GOOD
from appliance.removals import in_force
from appliance.removed_shares import remove_set_aside
from appliance.root import Root
from appliance.vault import OpenShare
from core.clock import format_time
from core.durable import OS_FILES, FileLayer
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


WithoutNames = Callable[[OpenShare], AbstractContextManager[None]]


class PathPurge:
    """Purges paths. Any thread may call."""

    def __init__(self, root: Root, now_ns: Callable[[], int], without_names: WithoutNames, files: FileLayer = OS_FILES) -> None:
        """Bind the appliance's folder; within `without_names` nothing is there that is derived from a share's names."""
        self._root, self._now_ns, self._without_names, self._files = root, now_ns, without_names, files

    def purge(self, share: OpenShare, path: RelPath) -> PurgeReport:
        """Purge a path; durable on return. Raises `RootPurged`, `PurgeHeld` or `PurgeBusy` with nothing done."""
        if path == ROOT:
            raise RootPurged("the whole share cannot be purged", remedy=f"delete it: stagekeeper share delete {share.name}")
        share.fold.fold_all()
        now_ns, look = self._now_ns(), _Look(share, path)
        look.check(now_ns)
        was_live = look.stands(share.fold.sequence)
        with self._without_names(share):
            remove_set_aside(self._root, share.name, self._files)  # before the order: a crash leaves it to no one
            done = order_purge(share.fold, path, now_ns, lambda: look.check(now_ns))
        share.instants.close()
        showing = look.showing()
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

    def _cartridges(self, share: OpenShare, showing: list[int]) -> tuple[list[str], list[str]]:
        """Return the barcodes of cartridges with snapshots that showed the path, and with such that are gone here."""
        known = {row.id for row in share.reader.ledger.snapshots(deleted=True)}
        certain: list[str] = []
        possible: list[str] = []
        with closing(InventoryDb(self._root.db / "inventory.db")) as inventory:
            for media_set in inventory.media_sets():
                on_it = {label.id for label in media_set.snapshots if label.share == share.name}
                barcodes = [cartridge.barcode for cartridge in media_set.cartridges]
                if on_it & set(showing):
                    certain += barcodes
                elif on_it - known:
                    possible += barcodes
        return sorted(certain), sorted(possible)


class _Look:
    """What shows a path, looked up once for each snapshot, so that it can be looked at again in the share's turn."""

    def __init__(self, share: OpenShare, path: RelPath) -> None:
        self._share, self._path = share, path
        self._stood: dict[int, bool] = {}

    def check(self, now_ns: int) -> None:
        """Raise `PurgeBusy` or `PurgeHeld` when the path may not be purged now."""
        share = self._share
        if share.fold.state == ("mirroring", "differences are being repaired"):
            raise PurgeBusy(f"{share.name} is being repaired", remedy="try again when that has ended")
        if share.reader.ledger.is_leased():
            raise PurgeBusy(f"{share.name} is being read", remedy="try again when restores and exports have ended")
        every = share.reader.ledger.holds()
        ids = self._find_showing()
        holds = [hold for number in ids for hold in in_force(every.get(number, []), now_ns) if hold.name != LAST_GOOD]
        if holds:
            names = ", ".join(f"{hold.name} ({hold.owner}) on snapshot {hold.snapshot}" for hold in holds[:10])
            raise PurgeHeld(
                f"{show_path(self._path)} stands in snapshots that are held: {names}", remedy="release the holds first"
            )

    def showing(self) -> list[int]:
        """Return the ids of the snapshots that showed the path at the last check."""
        return sorted(number for number, stood in self._stood.items() if stood)

    def stands(self, sequence: int) -> bool:
        """Tell whether something stands at the path in what is kept of a sequence."""
        try:
            self._share.reader.view(sequence).node_at(self._path)
        except (NoSuchPath, NotFound):
            return False
        return True

    def _find_showing(self) -> list[int]:
        rows = self._share.reader.ledger.snapshots(deleted=True)
        self._stood = {row.id: self._stood[row.id] if row.id in self._stood else self.stands(row.sequence) for row in rows}
        return self.showing()


def _collect_ns() -> int:
    """Return how long collect waits at least before what nothing names is unlinked."""
    margins = Margins()
    return margins.pin_ns + margins.condemned_ns + margins.trash_ns
