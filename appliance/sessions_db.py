"""Queries on sessions, API tokens and failed attempts."""

from typing import Any

from appliance.appliance_db import ApplianceDatabase, Row


class SessionTable:
    """Sessions and tokens by the digest of their secret; changes inside a write block."""

    def __init__(self, database: ApplianceDatabase) -> None:
        self._database = database

    def add_session(self, digest: bytes, account: str, address: str, now_ns: int) -> None:
        """Keep a new session."""
        self._database.change("INSERT INTO session VALUES (?, ?, ?, ?, ?)", [digest, account, address, now_ns, now_ns])

    def session(self, digest: bytes) -> Row | None:
        """Return a session with its account's role, unless the account is disabled."""
        return self._database.row(
            "SELECT s.account, s.created_at, s.used_at, a.role FROM session s JOIN account a ON a.name = s.account "
            "WHERE s.digest = ? AND NOT a.disabled",
            [digest],
        )

    def touch(self, digest: bytes, now_ns: int) -> None:
        """Note that a session was used."""
        self._database.change("UPDATE session SET used_at = ? WHERE digest = ?", [now_ns, digest])

    def remove_session(self, digest: bytes) -> int:
        """Forget a session and return how many there were."""
        return self._database.change("DELETE FROM session WHERE digest = ?", [digest])

    def remove_old(self, used_before: int, created_before: int) -> None:
        """Forget sessions that were not used or were begun too long ago."""
        self._database.change("DELETE FROM session WHERE used_at < ? OR created_at < ?", [used_before, created_before])

    def remove_sessions_of(self, account: str) -> None:
        """Forget all sessions of an account."""
        self._database.change("DELETE FROM session WHERE account = ?", [account])

    def remove_tokens_of(self, account: str) -> None:
        """Forget all tokens of an account."""
        self._database.change("DELETE FROM token WHERE account = ?", [account])

    def add_token(self, digest: bytes, account: str, scope: str, now_ns: int) -> None:
        """Keep a new token."""
        self._database.change("INSERT INTO token VALUES (?, ?, ?, ?)", [digest, account, scope, now_ns])

    def token(self, digest: bytes) -> Row | None:
        """Return a token's account, role and scope, unless the account is disabled."""
        return self._database.row(
            "SELECT t.account, t.scope, a.role FROM token t JOIN account a ON a.name = t.account "
            "WHERE t.digest = ? AND NOT a.disabled",
            [digest],
        )


class AttemptTable:
    """Counters of failed attempts, by kind and key; changes inside a write block."""

    def __init__(self, database: ApplianceDatabase) -> None:
        self._database = database

    def get(self, kind: str, key: str) -> tuple[int, int]:
        """Return (failures, time of the last)."""
        row = self._database.row("SELECT failures, last_at FROM attempt WHERE kind = ? AND key = ?", [kind, key])
        return (0, 0) if row is None else (row["failures"], row["last_at"])

    def set(self, kind: str, key: str, failures: int, last_at: int) -> None:
        """Keep a counter."""
        parameters: list[Any] = [kind, key, failures, last_at]
        self._database.change("INSERT OR REPLACE INTO attempt VALUES (?, ?, ?, ?)", parameters)

    def remove(self, kind: str, key: str) -> None:
        """Forget a counter."""
        self._database.change("DELETE FROM attempt WHERE kind = ? AND key = ?", [kind, key])

    def remove_older(self, before: int) -> None:
        """Forget counters whose last failure is too long ago to matter."""
        self._database.change("DELETE FROM attempt WHERE last_at < ?", [before])
