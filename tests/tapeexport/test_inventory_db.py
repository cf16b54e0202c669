"""The inventory: barcodes, states, and what holds which snapshot."""

import os
import sqlite3
from pathlib import Path

import pytest

from core.database import DatabaseTooNew
from tapeexport.cartridge_format import SnapshotLabel
from tapeexport.inventory_db import InventoryDb, MediaSetMissing

NOON = SnapshotLabel("paris/files", 3, 70, "2026-11-22T12:00:00.000000Z", "noon")
LYON = SnapshotLabel("lyon/files", 3, 9, "2026-11-22T12:00:00.000000Z", "")


def test_barcodes_count_up_and_are_never_given_again(tmp_path: Path) -> None:
    inventory = InventoryDb(tmp_path / "i.db")
    assert [inventory.begin_set((), 0, tmp_path).barcode for _ in range(2)] == ["SK0001L9", "SK0002L9"]
    inventory.fail("SK0002L9", "a reason")
    inventory.close()
    with sqlite3.connect(tmp_path / "i.db") as connection:
        connection.execute("DELETE FROM cartridge")
    connection.close()
    inventory = InventoryDb(tmp_path / "i.db")
    assert inventory.begin_set((), 0, tmp_path).barcode == "SK0003L9"
    inventory.close()


def test_a_set_tells_its_snapshots_and_how_its_cartridges_ended(tmp_path: Path) -> None:
    inventory = InventoryDb(tmp_path / "i.db")
    rows = [inventory.begin_set((NOON, LYON), second * 10**9, tmp_path) for second in range(4)]
    inventory.complete(rows[0].barcode, "verified", 10240, "ab" * 32, 5)
    inventory.complete(rows[1].barcode, "streamed", 10240, None, 5)
    inventory.fail(rows[2].barcode, "full")
    inventory.complete(rows[3].barcode, "verified", 10240, "cd" * 32, 5)
    states = [(media_set.id, [row.state for row in media_set.cartridges]) for media_set in inventory.media_sets()]
    ends = ["verified", "streamed", "failed", "verified"]
    assert states == [(row.set, [end]) for row, end in zip(rows, ends, strict=True)][::-1]
    assert inventory.media_set(rows[0].set).snapshots == (LYON, NOON)
    assert [row.reason for row in inventory.cartridges_in("failed")] == ["full"]
    inventory.close()


def test_paths_are_bytes(tmp_path: Path) -> None:
    inventory = InventoryDb(tmp_path / "i.db")
    folder = Path(os.fsdecode(b"/odd\xff"))
    row = inventory.begin_set((), 0, folder)
    assert inventory.media_set(row.set).cartridges[0].path == b"/odd\xff/SK0001L9.tar"
    inventory.close()


def test_an_unknown_set_is_told(tmp_path: Path) -> None:
    inventory = InventoryDb(tmp_path / "i.db")
    with pytest.raises(MediaSetMissing, match="nothing"):
        inventory.media_set("nothing")
    inventory.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    inventory = InventoryDb(tmp_path / "i.db")
    with pytest.raises(Exception, match="UNIQUE"):
        inventory.begin_set((NOON, NOON), 0, tmp_path)
    assert inventory.media_sets() == []
    assert inventory.begin_set((NOON,), 0, tmp_path).barcode == "SK0001L9"
    inventory.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    InventoryDb(tmp_path / "i.db").close()
    with sqlite3.connect(tmp_path / "i.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DatabaseTooNew):
        InventoryDb(tmp_path / "i.db")
