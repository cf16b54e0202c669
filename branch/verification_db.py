"""Verifications and resyncs that were asked for, in the agent's database: how the commands and the agent that does it meet."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec
from msgspec import Struct
from sqlite_utils import Database

from core.clock import NANOSECONDS
from core.database import open_database, transaction

_KEPT_NS = 24 * 3600 * NANOSECONDS  # for who asked, who may have been stopped for a while


class Action(StrEnum):
    """What is to be done with a share."""

    REPORT = "report"  # compare and tell
    VERIFY = "verify"  # compare; lay the share anew when something is different, and compare again
    RESYNC = "resync"  # lay the share anew


@dataclass(frozen=True, slots=True)
class Order:
    """An action on a share that was asked for, to be done before a deadline."""

    number: int
    share_id: bytes
    action: Action
    deadline_ns: int


class DifferentPath(Struct, frozen=True, omit_defaults=True):
    """A path that is different on the appliance; `path_base64` where it is no text."""

    path: str
    path_base64: str = ""


class Verified(Struct, frozen=True):
    """What came out: names compared, those that were different and are no longer, the counts before and after.

    `unsure` moved meanwhile or cannot be read; `paths` are the first of those that were different.
    """

    compared: int
    different: int
    repaired: int
    before: int
    after: int
    unsure: int
    paths: list[DifferentPath]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an order is."""

    is_begun: bool
    verified: Verified | None
    failed: str

    @property
    def is_settled(self) -> bool:
        """Tell whether nothing more will be done about it."""
        return self.verified is not None or bool(self.failed)


class VerificationDb:
    """The orders of all shares; a connection belongs to its thread, so each thread opens its own."""

    def __init__(self, path: Path) -> None:
        """Open the agent's database, which `StateDb` has made."""
        self._connection = open_database(path, synchronous="FULL").conn

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def ask(self, share_id: bytes, action: Action, now_ns: int, deadline_ns: int) -> Order:
        """Ask for an action; durable on return."""
        with transaction(self._connection):
            self._connection.execute("DELETE FROM verification WHERE deadline_ns < ?", (now_ns - _KEPT_NS,))
            (number,) = self._connection.execute(
                "INSERT INTO verification(share_id, action, deadline_ns) VALUES (?, ?, ?) RETURNING number",
                (share_id, action.value, deadline_ns),
            ).fetchone()
        return Order(number, share_id, action, deadline_ns)

    def pending(self, now_ns: int) -> list[Order]:
        """Return what is neither done nor failed nor too late, in the order of asking."""
        query = (
            "SELECT number, share_id, action, deadline_ns FROM verification"
            " WHERE verified IS NULL AND failed = '' AND deadline_ns > ? ORDER BY number"
        )
        return [Order(row[0], row[1], Action(row[2]), row[3]) for row in self._connection.execute(query, (now_ns,))]

    def begin(self, number: int) -> None:
        """Take note that the work has begun."""
        self._set(number, "begun = 1")

    def finish(self, number: int, verified: Verified) -> None:
        """Take note of what came out."""
        self._set(number, "verified = ?", msgspec.json.encode(verified).decode())

    def fail(self, number: int, reason: str) -> None:
        """Take note that it was not done."""
        self._set(number, "failed = ?", reason)

    def give_up(self, number: int) -> None:
        """Take note that nobody waits for it any more; what came out stays."""
        self._set(number, "failed = CASE WHEN verified IS NULL AND failed = '' THEN 'nobody waits for it' ELSE failed END")

    def progress(self, number: int) -> Progress:
        """Return how far an order is."""
        query = "SELECT begun, verified, failed FROM verification WHERE number = ?"
        begun, verified, failed = self._connection.execute(query, (number,)).fetchone()
        return Progress(bool(begun), msgspec.json.decode(verified, type=Verified) if verified else None, failed)

    def _set(self, number: int, what: str, *values: object) -> None:
        with transaction(self._connection):
            self._connection.execute(f"UPDATE verification SET {what} WHERE number = ?", (*values, number))


def create_verifications(database: Database) -> None:
    """Make the table in the agent's database."""
    database.execute(
        "CREATE TABLE verification(number INTEGER PRIMARY KEY AUTOINCREMENT, share_id BLOB NOT NULL, action TEXT NOT NULL,"
        " deadline_ns INTEGER NOT NULL, begun INTEGER NOT NULL DEFAULT 0, verified TEXT, failed TEXT NOT NULL DEFAULT '')"
    )
