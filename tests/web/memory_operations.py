"""All of `web.operations` in memory: accounts, audit, intake and health; shares are in `memory_shares`.

Used by the tests of the web side, and to look at the pages without an appliance.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from core.clock import format_time
from core.errors import NotFound, Refused, StagekeeperError
from staging.protocol import SequenceGap
from tests.web.memory_backups import MemoryBackups
from tests.web.memory_differences import MemoryDifferences
from tests.web.memory_finding import MemoryFinding
from tests.web.memory_journals import MemoryJournals
from tests.web.memory_keeping import MemoryKeeping, MemoryMaintenance, MemorySealing
from tests.web.memory_removal import MemoryRemoval
from tests.web.memory_shares import MemoryShares
from web.errors import AccessDenied, SignInRefused, TooManyAttempts
from web.operations import Actor, Operations
from web.share_values import Branch, BranchCode, Place, Progress

NOW_NS = 1_795_330_800_000_000_000  # 2026-11-22T07:00:00Z, a Sunday
PASSWORD = "correct horse battery"
BRANCH_TOKEN = "branch-token-leeds"
API_TOKEN = "token-admin"
ALLOWED_ATTEMPTS = 5


class FixedClock:
    """A clock that stands still."""

    def __init__(self, now_ns: int = NOW_NS) -> None:
        """Set the time."""
        self.time_ns = now_ns

    def now_ns(self) -> int:
        """Return the set time."""
        return self.time_ns

    def monotonic(self) -> float:
        """Return the set time in seconds."""
        return self.time_ns / 1e9


class NameUnknown(NotFound):
    """There is nothing of that name."""


class NameTaken(Refused):
    """There is one of that name already."""


class MemoryAdministration:
    """Branches, accounts, schedules, exports and the audit log."""

    def __init__(self, clock: FixedClock) -> None:
        """Begin with nothing."""
        self.branches: dict[str, Branch] = {}
        self.schedules: dict[str, dict[str, Any]] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self.audit: list[dict[str, Any]] = []
        self._clock = clock

    def record(self, actor: Actor, action: str, on: str, **details: Any) -> None:
        """Append to the audit log."""
        self.audit.append({
            "sequence": len(self.audit) + 1, "at": format_time(self._clock.now_ns()), "account": actor.account,
            "address": actor.address, "action": action, "what": on, "outcome": "done", "details": details,
            "digest": "blake3:00",
        })  # fmt: skip

    def add_branch(self, actor: Actor, name: str) -> BranchCode:
        """Make a branch."""
        _check_admin(actor)
        if name in self.branches:
            raise NameTaken(f"there is a branch {name} already", remedy="choose another name")
        self.branches[name] = Branch(name, "waiting", None, None, 0)
        self.record(actor, "add_branch", name)
        return BranchCode(name, "code-1", format_time(self._clock.now_ns()))

    def list_branches(self, actor: Actor) -> list[Branch]:
        """Return all branches."""
        _check_operator(actor)
        return list(self.branches.values())

    def revoke_branch(self, actor: Actor, name: str) -> Branch:
        """Revoke a branch."""
        _check_admin(actor)
        _found(self.branches, name)
        self.branches[name] = Branch(name, "revoked", None, None, 0)
        return self.branches[name]

    def set_branch_quota(self, actor: Actor, name: str, quota_bytes: int | None) -> Branch:
        """Set a branch's quota."""
        self.branches[name] = msgspec.structs.replace(_found(self.branches, name), quota_bytes=quota_bytes)
        return self.branches[name]

    def run_export(
        self, actor: Actor, sources: list[str], destination: str, kind: str, seen: Place | None = None
    ) -> Iterator[Any]:
        """Report an export; `/broken` fails on the way."""
        _check_operator(actor)
        yield Progress(done_bytes=1, total_bytes=2, files=1, what="writing")
        if destination == "/broken":
            raise Refused("the cartridge is full", remedy="add a cartridge")
        if destination == "/fault":
            raise RuntimeError("a fault of ours")
        yield {"set": "S1", "snapshots": sources, "members": 1, "bytes": 2, "verified": True, "kind": kind}

    def stream_report(self, actor: Actor, name: str) -> Any:
        """Return how a stream went."""
        _check_operator(actor)
        return {"name": name, "not_exported": []}

    def stream_export(self, actor: Actor, sources: list[str], name: str = "") -> Iterator[bytes]:
        """Stream a few bytes; a source `broken` fails on the way."""
        _check_operator(actor)
        yield b"tar-begins "
        if "broken" in sources:
            raise Refused("the snapshot went away", remedy="start again")
        yield ",".join(sources).encode()

    def add_schedule(self, actor: Actor, request: dict[str, Any]) -> dict[str, Any]:
        """Make a schedule."""
        _check_operator(actor)
        self.schedules[str(request.get("name"))] = {**request, "enabled": True}
        return self.schedules[str(request.get("name"))]

    def list_schedules(self, actor: Actor) -> list[dict[str, Any]]:
        """Return all schedules."""
        _check_operator(actor)
        return list(self.schedules.values())

    def run_schedule(self, actor: Actor, name: str) -> dict[str, Any]:
        """Run a schedule."""
        _check_operator(actor)
        return {"ran": _found(self.schedules, name)["name"]}

    def start_schedule(self, actor: Actor, name: str) -> dict[str, Any]:
        """Begin to run a schedule."""
        _check_operator(actor)
        return {"started": _found(self.schedules, name)["name"]}

    def enable_schedule(self, actor: Actor, name: str, enabled: bool) -> dict[str, Any]:
        """Switch a schedule."""
        _check_operator(actor)
        schedule: dict[str, Any] = _found(self.schedules, name)
        schedule["enabled"] = enabled
        return schedule

    def delete_schedule(self, actor: Actor, name: str) -> None:
        """Remove a schedule."""
        _check_operator(actor)
        _found(self.schedules, name)
        del self.schedules[name]

    def next_runs(self, actor: Actor, name: str, count: int) -> list[str]:
        """Return coming runs."""
        _found(self.schedules, name)
        return [format_time(self._clock.now_ns() + day * 86_400 * 10**9) for day in range(count)]

    def add_user(self, actor: Actor, name: str, role: str, password: str, grants: list[str]) -> dict[str, Any]:
        """Make an account."""
        _check_admin(actor)
        self.users[name] = {"name": name, "role": role, "disabled": False, "grants": grants, "password": password}
        return _shown(self.users[name])

    def list_users(self, actor: Actor) -> list[dict[str, Any]]:
        """Return all accounts."""
        _check_operator(actor)
        return [_shown(user) for user in self.users.values()]

    def set_password(self, actor: Actor, name: str, password: str) -> None:
        """Set a password."""
        _check_admin(actor)
        _found(self.users, name)["password"] = password

    def disable_user(self, actor: Actor, name: str, disabled: bool) -> dict[str, Any]:
        """Shut or open an account."""
        _check_admin(actor)
        _found(self.users, name)["disabled"] = disabled
        return _shown(self.users[name])

    def create_token(self, actor: Actor, name: str, scope: str) -> str:
        """Make a token."""
        _check_admin(actor)
        _found(self.users, name)
        return f"token-{name}-{scope}"

    def list_audit(self, actor: Actor, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """Return records newest first."""
        _check_operator(actor)
        rest = [one for one in reversed(self.audit) if before is None or one["sequence"] < before]
        return rest[:limit], rest[limit - 1]["sequence"] if len(rest) > limit else None

    def verify_audit(self, actor: Actor) -> dict[str, Any]:
        """Tell that the chain is whole."""
        _check_operator(actor)
        return {"intact": True, "entries": len(self.audit), "first_bad": None}


class MemorySignIn:
    """Sessions and tokens."""

    def __init__(self, users: dict[str, dict[str, Any]]) -> None:
        """Keep the accounts."""
        self.sessions: dict[str, str] = {}
        self.tokens: dict[str, str] = {API_TOKEN: "admin"}
        self._users = users
        self._attempts: dict[str, int] = {}
        self._made = 0

    def sign_in(self, account: str, password: str, address: str) -> str:
        """Return a new session's secret."""
        if self._attempts.get(account, 0) >= ALLOWED_ATTEMPTS:
            raise TooManyAttempts("too many wrong passwords; wait a minute", retry_after_seconds=60)
        user = self._users.get(account)
        if user is None or user["disabled"] or user["password"] != password:
            self._attempts[account] = self._attempts.get(account, 0) + 1
            raise SignInRefused("That account and password do not go together.", remedy="try again")
        self._made += 1
        secret = f"session-{self._made}-{account}"
        self.sessions[secret] = account
        return secret

    def actor_of_session(self, secret: str, address: str) -> Actor | None:
        """Return who a session is."""
        return self._actor(self.sessions.get(secret), address)

    def actor_of_token(self, token: str, address: str) -> Actor | None:
        """Return who a token is."""
        return self._actor(self.tokens.get(token), address)

    def sign_out(self, secret: str) -> None:
        """End a session."""
        self.sessions.pop(secret, None)

    def _actor(self, account: str | None, address: str) -> Actor | None:
        user = self._users.get(account or "")
        return Actor(user["name"], user["role"], address) if user and not user["disabled"] else None


@dataclass
class MemoryIntake:
    """Keeps what agents send; a frame body `gap` is refused with what was expected."""

    received: list[tuple[str, ...]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    fails_with: StagekeeperError | None = None

    def enroll(self, body: bytes, address: str) -> bytes:
        """Return a token."""
        return self._keep(body, "enroll", address)

    def authenticate(self, token: str, address: str) -> str:
        """Return the branch."""
        if token != BRANCH_TOKEN:
            raise Refused("this branch is not known", remedy="enroll it again")
        return "leeds"

    def open(self, branch: str, share: str, body: bytes) -> bytes:
        """Open a session."""
        return self._keep(body, "open", branch, share)

    def frames(self, branch: str, share: str, session: str, body: bytes) -> bytes:
        """Take frames."""
        if body == b"gap":
            raise SequenceGap("frame begins at 9, expected 7", remedy="send from the expected number", sequence=7)
        return self._keep(body, "frames", branch, share, session)

    def missing(self, branch: str, share: str, body: bytes) -> bytes:
        """Answer the missing."""
        return self._keep(body, "missing", branch, share)

    def chunks(self, branch: str, share: str, session: str, body: bytes) -> bytes:
        """Take chunks."""
        return self._keep(body, "chunks", branch, share, session)

    def barrier(self, branch: str, share: str, sequence: int) -> bytes:
        """Answer what became of a barrier."""
        return self._keep(str(sequence).encode(), "barrier", branch, share)

    def compare(self, branch: str, share: str, body: bytes) -> bytes:
        """Compare."""
        return self._keep(body, "compare", branch, share)

    def tasks(self, branch: str, share: str) -> bytes:
        """Answer tasks."""
        return f"tasks of {branch}/{share}".encode()

    def _keep(self, body: bytes, *what: str) -> bytes:
        if self.fails_with is not None:
            raise self.fails_with
        self.received.append(what)
        self.bodies.append(body)
        return b"\x00" + body[::-1]


@dataclass
class MemoryHealth:
    """Health as it is set."""

    reasons: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    samples: list[tuple[str, str, dict[str, str], float]] = field(default_factory=list)

    def ready(self) -> list[str]:
        """Return the set reasons."""
        return self.reasons

    def concerns(self) -> list[str]:
        """Return the set troubles."""
        return self.troubles

    def metrics(self) -> Iterable[tuple[str, str, dict[str, str], float]]:
        """Return the set samples."""
        return self.samples


class MemoryOperations:
    """An appliance in memory with three accounts: admin, oscar (operator) and anna (user of leeds/office)."""

    def __init__(self) -> None:
        """Make the accounts; shares are put by the tests."""
        self.clock = FixedClock()
        self.administration = MemoryAdministration(self.clock)
        owner = Actor("owner", "owner")
        grants = {"anna": ["leeds/office"]}
        for name, role in (("admin", "admin"), ("oscar", "operator"), ("anna", "user")):
            self.administration.add_user(owner, name, role, PASSWORD, grants.get(name, []))
        self.shares = MemoryShares(self.clock.now_ns, grants, self.administration.record)
        self.sign_in = MemorySignIn(self.administration.users)
        self.intake = MemoryIntake()
        self.health = MemoryHealth()
        self.keeping = MemoryKeeping()
        self.sealing = MemorySealing()
        self.journals = MemoryJournals()
        self.removal = MemoryRemoval()
        self.backups = MemoryBackups()
        self.differences = MemoryDifferences()

    def operations(self) -> Operations:
        """Return what the web side is given."""
        return Operations(
            shares=self.shares,
            administration=self.administration,
            sign_in=self.sign_in,
            intake=self.intake,
            health=self.health,
            keeping=self.keeping,
            sealing=self.sealing,
            journals=self.journals,
            removal=self.removal,
            maintenance=MemoryMaintenance(),
            backups=self.backups,
            finding=MemoryFinding(self.shares),
            differences=self.differences,
        )


def _check_admin(actor: Actor) -> None:
    if actor.role not in ("owner", "admin"):
        raise AccessDenied("this is for administrators", remedy="ask an administrator")


def _check_operator(actor: Actor) -> None:
    if actor.role == "user":
        raise AccessDenied("this is for operators", remedy="ask an operator")


def _found(things: dict[str, Any], name: str) -> Any:
    if name not in things:
        raise NameUnknown(f"there is no {name!r}", remedy="see the list")
    return things[name]


def _shown(user: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in user.items() if key != "password"}
