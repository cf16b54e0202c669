"""Deleting shares and branches, and taking that back. Implements `web.operations.Removal`.

Nothing goes at once: a deletion is a control record of the share's journal with a time after which the keeper removes the
share. Until then its branch is refused, reading goes on, and it can be undone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from appliance.audit import AuditLog
from appliance.branch_removal import BranchRemoval
from appliance.branches_db import BranchRow
from appliance.path_purge import PathPurge
from appliance.removals import check_not_held, order_deletion
from appliance.rights import Action, Rights
from appliance.rows import branch_of
from appliance.share_worker import ShareWorker
from appliance.vault import Vault
from core.errors import Refused, StagekeeperError
from core.relpath import RelPath, show_path
from snapshots.control_format import ShareUndeleted
from web.operations import Actor
from web.share_values import Branch, Share
from web.upkeep_values import PurgeReport

Shown = Callable[[Actor, str], Share]


class NotDeleted(Refused):
    """What was not deleted cannot be taken back."""


@dataclass(frozen=True, slots=True)
class RemovalParts:
    """What the desk works on; `shown` gives a share as answered."""

    vault: Vault
    keeper: ShareWorker
    rights: Rights
    audit: AuditLog
    shown: Shown
    branches: BranchRemoval
    paths: PathPurge


class RemovalDesk:
    """The acts by which shares go."""

    def __init__(self, parts: RemovalParts) -> None:
        """Bind the parts."""
        self._parts = parts

    def delete_share(self, actor: Actor, share: str) -> Share:
        """Delete a share: it goes after the delay, and can be taken back until then. A second time changes nothing."""
        with self._audited(actor, "share.delete", share):
            opened = self._parts.vault.share(share)
            check_not_held(opened, self._parts.vault.clock.now_ns())
            if opened.reader.ledger.deletion() is None:
                order_deletion(opened, self._parts.vault.clock.now_ns(), f"deleted by {actor.account}")
        self._parts.keeper.notify(share)
        return self._parts.shown(actor, share)

    def undelete_share(self, actor: Actor, share: str) -> Share:
        """Take the deletion of a share back."""
        with self._audited(actor, "share.undelete", share):
            opened = self._parts.vault.share(share)
            deletion = opened.reader.ledger.deletion()
            if deletion is None:
                raise NotDeleted(f"{share} was not deleted", remedy="see `stagekeeper share status`")
            branch = share.partition("/")[0]
            if deletion.with_branch and self._parts.branches.is_deleted(branch):
                raise NotDeleted(f"{share} goes with its branch", remedy=f"take it back: stagekeeper branch undelete {branch}")
            opened.fold.order(lambda number, _: ShareUndeleted(number))
        return self._parts.shown(actor, share)

    def delete_branch(self, actor: Actor, branch: str) -> Branch:
        """Delete a branch: its credential ends at once, its shares go after their delay."""
        with self._audited(actor, "branch.delete", branch):
            row = self._parts.branches.delete(branch, f"deleted with its branch by {actor.account}")
        return self._shown_branch(row)

    def undelete_branch(self, actor: Actor, branch: str) -> Branch:
        """Take a branch back, with its credential and what was deleted with it."""
        with self._audited(actor, "branch.undelete", branch):
            row = self._parts.branches.undelete(branch)
        return self._shown_branch(row)

    def purge(self, actor: Actor, share: str, path: RelPath) -> PurgeReport:
        """Purge a path from everything that is kept of a share, at once."""
        with self._audited(actor, "purge", f"{share}/{show_path(path)}", action=Action.PURGE):
            report = self._parts.paths.purge(self._parts.vault.share(share), path)
        self._parts.keeper.notify(share)
        return report

    def _shown_branch(self, row: BranchRow) -> Branch:
        return branch_of(row, len(self._parts.branches.shares_of(row.name)))

    @contextmanager
    def _audited(self, actor: Actor, verb: str, what: str, action: Action = Action.REMOVE) -> Iterator[None]:
        """Check the right, and note how the act ended."""
        try:
            self._parts.rights.check(actor, action)
            yield
        except StagekeeperError as error:
            self._parts.audit.record(actor, verb, what, "refused", {"error": error.type})
            raise
        self._parts.audit.record(actor, verb, what, "done")
