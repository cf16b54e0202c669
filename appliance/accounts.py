"""Accounts of people: roles, passwords, grants, and the tokens of their programs."""

from msgspec import Struct

from appliance.accounts_db import AccountRow, AccountTable
from appliance.appliance_db import ApplianceDatabase
from appliance.credentials import Chance, check_new_password, hash_password, kept_form, new_secret
from appliance.names import check_account_name
from appliance.rights import ROLES, SCOPES, Grant, parse_grant
from appliance.sessions_db import SessionTable
from core.clock import Clock, format_time
from core.errors import NotFound, Refused


class AccountNotFound(NotFound):
    """No account has this name."""


class AccountExists(Refused):
    """An account has this name already."""


class RoleUnknown(Refused):
    """There is no such role."""


class ScopeUnknown(Refused):
    """There is no such scope of a token."""


class LastAdministrator(Refused):
    """Without this account nobody could administer the appliance over the network."""


class AccountDisabled(Refused):
    """The account is switched off."""


class Account(Struct, frozen=True):
    """An account as it is shown."""

    name: str
    role: str
    grants: list[str]
    disabled: bool
    created_at: str
    signed_in_at: str | None


class Accounts:
    """All accounts. Each change is durable on return, or part of the write block around it."""

    def __init__(self, database: ApplianceDatabase, clock: Clock, chance: Chance) -> None:
        self._database = database
        self._table = AccountTable(database)
        self._sessions = SessionTable(database)
        self._clock = clock
        self._chance = chance

    def add(self, name: str, role: str, password: str, grants: list[str]) -> Account:
        """Add an account."""
        check_account_name(name)
        if role not in ROLES:
            raise RoleUnknown(f"there is no role {role[:40]!r}", remedy=f"use one of {', '.join(ROLES)}")
        parsed = [parse_grant(text) for text in grants]
        check_new_password(password)
        row = AccountRow(name, role, hash_password(password), False, self._clock.now_ns(), None)
        with self._database.write():
            if self._table.get(name) is not None:
                raise AccountExists(f"there is an account {name} already", remedy="choose another name")
            self._table.insert(row, parsed)
            return self._shown(row)

    def all(self) -> list[Account]:
        """Return all accounts by name."""
        return [self._shown(row) for row in self._table.all()]

    def get(self, name: str) -> Account:
        """Return one account; raise `AccountNotFound`."""
        return self._shown(self._existing(name))

    def grants_of(self, name: str) -> list[Grant]:
        """Return what an account was granted; nothing for an unknown one."""
        return self._table.grants(name)

    def set_password(self, name: str, password: str) -> None:
        """Replace a password and end the account's sessions: whoever knew the old one is out."""
        check_new_password(password)
        password_hash = hash_password(password)
        with self._database.write():
            self._existing(name)
            self._table.set_password(name, password_hash)
            self._sessions.remove_sessions_of(name)

    def disable(self, name: str, disabled: bool) -> Account:
        """Switch an account off, ending its sessions and tokens for good, or on again."""
        with self._database.write():
            account = self._existing(name)
            if disabled and account.role == "admin" and not self._other_admins(name):
                raise LastAdministrator(f"{name} is the last administrator", remedy="add another account of role admin first")
            self._table.set_disabled(name, disabled)
            if disabled:
                self._sessions.remove_sessions_of(name)
                self._sessions.remove_tokens_of(name)
            return self._shown(self._existing(name))

    def create_token(self, name: str, scope: str) -> str:
        """Return a new token for programs; it is shown this once and kept as a digest."""
        if scope not in SCOPES:
            raise ScopeUnknown(f"there is no scope {scope[:40]!r}", remedy=f"use one of {', '.join(SCOPES)}")
        token = new_secret(self._chance)
        with self._database.write():
            if self._existing(name).disabled:
                raise AccountDisabled(f"{name} is disabled", remedy=f"enable it: stagekeeper user enable {name}")
            self._sessions.add_token(kept_form(token), name, scope, self._clock.now_ns())
        return token

    def _existing(self, name: str) -> AccountRow:
        row = self._table.get(name)
        if row is None:
            raise AccountNotFound(f"there is no account {name[:80]!r}", remedy="see `stagekeeper user list`")
        return row

    def _other_admins(self, name: str) -> bool:
        return any(row.role == "admin" and not row.disabled and row.name != name for row in self._table.all())

    def _shown(self, row: AccountRow) -> Account:
        signed_in_at = None if row.signed_in_at is None else format_time(row.signed_in_at)
        grants = [str(grant) for grant in self._table.grants(row.name)]
        return Account(row.name, row.role, grants, row.disabled, format_time(row.created_at), signed_in_at)
