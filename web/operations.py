"""What the web side asks of the appliance: one Protocol per noun.

The objects are passed in by `appliance`; nothing here knows how they work.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from core.relpath import RelPath
from web.backup_answers import Backup, NewRecoveryKey
from web.differences import DifferencePage
from web.figures import Stats
from web.found import FoundPage
from web.machine_operations import Health, Intake
from web.share_values import Branch, BranchCode, Download, Entry, Moment, Place, Progress, RestoreReport, Share, Snapshot, Version
from web.upkeep_values import (
    CollectReport,
    JournalChange,
    JournalList,
    PruneDecision,
    PurgeReport,
    ScrubReport,
    SealReport,
    Weight,
)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: an account by session or token, or the owner of the appliance's folder at the command line."""

    account: str
    role: str  # "owner", "admin", "operator", "auditor", "user"
    address: str = ""


class Shares(Protocol):
    """Branches' shares, their snapshots, folders, files and versions. A `moment` is the text behind `@`, or "" for now.

    Every method checks the actor's right (`web.errors.AccessDenied` when it is missing) and raises `core.errors` kinds;
    downloads and restores are audited. Iterators may be closed before their end when the reader goes away.
    """

    def list_shares(self, actor: Actor) -> list[Share]: ...

    def share_status(self, actor: Actor, share: str) -> Share: ...

    def create_snapshot(self, actor: Actor, share: str, label: str) -> Snapshot: ...

    def list_snapshots(self, actor: Actor, share: str) -> list[Snapshot]: ...

    def moment(self, actor: Actor, share: str, moment: str) -> Moment:
        """Return what a moment means; raise a `NotFound` when nothing is kept of it."""

    def list_folder(
        self, actor: Actor, share: str, moment: str, path: RelPath, after: bytes, limit: int
    ) -> tuple[list[Entry], bytes | None]:
        """Return entries and the name to continue behind, or None at the end."""

    def entry(self, actor: Actor, share: str, moment: str, path: RelPath) -> Entry:
        """Return what stands at a path, the root (name "", kind "folder") too; raise a `NotFound`."""

    def open_file(self, actor: Actor, share: str, moment: str, path: RelPath, first: int, last: int | None) -> Download:
        """Open the bytes first..last (inclusive; None = to the end) of a file."""

    def versions(
        self, actor: Actor, share: str, moment: str, path: RelPath, before: int | None, limit: int
    ) -> tuple[list[Version], int | None]:
        """Return what stood at a path up to a moment, newest first, and before which change the next page begins, or None.

        `Version.path` is where it stood then, as `show_path` shows it. A version that no snapshot shows and that is not the
        newest can be read as of `seq:` with its `sequence`. A page may be somewhat longer or shorter than `limit`.
        """

    def restore(
        self, actor: Actor, share: str, moment: str, path: RelPath, target: str, overwrite: bool, seen: Place | None = None
    ) -> Iterator[Progress | RestoreReport]:
        """Restore into a directory of the appliance; the last value is the report. `seen` is how the caller sees the target."""

    def stats(self, actor: Actor) -> Stats: ...


class Keeping(Protocol):
    """Which snapshots stay: acts on them, and the policy of a share. Every act is audited."""

    def label(self, actor: Actor, share: str, snapshot: int, label: str) -> Snapshot: ...

    def hold(self, actor: Actor, share: str, snapshot: int, name: str, reason: str, until: str | None) -> Snapshot: ...

    def release(self, actor: Actor, share: str, snapshot: int, name: str) -> Snapshot: ...

    def delete(self, actor: Actor, share: str, snapshot: int) -> Snapshot: ...

    def undelete(self, actor: Actor, share: str, snapshot: int) -> Snapshot: ...

    def policy(self, actor: Actor, share: str) -> dict[str, Any]: ...

    def set_policy(self, actor: Actor, share: str, document: object) -> dict[str, Any]: ...

    def prune(self, actor: Actor, share: str | None, dry_run: bool) -> list[PruneDecision]: ...

    def weigh(self, actor: Actor, share: str, first: int, last: int) -> Iterator[Progress | Weight]:
        """Tell what deleting the snapshots from one to another would free; the last value is the answer. Changes nothing."""


class Removal(Protocol):
    """What goes, after a delay in which it can be taken back; and what is purged at once. For administrators; all is audited."""

    def delete_share(self, actor: Actor, share: str) -> Share: ...

    def undelete_share(self, actor: Actor, share: str) -> Share: ...

    def delete_branch(self, actor: Actor, branch: str) -> Branch: ...

    def undelete_branch(self, actor: Actor, branch: str) -> Branch: ...

    def purge(self, actor: Actor, share: str, path: RelPath) -> PurgeReport: ...


class Sealing(Protocol):
    """Proof that a catalogue is what was sealed."""

    def verify_seal(self, actor: Actor, share: str) -> Iterator[Progress | SealReport]:
        """Compare; the last value is the report. Audited."""


class Journals(Protocol):
    """What the journal of a share holds."""

    def list_journal(self, actor: Actor, share: str) -> JournalList: ...

    def show_journal(
        self, actor: Actor, share: str, path: RelPath, after: tuple[int, int], limit: int
    ) -> tuple[list[JournalChange], tuple[int, int] | None]:
        """Return what happened to a path behind a place, newest last, and the place to continue behind, or None at the end."""


class Backups(Protocol):
    """Backups of the appliance's own files. Every one is audited."""

    def run(self, actor: Actor) -> Iterator[Any]:
        """Take a backup; yields `Progress`, then the `Backup`."""

    def list(self, actor: Actor) -> list[Backup]: ...

    def drop(self, actor: Actor, number: int) -> Backup:
        """Let a backup go that cannot be restored; any other is refused."""

    def new_recovery_key(self, actor: Actor) -> NewRecoveryKey: ...


class Maintenance(Protocol):
    """The store as a whole. Audited; closing an iterator ends the work between two steps."""

    def collect(self, actor: Actor) -> Iterator[Progress | CollectReport]:
        """Free what nothing names; the last value is the report."""

    def scrub(self, actor: Actor, everything: bool) -> Iterator[Progress | ScrubReport]:
        """Read what is due, or everything; the last value is the report."""


class Finding(Protocol):
    """Finding names over all moments that are kept."""

    def find(self, actor: Actor, text: str, share: str, deleted: bool, after: bytes, limit: int, moment: str = "") -> FoundPage:
        """Return paths whose last name holds `text`, in one share or (empty) all, and only what the actor may see.

        Without `deleted` only what stands now, or what stood at a moment of the one share. A page may hold few hits or none
        and still tell where to go on.
        """


class Administration(Protocol):
    """Branches, accounts, exports, schedules, audit. Answers are the JSON documents of the API."""

    def add_branch(self, actor: Actor, name: str) -> BranchCode: ...

    def list_branches(self, actor: Actor) -> list[Branch]: ...

    def revoke_branch(self, actor: Actor, name: str) -> Branch: ...

    def set_branch_quota(self, actor: Actor, name: str, quota_bytes: int | None) -> Branch: ...

    def run_export(
        self, actor: Actor, sources: list[str], destination: str, kind: str, seen: Place | None = None
    ) -> Iterator[Any]:
        """Export snapshots (`B/S@M`) to a directory; yields `Progress`, then the report."""

    def stream_export(self, actor: Actor, sources: list[str], name: str = "") -> Iterator[bytes]:
        """Stream one tar of the snapshots; with a name its report can be asked for."""

    def stream_report(self, actor: Actor, name: str) -> Any:
        """Return how a stream went that was taken to its end under this name; once."""

    def add_schedule(self, actor: Actor, request: dict[str, Any]) -> dict[str, Any]: ...

    def list_schedules(self, actor: Actor) -> list[dict[str, Any]]: ...

    def run_schedule(self, actor: Actor, name: str) -> dict[str, Any]: ...

    def start_schedule(self, actor: Actor, name: str) -> dict[str, Any]:
        """Run a schedule without waiting for its end."""

    def enable_schedule(self, actor: Actor, name: str, enabled: bool) -> dict[str, Any]: ...

    def delete_schedule(self, actor: Actor, name: str) -> None: ...

    def next_runs(self, actor: Actor, name: str, count: int) -> list[str]: ...

    def add_user(self, actor: Actor, name: str, role: str, password: str, grants: list[str]) -> dict[str, Any]: ...

    def list_users(self, actor: Actor) -> list[dict[str, Any]]: ...

    def set_password(self, actor: Actor, name: str, password: str) -> None: ...

    def disable_user(self, actor: Actor, name: str, disabled: bool) -> dict[str, Any]: ...

    def create_token(self, actor: Actor, name: str, scope: str) -> str: ...

    def list_audit(self, actor: Actor, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """Return records newest first, and the number to continue before, or None at the end.

        The page shows `sequence`, `at` (RFC 3339), `account`, `address`, `action`, `what`, `outcome` and `details`.
        """

    def verify_audit(self, actor: Actor) -> dict[str, Any]:
        """Check the whole chain; `intact` (bool) is the verdict, further keys are shown as they are."""


class Differences(Protocol):
    """What changed between two moments of a share."""

    def differences(self, actor: Actor, share: str, before: str, after: str, place: bytes, limit: int) -> DifferencePage:
        """Return up to `limit` differences behind a page's `following` (empty for the first page)."""


class SignIn(Protocol):
    """Sessions of people and tokens of programs."""

    def sign_in(self, account: str, password: str, address: str) -> str:
        """Return a new session's secret; audited and slowed down.

        Raise `web.errors.SignInRefused` for a wrong account or password (which of them is not said), and
        `web.errors.TooManyAttempts` when it is not even tried.
        """

    def actor_of_session(self, secret: str, address: str) -> Actor | None: ...

    def actor_of_token(self, token: str, address: str) -> Actor | None: ...

    def sign_out(self, secret: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Operations:
    """All that the web side is given."""

    shares: Shares
    administration: Administration
    sign_in: SignIn
    intake: Intake
    health: Health
    keeping: Keeping
    sealing: Sealing
    journals: Journals
    maintenance: Maintenance
    removal: Removal
    backups: Backups
    finding: Finding
    differences: Differences
