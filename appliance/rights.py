"""What each role may do, and how far a person's grants reach: pure rules, and one object that checks them.

The owner (root or the owner of the appliance's folder, at its command line) may do everything, admins all but change the
recovery key; operators keep the machine running and give files back; auditors look, but not into files; users see what they
were granted.
A token of scope `read` may do what changes nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from core.errors import Refused
from core.relpath import ROOT, RelPath, is_within, parse_path, read_path, show_path
from web.errors import AccessDenied
from web.operations import Actor


class Action(Enum):
    """Everything that a right is asked for."""

    VIEW_SHARES = "see shares and snapshots"
    BROWSE = "see files and their versions"
    DOWNLOAD = "download files"
    SNAPSHOT = "take snapshots"
    KEEP = "label, hold, release or delete snapshots"
    PRUNE = "prune snapshots"
    REMOVE = "delete shares or branches"
    PURGE = "purge paths"
    VERIFY = "verify what is stored"
    COLLECT = "free what nothing names any more"
    CHANGE_POLICY = "change policies"
    RESTORE = "restore into a directory of the appliance"
    EXPORT = "export snapshots"
    VIEW_STATS = "see figures"
    VIEW_BRANCHES = "see branches"
    CHANGE_BRANCHES = "add or revoke branches"
    VIEW_SCHEDULES = "see schedules"
    CHANGE_SCHEDULES = "change schedules"
    VIEW_ACCOUNTS = "see accounts"
    CHANGE_ACCOUNTS = "change accounts"
    VIEW_AUDIT = "read the audit log"
    VIEW_BACKUPS = "see backups of the appliance itself"
    BACK_UP = "back up the appliance itself"
    DROP_BACKUP = "let a backup of the appliance itself go"
    CHANGE_RECOVERY_KEY = "make a new recovery key"


ROLES = ("admin", "operator", "auditor", "user")
SCOPES = ("all", "read")

_VIEWS = frozenset({Action.VIEW_SHARES, Action.VIEW_STATS, Action.VIEW_BRANCHES, Action.VIEW_SCHEDULES, Action.VIEW_BACKUPS})
_FILES = frozenset({Action.VIEW_SHARES, Action.BROWSE, Action.DOWNLOAD})
_ALL = frozenset(Action)
_OWNERS = frozenset({Action.CHANGE_RECOVERY_KEY, Action.PURGE})  # no session and no token may do these, whoever stole it
_READS = _VIEWS | _FILES | {Action.VIEW_ACCOUNTS, Action.VIEW_AUDIT}
_BY_ROLE: dict[str, frozenset[Action]] = {
    "owner": _ALL,
    "admin": _ALL - _OWNERS,
    "operator": _VIEWS
    | _FILES
    | {
        Action.BACK_UP,
        Action.SNAPSHOT,
        Action.KEEP,
        Action.PRUNE,
        Action.VERIFY,
        Action.COLLECT,
        Action.RESTORE,
        Action.EXPORT,
        Action.CHANGE_SCHEDULES,
    },
    "auditor": _VIEWS | {Action.VIEW_ACCOUNTS, Action.VIEW_AUDIT, Action.VERIFY},
    "user": _FILES,
}


class GrantUnreadable(Refused):
    """A grant is not of the form BRANCH/SHARE[/PATH]."""


@dataclass(frozen=True, slots=True)
class TokenActor(Actor):
    """A program with an account's token; `scope` may narrow what the role allows."""

    scope: str = "all"


@dataclass(frozen=True, slots=True)
class Grant:
    """A share, or the part of it below a path, that an account may use."""

    share: str
    path: RelPath = ROOT

    def __str__(self) -> str:
        return f"{self.share}/{show_path(self.path)}" if self.path else self.share


class Reach(Enum):
    """How a path lies to an account's grants."""

    NONE = 0
    WAY = 1  # a folder on the way down to something granted: its name may be seen, not what else is in it
    FULL = 2


def parse_grant(text: str) -> Grant:
    """Return a grant from `BRANCH/SHARE[/PATH]`; raise `GrantUnreadable`."""
    branch, _, rest = text.partition("/")
    share, _, path = rest.partition("/")
    if not branch or not share:
        raise GrantUnreadable(f"not a grant: {text!r}", remedy="write BRANCH/SHARE or BRANCH/SHARE/PATH")
    return Grant(f"{branch}/{share}", parse_path(read_path(path)))


def allows(actor: Actor, action: Action) -> bool:
    """Tell whether the actor's role and scope allow the action at all."""
    if isinstance(actor, TokenActor) and actor.scope == "read" and action not in _READS:
        return False
    return action in _BY_ROLE.get(actor.role, frozenset())


def _who(actor: Actor) -> str:
    """Return an actor as a sentence may begin with it; an account named `nobody` makes no riddle."""
    return f"the account {actor.account} ({actor.role})"


def reach_of(grants: Iterable[Grant], share: str, path: RelPath) -> Reach:
    """Tell how a path of a share lies to some grants."""
    best = Reach.NONE
    for grant in grants:
        if grant.share == share and is_within(path, grant.path):
            return Reach.FULL
        if grant.share == share and is_within(grant.path, path):
            best = Reach.WAY
    return best


class Rights:
    """Checks actors; knows the grants through a function."""

    def __init__(self, grants_of: Callable[[str], list[Grant]]) -> None:
        self._grants_of = grants_of

    def check(self, actor: Actor, action: Action) -> None:
        """Raise `AccessDenied` unless the actor may do this at all."""
        if not allows(actor, action):
            at_hand = "the owner may, with `stagekeeper` on the appliance's own machine"
            raise AccessDenied(
                f"{_who(actor)} may not {action.value}", remedy=at_hand if action in _OWNERS else "ask an administrator"
            )

    def check_path(self, actor: Actor, action: Action, share: str, path: RelPath = ROOT) -> Reach:
        """Raise `AccessDenied` unless the actor may do this with something at or below the path; return how far."""
        self.check(actor, action)
        reach = self.reach(actor, share, path)
        if reach is Reach.NONE:
            what = f"{share}/{show_path(path)}" if path else share
            raise AccessDenied(f"the account {actor.account} may not use {what}", remedy="ask an administrator for access")
        return reach

    def reach(self, actor: Actor, share: str, path: RelPath = ROOT) -> Reach:
        """Tell how a path lies to what the actor may use; only users are bound to grants."""
        if actor.role != "user":
            return Reach.FULL
        return reach_of(self._grants_of(actor.account), share, path)
