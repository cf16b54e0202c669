"""Transactions of the appliance's own database."""

import threading
from pathlib import Path

import pytest

from appliance.appliance_db import ApplianceDatabase
from core.database import DatabaseDamaged, DatabaseTooNew, open_database

INSERT = "INSERT INTO attempt VALUES ('address', ?, 1, 1)"


def keys(database: ApplianceDatabase) -> list[str]:
    return [row["key"] for row in database.rows("SELECT key FROM attempt ORDER BY key")]


def test_commits_are_durable_and_foreign_keys_hold(database: ApplianceDatabase) -> None:
    assert database.rows("PRAGMA synchronous")[0]["synchronous"] == 2
    assert database.rows("PRAGMA journal_mode")[0]["journal_mode"] == "wal"
    assert database.rows("PRAGMA foreign_keys")[0]["foreign_keys"] == 1


def test_a_block_is_kept_whole_or_not_at_all(database: ApplianceDatabase) -> None:
    with database.write():
        database.change(INSERT, ["a"])
    with pytest.raises(ValueError, match="on the way"), database.write():
        database.change(INSERT, ["b"])
        raise ValueError("on the way")
    assert keys(database) == ["a"]


def test_a_block_inside_a_block_joins_it(database: ApplianceDatabase) -> None:
    with pytest.raises(ValueError), database.write():
        with database.write():
            database.change(INSERT, ["inner"])
        assert keys(database) == ["inner"]
        raise ValueError
    assert keys(database) == []


def test_changes_outside_of_a_block_are_a_mistake(database: ApplianceDatabase) -> None:
    with pytest.raises(RuntimeError):
        database.change(INSERT, ["a"])


def test_threads_write_one_after_the_other_and_none_is_lost(database: ApplianceDatabase) -> None:
    def work(name: str) -> None:
        for number in range(20):
            with database.write():
                assert database.row("SELECT count(*) AS n FROM attempt") is not None  # read, then write
                database.change(INSERT, [f"{name}{number}"])

    threads = [threading.Thread(target=work, args=[name]) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys(database)) == 80


def test_a_file_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    ApplianceDatabase(tmp_path / "x.db").close()
    other = open_database(tmp_path / "x.db")
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.raises(DatabaseTooNew):
        ApplianceDatabase(tmp_path / "x.db")


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(DatabaseDamaged):
        ApplianceDatabase(tmp_path / "x.db")
