"""The barriers that were asked for, in the agent's database: how the command `mark` and the agent that makes one meet.

A row is the memory of a hold too: the commands that end it are written down before the first one that begins it is run, so
that whoever finds them there at a start knows that they are still to be run.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from branch.commands import Commands
from core.clock import NANOSECONDS
from core.database import open_database, transaction
from staging.changes import Consistency

_KEPT_NS = 24 * 3600 * NANOSECONDS  # for who asked, who may have been stopped for a while
_ASKED = "number, share_id, label, level, deadline_ns"


@dataclass(frozen=True, slots=True)
class Asked:
    """A barrier to be made before a deadline."""

    number: int
    share_id: bytes
    label: str
    level: Consistency
    deadline_ns: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far a barrier is: begun, made as a change (`sequence`), or `failed`; `notes` are (what, why) of what went wrong."""

    is_begun: bool
    sequence: int
    failed: str
    notes: tuple[tuple[str, str], ...]

    @property
    def is_settled(self) -> bool:
        """Tell whether nothing more will be done about it."""
        return bool(self.sequence or self.failed)


class BarrierDb:
    """The barriers of all shares; a connection belongs to its thread, so each thread opens its own."""

    def __init__(self, path: Path) -> None:
        """Open the agent's database, which `StateDb` has made."""
        self._connection = open_database(path, synchronous="FULL").conn

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def ask(self, share_id: bytes, label: str, level: Consistency, now_ns: int, deadline_ns: int) -> Asked:
        """Ask for a barrier; durable on return."""
        with transaction(self._connection):
            self._connection.execute("DELETE FROM barrier WHERE deadline_ns < ? AND after IS NULL", (now_ns - _KEPT_NS,))
            (number,) = self._connection.execute(
                "INSERT INTO barrier(share_id, label, level, deadline_ns) VALUES (?, ?, ?, ?) RETURNING number",
                (share_id, label, int(level), deadline_ns),
            ).fetchone()
        return Asked(number, share_id, label, level, deadline_ns)

    def pending(self, now_ns: int) -> list[Asked]:
        """Return what is neither made nor failed nor too late, in the order of asking."""
        query = f"SELECT {_ASKED} FROM barrier WHERE sequence = 0 AND failed = '' AND deadline_ns > ? ORDER BY number"
        return [_asked(row) for row in self._connection.execute(query, (now_ns,))]

    def begin(self, number: int) -> None:
        """Take note that the work has begun."""
        self._set(number, "begun = 1")

    def hold(self, number: int, after: Commands) -> None:
        """Write down what ends a hold that is about to begin."""
        self._set(number, "after = ?", json.dumps([after.seconds, after.commands]))

    def end_hold(self, number: int) -> None:
        """Take note that a hold has been ended."""
        self._set(number, "after = NULL")

    def holds(self) -> list[tuple[int, Commands]]:
        """Return the holds of which nobody has noted the end, by the numbers of their barriers."""
        rows = self._connection.execute("SELECT number, after FROM barrier WHERE after IS NOT NULL ORDER BY number").fetchall()
        return [(number, _commands(*json.loads(after))) for number, after in rows]

    def made(self, number: int, sequence: int, notes: list[tuple[str, str]]) -> None:
        """Take note that a barrier stands in the share's order."""
        self._set(number, "sequence = ?, notes = ?", sequence, json.dumps(notes))

    def fail(self, number: int, reason: str, notes: list[tuple[str, str]]) -> None:
        """Take note that a barrier is not made."""
        self._set(number, "failed = ?, notes = ?", reason, json.dumps(notes))

    def give_up(self, number: int) -> None:
        """Take note that nobody waits for a barrier any more; one that is made stays."""
        self._set(number, "failed = CASE WHEN sequence = 0 AND failed = '' THEN 'nobody waits for it' ELSE failed END")

    def outcome(self, number: int) -> Outcome:
        """Return how far a barrier is."""
        query = "SELECT begun, sequence, failed, notes FROM barrier WHERE number = ?"
        begun, sequence, failed, notes = self._connection.execute(query, (number,)).fetchone()
        return Outcome(bool(begun), sequence, failed, tuple((what, why) for what, why in json.loads(notes)))

    def _set(self, number: int, what: str, *values: object) -> None:
        with transaction(self._connection):
            self._connection.execute(f"UPDATE barrier SET {what} WHERE number = ?", (*values, number))


def create_barriers(database: Database) -> None:
    """Make the table in the agent's database."""
    database.execute(
        "CREATE TABLE barrier(number INTEGER PRIMARY KEY AUTOINCREMENT, share_id BLOB NOT NULL, label TEXT NOT NULL,"
        " level INTEGER NOT NULL, deadline_ns INTEGER NOT NULL, begun INTEGER NOT NULL DEFAULT 0,"
        " sequence INTEGER NOT NULL DEFAULT 0, failed TEXT NOT NULL DEFAULT '', notes TEXT NOT NULL DEFAULT '[]', after TEXT)"
    )


def _asked(row: tuple[Any, ...]) -> Asked:
    number, share_id, label, level, deadline_ns = row
    return Asked(number, share_id, label, Consistency(level), deadline_ns)


def _commands(seconds: float, commands: list[list[str]]) -> Commands:
    return Commands(tuple(tuple(words) for words in commands), seconds)
