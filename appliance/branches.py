"""Known branches: how one becomes known, and by which token it is recognised afterwards.

A one-time code names the branch and pins our certificate; enrolling turns it into a token that is given out once. All
secrets are kept as digests. When a branch called last is kept in memory and written now and then: every frame is a
call, and a note is an fsync.
"""

import threading
from dataclasses import dataclass

import msgspec

from appliance.appliance_db import ApplianceDatabase
from appliance.branches_db import BranchRow, BranchTable
from appliance.credentials import Chance, kept_form, new_code, new_secret, plain_code
from appliance.names import check_name
from core.clock import NANOSECONDS, Clock, format_time
from core.errors import NotFound, Refused, TryLater
from web.share_values import BranchCode

CODE_SECONDS = 24 * 3600
_AHEAD_SECONDS = 3600
_SEEN_SECONDS = 30


class BranchNotFound(NotFound):
    """No branch has this name."""


class BranchExists(Refused):
    """The name belongs to a branch that was enrolled already."""


class CodeRefused(Refused):
    """The one-time code is wrong, used, or too old."""


class TokenRefused(Refused):
    """The branch's token is unknown."""


class BranchRevoked(Refused):
    """The branch's token was revoked, or the branch was deleted."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an enrolled branch gets, once."""

    branch: str
    token: str


class Branches:
    """All branches. One object per file: it keeps the tokens' digests in memory."""

    def __init__(self, database: ApplianceDatabase, clock: Clock, chance: Chance, fingerprint: str) -> None:
        """Load the known branches; `fingerprint` is that of the certificate that agents will see."""
        self._database = database
        self._table = BranchTable(database)
        self._clock = clock
        self._chance = chance
        self._fingerprint = fingerprint
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}
        self._flushed_at = clock.monotonic()
        self._names: dict[bytes, str] = {}
        self._revoked: frozenset[bytes] = frozenset()
        self._quotas: dict[str, int] = {}
        self._load()

    def add(self, name: str) -> BranchCode:
        """Return a code for a new branch; one that never called may be given another code, and the old one ends."""
        check_name("branch", name)
        code, now = new_code(self._chance), self._clock.now_ns()
        expires_at = now + CODE_SECONDS * NANOSECONDS
        with self._database.write():
            known = self._row_with_seen(name)
            if known is not None and known.deleted_at is not None:
                raise BranchExists(f"{name} was deleted and is not gone yet", remedy="take it back, wait, or choose another name")
            if known is not None and (known.state == "revoked" or known.last_seen_at is not None):
                raise BranchExists(f"{name} is {known.state} already", remedy="choose another name")
            self._table.put(BranchRow(name, "waiting", now, kept_form(code), expires_at, None, None, None))
            self._load()
        return BranchCode(name, f"{code}.{self._fingerprint}", format_time(expires_at))

    def all(self) -> list[BranchRow]:
        """Return all branches by name, as they are kept."""
        return [self._with_seen(row) for row in self._table.all()]

    def get(self, name: str) -> BranchRow:
        """Return one branch; raise `BranchNotFound`."""
        row = self._row_with_seen(name)
        if row is None:
            raise BranchNotFound(f"there is no branch {name[:80]!r}", remedy="see `stagekeeper branch list`")
        return row

    def revoke(self, name: str) -> BranchRow:
        """End a branch's token and code at once; its shares stay. May be called twice."""
        with self._database.write():
            row = msgspec.structs.replace(self.get(name), state="revoked", code_digest=None, code_expires_at=None)
            self._table.put(row)
            self._load()
        return row

    def delete(self, name: str, drops_at: int) -> BranchRow:
        """Note a branch as deleted until it is removed: token and code are refused at once. A second time changes nothing."""
        with self._database.write():
            row = self.get(name)
            if row.deleted_at is None:
                row = msgspec.structs.replace(row, deleted_at=self._clock.now_ns(), drops_at=drops_at)
                self._table.put(row)
                self._load()
        return row

    def undelete(self, name: str) -> BranchRow:
        """Let a deleted branch be what it was."""
        with self._database.write():
            row = msgspec.structs.replace(self.get(name), deleted_at=None, drops_at=None)
            self._table.put(row)
            self._load()
        return row

    def remove(self, name: str) -> None:
        """Forget a branch and its credential."""
        with self._database.write():
            self._table.remove(name)
            self._load()

    def set_quota(self, name: str, quota_bytes: int | None) -> BranchRow:
        """Set how many bytes a branch may take; None: as many as there are."""
        with self._database.write():
            row = msgspec.structs.replace(self.get(name), quota_bytes=quota_bytes)
            self._table.put(row)
            self._load()
        return row

    def quota_of(self, name: str) -> int | None:
        """Return how many bytes a branch may take. Cheap, as it is asked with every frame."""
        return self._quotas.get(name)

    def deleted(self) -> list[str]:
        """Return the names of the branches that were deleted and are not gone yet."""
        return [row.name for row in self._table.all() if row.deleted_at is not None]

    def enroll(self, code: str) -> Enrolment:
        """Turn a code (with or without the fingerprint behind its dot) into the branch's token; works once."""
        token, now = new_secret(self._chance), self._clock.now_ns()
        with self._database.write():
            row = self._table.by_code(kept_form(plain_code(code.partition(".")[0])))
            if row is None or row.deleted_at is not None or not _is_valid(row.code_expires_at, now):
                raise CodeRefused(
                    "the code is wrong, used, or older than 24 hours",
                    remedy="ask for a new one: stagekeeper branch add NAME",
                )
            self._table.put(
                msgspec.structs.replace(
                    row,
                    state="enrolled",
                    code_digest=None,
                    code_expires_at=None,
                    token_digest=kept_form(token),
                    enrolled_at=now,
                )
            )
            self._load()  # still alone: two loads in another order could forget the newer token
        return Enrolment(row.name, token)

    def authenticate(self, token: str) -> str:
        """Return the name of the branch that has this token; raise `TokenRefused` or `BranchRevoked`.

        Cheap, as it is called with every frame.
        """
        form = kept_form(token)
        name = self._names.get(form)
        if name is None and form in self._revoked:
            raise BranchRevoked("this branch was revoked or deleted", remedy="ask the appliance's administrator")
        if name is None:
            raise TokenRefused("the branch's token is not known", remedy="enroll the branch again")
        with self._lock:
            self._seen[name] = self._clock.now_ns()
            due = self._clock.monotonic() - self._flushed_at >= _SEEN_SECONDS
        if due:
            self.flush()
        return name

    def flush(self) -> None:
        """Write when branches called last; a crash loses half a minute of that, nothing else. A full disk has it wait."""
        with self._lock:
            seen, self._seen = self._seen, {}
            self._flushed_at = self._clock.monotonic()
        try:
            if seen:
                with self._database.write():
                    for name, time_ns in seen.items():
                        self._table.set_last_seen(name, time_ns)
        except TryLater:  # neither a branch's call nor the end of the service fails for this
            with self._lock:
                self._seen = seen | self._seen

    def _load(self) -> None:
        """Take the tokens from the table; replaced as a whole, so that readers need no lock."""
        self._quotas = {row.name: row.quota_bytes for row in self._table.all() if row.quota_bytes is not None}
        known = {row.token_digest: row for row in self._table.all() if row.token_digest is not None}
        self._names = {digest: row.name for digest, row in known.items() if row.state != "revoked" and row.deleted_at is None}
        self._revoked = frozenset(known) - frozenset(self._names)

    def _row_with_seen(self, name: str) -> BranchRow | None:
        row = self._table.get(name)
        return None if row is None else self._with_seen(row)

    def _with_seen(self, row: BranchRow) -> BranchRow:
        with self._lock:
            seen = self._seen.get(row.name)
        return row if seen is None else msgspec.structs.replace(row, last_seen_at=seen)


def _is_valid(expires_at: int | None, now_ns: int) -> bool:
    """Tell whether a code may be used; one that was given out under a clock far ahead may not: it would last until then."""
    return expires_at is not None and now_ns <= expires_at <= now_ns + (CODE_SECONDS + _AHEAD_SECONDS) * NANOSECONDS
