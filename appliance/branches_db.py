"""Queries on known branches."""

import msgspec
from msgspec import Struct

from appliance.appliance_db import ApplianceDatabase, Row


class BranchRow(Struct, frozen=True):
    """A branch as it is kept."""

    name: str
    state: str
    created_at: int
    code_digest: bytes | None
    code_expires_at: int | None
    token_digest: bytes | None
    enrolled_at: int | None
    last_seen_at: int | None
    deleted_at: int | None = None
    drops_at: int | None = None
    quota_bytes: int | None = None


class BranchTable:
    """Reads at any time; changes inside a write block of the database."""

    def __init__(self, database: ApplianceDatabase) -> None:
        self._database = database

    def all(self) -> list[BranchRow]:
        """Return all branches by name."""
        return [_branch(row) for row in self._database.rows("SELECT * FROM branch ORDER BY name")]

    def get(self, name: str) -> BranchRow | None:
        """Return one branch."""
        row = self._database.row("SELECT * FROM branch WHERE name = ?", [name])
        return None if row is None else _branch(row)

    def by_code(self, digest: bytes) -> BranchRow | None:
        """Return the branch that waits for this code."""
        row = self._database.row("SELECT * FROM branch WHERE code_digest = ?", [digest])
        return None if row is None else _branch(row)

    def put(self, branch: BranchRow) -> None:
        """Add or replace a branch."""
        self._database.change(
            "INSERT OR REPLACE INTO branch (name, state, created_at, code_digest, code_expires_at, token_digest, "
            "enrolled_at, last_seen_at, deleted_at, drops_at, quota_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            list(msgspec.structs.astuple(branch)),
        )

    def remove(self, name: str) -> None:
        """Forget a branch."""
        self._database.change("DELETE FROM branch WHERE name = ?", [name])

    def set_last_seen(self, name: str, time_ns: int) -> None:
        """Note when a branch called last."""
        self._database.change("UPDATE branch SET last_seen_at = ? WHERE name = ?", [time_ns, name])


def _branch(row: Row) -> BranchRow:
    return msgspec.convert(row, BranchRow, builtin_types=(bytes,))
