"""Queries on schedules."""

import msgspec
from msgspec import Struct

from appliance.appliance_db import ApplianceDatabase, Row


class ScheduleRow(Struct, frozen=True):
    """A schedule as it is kept. Times are nanoseconds; `last_due` counts as run, whatever came of it."""

    name: str
    cron: str
    tz: str
    action: str
    shares: list[str]
    destination: str
    kind: str
    enabled: bool
    created_at: int
    last_due: int
    last_run: int | None = None
    last_outcome: str = ""
    last_message: str = ""


_COLUMNS = ScheduleRow.__struct_fields__
_INSERT = f"INSERT INTO schedule ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"


class ScheduleTable:
    """Reads at any time; changes inside a write block of the database."""

    def __init__(self, database: ApplianceDatabase) -> None:
        self._database = database

    def all(self) -> list[ScheduleRow]:
        """Return all schedules by name."""
        return [_schedule(row) for row in self._database.rows("SELECT * FROM schedule ORDER BY name")]

    def get(self, name: str) -> ScheduleRow | None:
        """Return one schedule."""
        row = self._database.row("SELECT * FROM schedule WHERE name = ?", [name])
        return None if row is None else _schedule(row)

    def insert(self, schedule: ScheduleRow) -> None:
        """Add a schedule."""
        values = [getattr(schedule, column) for column in _COLUMNS]
        values[_COLUMNS.index("shares")] = msgspec.json.encode(schedule.shares).decode()
        self._database.change(_INSERT, values)

    def delete(self, name: str) -> None:
        """Remove a schedule."""
        self._database.change("DELETE FROM schedule WHERE name = ?", [name])

    def set_enabled(self, name: str, enabled: bool, last_due: int) -> None:
        """Switch a schedule; what came due before `last_due` is not caught up."""
        self._database.change("UPDATE schedule SET enabled = ?, last_due = ? WHERE name = ?", [enabled, last_due, name])

    def set_times(self, name: str, cron: str, zone: str) -> None:
        """Say anew when a schedule is due."""
        self._database.change("UPDATE schedule SET cron = ?, tz = ? WHERE name = ?", [cron, zone, name])

    def set_last_due(self, name: str, last_due: int) -> None:
        """Say up to when due times are used."""
        self._database.change("UPDATE schedule SET last_due = ? WHERE name = ?", [last_due, name])

    def claim(self, name: str, seen_due: int, due: int, now_ns: int) -> bool:
        """Take a due time: only one caller that saw the same last one gets it."""
        changed = self._database.change(
            "UPDATE schedule SET last_due = ?, last_run = ?, last_outcome = 'running', last_message = '' "
            "WHERE name = ? AND last_due = ? AND enabled",
            [due, now_ns, name, seen_due],
        )
        return changed == 1

    def begin(self, name: str, now_ns: int) -> None:
        """Note that a run was begun by hand."""
        self._database.change(
            "UPDATE schedule SET last_run = ?, last_outcome = 'running', last_message = '' WHERE name = ?",
            [now_ns, name],
        )

    def finish(self, name: str, outcome: str, message: str) -> None:
        """Note how a run ended."""
        self._database.change("UPDATE schedule SET last_outcome = ?, last_message = ? WHERE name = ?", [outcome, message, name])

    def interrupt_running(self) -> list[str]:
        """Mark runs that a crash ended, and return their names."""
        names = [row["name"] for row in self._database.rows("SELECT name FROM schedule WHERE last_outcome = 'running'")]
        self._database.change(
            "UPDATE schedule SET last_outcome = 'interrupted', last_message = 'the appliance ended during the run' "
            "WHERE last_outcome = 'running'"
        )
        return names


def _schedule(row: Row) -> ScheduleRow:
    return msgspec.convert({**row, "shares": msgspec.json.decode(row["shares"])}, ScheduleRow, strict=False)
