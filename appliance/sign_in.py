"""Signing in: passwords become sessions, sessions and tokens become actors. Implements `web.operations.SignIn`.

Every attempt whose password is looked at is in the audit log. One that has to wait is not: whoever guesses would else
decide how fast the log grows.
"""

from appliance.accounts_db import AccountTable
from appliance.appliance_db import ApplianceDatabase
from appliance.attempts import Attempts, address_key
from appliance.audit import AuditLog
from appliance.credentials import Chance, kept_form, new_secret, nobodys_password, verify_password
from appliance.rights import TokenActor
from appliance.sessions_db import SessionTable
from core.clock import NANOSECONDS, Clock
from web.errors import SignInRefused
from web.operations import Actor

IDLE_SECONDS = 12 * 3600
LONGEST_SECONDS = 7 * 86_400  # however busy: a stolen session ends some day
_AHEAD_SECONDS = 3600
_TOUCH_SECONDS = 60  # a used session is noted at most so often: a page has many requests, a note is an fsync


class SignInDesk:
    """Sessions of people and tokens of programs."""

    def __init__(self, database: ApplianceDatabase, audit: AuditLog, clock: Clock, chance: Chance) -> None:
        self._database = database
        self._accounts = AccountTable(database)
        self._sessions = SessionTable(database)
        self._attempts = Attempts(database, clock)
        self._audit = audit
        self._clock = clock
        self._chance = chance

    def sign_in(self, account: str, password: str, address: str) -> str:
        """Return a new session's secret; raise `SignInRefused`, or `TooManyAttempts` without looking at the password."""
        name, place = account[:64], address_key(address)
        self._attempts.begin([("account", name), ("address", place)])
        row = self._accounts.get(account)
        kept = row.password_hash if row is not None else nobodys_password()
        right = verify_password(kept, password)
        actor = Actor(name, "", address)
        if row is None or not right or row.disabled:
            self._audit.record(actor, "sign_in", name, outcome="refused")
            raise SignInRefused(
                "account and password do not go together",
                remedy="check both; whoever owns the appliance's folder can set a new password",
            )
        return self._begin_session(actor, place)

    def actor_of_session(self, secret: str, address: str) -> Actor | None:
        """Return who has this session, or None when it ended."""
        digest, now = kept_form(secret), self._clock.now_ns()
        row = self._sessions.session(digest)
        if row is None or now - row["used_at"] > IDLE_SECONDS * NANOSECONDS:
            return None
        if not -_AHEAD_SECONDS * NANOSECONDS <= now - row["created_at"] <= LONGEST_SECONDS * NANOSECONDS:
            return None  # also when it began under a clock that stood far ahead: else it would last until then
        if now - row["used_at"] > _TOUCH_SECONDS * NANOSECONDS:
            with self._database.write():
                self._sessions.touch(digest, now)
        return Actor(row["account"], row["role"], address)

    def actor_of_token(self, token: str, address: str) -> Actor | None:
        """Return for whom this token speaks, or None."""
        row = self._sessions.token(kept_form(token))
        return None if row is None else TokenActor(row["account"], row["role"], address, row["scope"])

    def sign_out(self, secret: str) -> None:
        """End a session; an unknown one is ended already."""
        digest = kept_form(secret)
        row = self._sessions.session(digest)
        with self._database.write():
            if self._sessions.remove_session(digest) and row is not None:
                self._audit.record(Actor(row["account"], row["role"]), "sign_out", row["account"])

    def _begin_session(self, actor: Actor, place: str) -> str:
        secret, now = new_secret(self._chance), self._clock.now_ns()
        with self._database.write():
            self._attempts.succeeded("account", actor.account)
            self._attempts.withdraw("address", place)
            self._sessions.remove_old(now - IDLE_SECONDS * NANOSECONDS, now - LONGEST_SECONDS * NANOSECONDS)
            self._sessions.add_session(kept_form(secret), actor.account, actor.address, now)
            self._accounts.set_signed_in(actor.account, now)
            self._audit.record(actor, "sign_in", actor.account)
        return secret
