"""Queries on how much was free on each day."""

from appliance.appliance_db import ApplianceDatabase


class FreeSpaceTable:
    """Reads at any time; changes inside a write block of the database."""

    def __init__(self, database: ApplianceDatabase) -> None:
        self._database = database

    def add(self, day: int, taken_at: int, free_bytes: int) -> None:
        """Note what was free on a day; the first note of a day stays."""
        self._database.change("INSERT OR IGNORE INTO free_space VALUES (?, ?, ?)", [day, taken_at, free_bytes])

    def drop_before(self, day: int) -> None:
        """Forget the days before one."""
        self._database.change("DELETE FROM free_space WHERE day < ?", [day])

    def all(self) -> list[tuple[int, int]]:
        """Return (time, free bytes) of each day, oldest first."""
        rows = self._database.rows("SELECT taken_at, free_bytes FROM free_space ORDER BY day")
        return [(row["taken_at"], row["free_bytes"]) for row in rows]
