"""Queries on accounts and their grants."""

import msgspec
from msgspec import Struct

from appliance.appliance_db import ApplianceDatabase, Row
from appliance.rights import Grant
from core.relpath import RelPath


class AccountRow(Struct, frozen=True):
    """An account as it is kept."""

    name: str
    role: str
    password_hash: str
    disabled: bool
    created_at: int
    signed_in_at: int | None


class AccountTable:
    """Reads at any time; changes inside a write block of the database."""

    def __init__(self, database: ApplianceDatabase) -> None:
        self._database = database

    def all(self) -> list[AccountRow]:
        """Return all accounts by name."""
        return [_account(row) for row in self._database.rows("SELECT * FROM account ORDER BY name")]

    def get(self, name: str) -> AccountRow | None:
        """Return one account."""
        row = self._database.row("SELECT * FROM account WHERE name = ?", [name])
        return None if row is None else _account(row)

    def insert(self, account: AccountRow, grants: list[Grant]) -> None:
        """Add an account with its grants."""
        self._database.change(
            "INSERT INTO account (name, role, password_hash, disabled, created_at) VALUES (?, ?, ?, ?, ?)",
            [account.name, account.role, account.password_hash, account.disabled, account.created_at],
        )
        for grant in dict.fromkeys(grants):
            self._database.change("INSERT INTO account_grant VALUES (?, ?, ?)", [account.name, grant.share, bytes(grant.path)])

    def set_password(self, name: str, password_hash: str) -> None:
        """Replace the kept password."""
        self._database.change("UPDATE account SET password_hash = ? WHERE name = ?", [password_hash, name])

    def set_disabled(self, name: str, disabled: bool) -> None:
        """Switch an account off or on."""
        self._database.change("UPDATE account SET disabled = ? WHERE name = ?", [disabled, name])

    def set_signed_in(self, name: str, time_ns: int) -> None:
        """Note when somebody signed in last."""
        self._database.change("UPDATE account SET signed_in_at = ? WHERE name = ?", [time_ns, name])

    def grants(self, name: str) -> list[Grant]:
        """Return an account's grants."""
        rows = self._database.rows("SELECT share, path FROM account_grant WHERE account = ? ORDER BY share, path", [name])
        return [Grant(row["share"], RelPath(row["path"])) for row in rows]


def _account(row: Row) -> AccountRow:
    return msgspec.convert(row, AccountRow, strict=False)  # SQLite keeps truth as 0 and 1
