"""Branches, accounts, exports, schedules and the audit log, as the web side asks for them.

Implements `web.operations.Administration`. Each method checks the right, makes the change, and writes the audit entry
inside the same transaction just before it is committed: there is no change without its entry.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.accounts import Accounts
from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.audited import audited_steps
from appliance.branches import Branches
from appliance.exports import Exporter, StreamReports, checked_destination, checked_sources
from appliance.places import check_same_place
from appliance.rights import Action, Rights
from appliance.root import Root
from appliance.rows import branch_of
from appliance.scheduler import Scheduler
from appliance.schedules import Schedules, next_runs
from appliance.settings import Settings
from core.clock import Clock, format_time
from core.errors import StagekeeperError
from web.operations import Actor, Shares
from web.share_values import Branch, BranchCode, Place

_OWNER = Actor("owner", "owner")
_MAX_RUNS = 1000


@dataclass(frozen=True, slots=True)
class Administered:
    """What the administration works on."""

    root: Root
    settings: Settings
    clock: Clock
    database: ApplianceDatabase
    audit: AuditLog
    rights: Rights
    accounts: Accounts
    branches: Branches
    schedules: Schedules
    scheduler: Scheduler
    shares: Shares
    exporter: Exporter


class ApplianceAdministration:
    """The appliance's own nouns."""

    def __init__(self, parts: Administered) -> None:
        self._parts = parts
        self._reports = StreamReports()

    def add_branch(self, actor: Actor, name: str) -> BranchCode:
        """Make a branch that may enroll with a one-time code."""
        with self._audited(actor, Action.CHANGE_BRANCHES, "branch.add", name):
            return self._parts.branches.add(name)

    def list_branches(self, actor: Actor) -> list[Branch]:
        """Return all branches."""
        self._parts.rights.check(actor, Action.VIEW_BRANCHES)
        counts = self._share_counts()
        return [branch_of(row, counts[row.name]) for row in self._parts.branches.all()]

    def revoke_branch(self, actor: Actor, name: str) -> Branch:
        """End a branch's right to send, at once."""
        with self._audited(actor, Action.CHANGE_BRANCHES, "branch.revoke", name):
            row = self._parts.branches.revoke(name)
        return branch_of(row, self._share_counts()[name])

    def set_branch_quota(self, actor: Actor, name: str, quota_bytes: int | None) -> Branch:
        """Set how many bytes a branch may take on the disk; None: no limit."""
        with self._audited(actor, Action.CHANGE_BRANCHES, "branch.quota", name, {"quota_bytes": quota_bytes}):
            row = self._parts.branches.set_quota(name, quota_bytes)
        return branch_of(row, self._share_counts()[name])

    def run_export(
        self, actor: Actor, sources: list[str], destination: str, kind: str, seen: Place | None = None
    ) -> Iterator[Any]:
        """Export snapshots to a directory; yields `Progress`, then the report. What may not be is raised at once."""
        asked = {"sources": sources, "to": destination, "kind": kind}
        with self._refusals_audited(actor, "export.begin", destination, asked):
            self._parts.rights.check(actor, Action.EXPORT)
            checked = checked_sources(sources)
            allowed = self._parts.settings.directories.exports
            place = checked_destination(actor, destination, self._parts.root.path, allowed)
            check_same_place(seen)
        steps = self._parts.exporter.export(actor, checked, place, kind)
        return audited_steps(self._parts.audit, actor, "export", str(place), asked, steps)

    def stream_export(self, actor: Actor, sources: list[str], name: str = "") -> Iterator[bytes]:
        """Stream one tar of the snapshots; with a name its report can be asked for. What may not be is raised at once."""
        asked = {"sources": sources}
        with self._refusals_audited(actor, "export.begin", "-", asked):
            self._parts.rights.check(actor, Action.EXPORT)
            checked = checked_sources(sources)
        pieces = self._parts.exporter.stream(actor, checked, lambda report: self._reports.keep(actor, name, report))
        return audited_steps(self._parts.audit, actor, "export", "-", asked, pieces)

    def stream_report(self, actor: Actor, name: str) -> Any:
        """Return how a stream went that the actor took to its end under this name; once."""
        self._parts.rights.check(actor, Action.EXPORT)
        return self._reports.take(actor, name)

    def add_schedule(self, actor: Actor, request: dict[str, Any]) -> dict[str, Any]:
        """Add a schedule; one that exports needs the right to export, and a directory that may be written."""
        with self._audited(actor, Action.CHANGE_SCHEDULES, "schedule.add", str(request.get("name", "")), request):
            added = self._parts.schedules.add(request)
            if added.action == "export":
                allowed = self._parts.settings.directories.exports
                checked_destination(actor, added.to, self._parts.root.path, allowed)
        self._parts.scheduler.plan(added.name)
        return {**_builtins(added), "unknown_shares": self._unknown(added.shares)}

    def list_schedules(self, actor: Actor) -> list[dict[str, Any]]:
        """Return all schedules."""
        self._parts.rights.check(actor, Action.VIEW_SCHEDULES)
        schedules = self._parts.schedules
        return [_builtins(schedules.shown(row)) for row in schedules.all()]

    def run_schedule(self, actor: Actor, name: str) -> dict[str, Any]:
        """Run a schedule now and return it with what the run gave."""
        with self._audited(actor, Action.CHANGE_SCHEDULES, "schedule.run", name):
            self._parts.schedules.get(name)
        result = self._parts.scheduler.run_now(name)
        shown = self._parts.schedules.shown(self._parts.schedules.get(name))
        return {**_builtins(shown), "result": result}

    def start_schedule(self, actor: Actor, name: str) -> dict[str, Any]:
        """Begin to run a schedule and return it as it runs; how it ends is told by `list_schedules`."""
        with self._audited(actor, Action.CHANGE_SCHEDULES, "schedule.run", name):
            self._parts.schedules.get(name)
        self._parts.scheduler.start_now(name)
        return _builtins(self._parts.schedules.shown(self._parts.schedules.get(name)))

    def enable_schedule(self, actor: Actor, name: str, enabled: bool) -> dict[str, Any]:
        """Switch a schedule on or off."""
        verb = "schedule.enable" if enabled else "schedule.disable"
        with self._audited(actor, Action.CHANGE_SCHEDULES, verb, name):
            row = self._parts.schedules.enable(name, enabled)
        self._parts.scheduler.plan(name)
        return _builtins(self._parts.schedules.shown(row))

    def delete_schedule(self, actor: Actor, name: str) -> None:
        """Remove a schedule."""
        with self._audited(actor, Action.CHANGE_SCHEDULES, "schedule.delete", name):
            self._parts.schedules.delete(name)
        self._parts.scheduler.plan(name)

    def next_runs(self, actor: Actor, name: str, count: int) -> list[str]:
        """Return when a schedule would run next, also when it is off."""
        self._parts.rights.check(actor, Action.VIEW_SCHEDULES)
        row = self._parts.schedules.get(name)
        runs = next_runs(row, self._parts.clock.now_ns(), min(count, _MAX_RUNS))
        return [format_time(run) for run in runs]

    def add_user(self, actor: Actor, name: str, role: str, password: str, grants: list[str]) -> dict[str, Any]:
        """Make an account."""
        with self._audited(actor, Action.CHANGE_ACCOUNTS, "user.add", name, {"role": role, "grants": grants}):
            added = self._parts.accounts.add(name, role, password, grants)
        granted = ["/".join(grant.split("/")[:2]) for grant in grants]
        return {**_builtins(added), "unknown_shares": self._unknown(granted)}

    def list_users(self, actor: Actor) -> list[dict[str, Any]]:
        """Return all accounts."""
        self._parts.rights.check(actor, Action.VIEW_ACCOUNTS)
        return [_builtins(account) for account in self._parts.accounts.all()]

    def set_password(self, actor: Actor, name: str, password: str) -> None:
        """Set a password; everybody may set their own, with a session (a token is no person)."""
        own = type(actor) is Actor and actor.account == name and actor.role != "owner"
        with self._audited(actor, None if own else Action.CHANGE_ACCOUNTS, "user.password", name):
            self._parts.accounts.set_password(name, password)

    def disable_user(self, actor: Actor, name: str, disabled: bool) -> dict[str, Any]:
        """Switch an account off (its sessions and tokens end) or on again."""
        with self._audited(actor, Action.CHANGE_ACCOUNTS, "user.disable" if disabled else "user.enable", name):
            return _builtins(self._parts.accounts.disable(name, disabled))

    def create_token(self, actor: Actor, name: str, scope: str) -> str:
        """Make a token for programs; the answer is the only time it is seen."""
        with self._audited(actor, Action.CHANGE_ACCOUNTS, "user.token", name, {"scope": scope}):
            return self._parts.accounts.create_token(name, scope)

    def list_audit(self, actor: Actor, before: int | None, limit: int) -> tuple[list[dict[str, Any]], int | None]:
        """Return audit entries newest first, and where the next page begins."""
        self._parts.rights.check(actor, Action.VIEW_AUDIT)
        return self._parts.audit.page(before, limit)

    def verify_audit(self, actor: Actor) -> dict[str, Any]:
        """Check the audit log."""
        self._parts.rights.check(actor, Action.VIEW_AUDIT)
        return self._parts.audit.verify()

    @contextmanager
    def _audited(
        self, actor: Actor, action: Action | None, verb: str, what: str, details: dict[str, Any] | None = None
    ) -> Iterator[None]:
        """Check the right, make what is inside one change together with its entry, or note that it was refused."""
        with self._refusals_audited(actor, verb, what, details):
            if action is not None:
                self._parts.rights.check(actor, action)
            with self._parts.database.write():
                yield
                self._parts.audit.record(actor, verb, what, "done", details)  # before the commit, never after

    @contextmanager
    def _refusals_audited(self, actor: Actor, verb: str, what: str, details: dict[str, Any] | None = None) -> Iterator[None]:
        try:
            yield
        except StagekeeperError as error:
            self._parts.audit.record(actor, verb, what, "refused", {**(details or {}), "error": error.type})
            raise

    def _unknown(self, shares: Iterable[str]) -> list[str]:
        """Return those of the shares that are not here: they may still come, so they are told and not refused."""
        known = {share.share for share in self._parts.shares.list_shares(_OWNER)}
        return sorted(set(shares) - known)

    def _share_counts(self) -> Counter[str]:
        return Counter(share.share.partition("/")[0] for share in self._parts.shares.list_shares(_OWNER))


def _builtins(value: object) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.to_builtins(value)
    return answer
