"""Settles exports that were cut off by a crash, so that inventory and directory agree again."""

import os
from pathlib import Path

from core.clock import Clock
from core.durable import OS_FILES, FileLayer
from tapeexport.archive_reader import verify_cartridge
from tapeexport.cartridge_files import CartridgeFiles
from tapeexport.inventory_db import CartridgeRow, InventoryDb


def recover_exports(inventory: InventoryDb, clock: Clock, files: FileLayer = OS_FILES) -> list[str]:
    """Settle every cartridge in state `writing` and return their barcodes; no export may be running.

    What is unfinished is removed. An archive that had its name already and reads back whole counts as verified; a file
    of that name that is another's is left alone. May be cut off itself and called again.
    """
    rows = inventory.cartridges_in("writing")
    for row in rows:
        tar = Path(os.fsdecode(row.path))
        if not row.path or not tar.parent.is_dir():
            inventory.fail(row.barcode, "the export was cut off")
            continue
        place = CartridgeFiles(tar.parent, row.barcode, files)
        place.discard_parts()
        place.remove_orphaned_index(row.set)
        _settle(row, place, inventory, clock)
    return [row.barcode for row in rows]


def _settle(row: CartridgeRow, place: CartridgeFiles, inventory: InventoryDb, clock: Clock) -> None:
    proof = verify_cartridge(place.tar) if place.tar.is_file() else None
    if proof is not None and proof.is_of(row.set):
        place.write_checksum(proof.sha256)
        inventory.complete(row.barcode, "verified", proof.size_bytes, proof.sha256, clock.now_ns())
    else:
        inventory.fail(row.barcode, "the export was cut off")
