"""Deleting a branch: its credential ends at once, its shares go with the delay, its row goes with the last of them.

Each part can be done again, so what a crash leaves half done goes on: deleting first notes the branch as deleted and then
deletes its shares (`step` finds those that were not), undeleting takes the shares back first. Taking back gives the branch the
credential that it had: a deletion by mistake is as if it had not been; whoever distrusts the credential revokes it.

The shares' deletions stand in their journals, the branch's in the appliance's own database: when that is put back from a backup,
shares may go with a branch of which nobody knows that it was deleted. They can be taken back all the same.
"""

import threading

from appliance.branches import Branches, BranchNotFound
from appliance.branches_db import BranchRow
from appliance.removals import DEFAULT_DELAY_NS, check_not_held, order_deletion
from appliance.vault import OpenShare, Vault
from core.errors import Refused
from snapshots.control_format import ShareUndeleted


class BranchNotDeleted(Refused):
    """A branch that was not deleted cannot be taken back."""


class BranchRemoval:
    """Deletes branches and takes them back. Any thread may call."""

    def __init__(self, vault: Vault, branches: Branches) -> None:
        """Bind the parts."""
        self._vault, self._branches = vault, branches
        self._lock = threading.Lock()  # so that `step` never deletes what is just being taken back

    def shares_of(self, branch: str) -> list[OpenShare]:
        """Return a branch's shares; raise `Damaged` kinds when one cannot be opened."""
        return [self._vault.share(name) for name in self._vault.names() if name.partition("/")[0] == branch]

    def delete(self, branch: str, reason: str) -> BranchRow:
        """Delete a branch and its shares; raise `ShareHeld` before anything is changed. A second time changes nothing."""
        with self._lock:
            self._branches.get(branch)
            now_ns = self._vault.clock.now_ns()
            for share in self.shares_of(branch):
                check_not_held(share, now_ns)
            self._branches.delete(branch, now_ns + DEFAULT_DELAY_NS)
            self._delete_shares(branch, reason)
            return self._branches.get(branch)

    def undelete(self, branch: str) -> BranchRow:
        """Take a branch back with its credential and the shares that were deleted with it."""
        with self._lock:
            row = self._branches.get(branch)
            going = [share for share in self.shares_of(branch) if _goes_with_branch(share)]
            if row.deleted_at is None and not going:
                raise BranchNotDeleted(f"{branch} was not deleted", remedy="see `stagekeeper branch list`")
            for share in going:
                share.fold.order(lambda number, _: ShareUndeleted(number))
            return row if row.deleted_at is None else self._branches.undelete(branch)

    def is_deleted(self, branch: str) -> bool:
        """Tell whether a branch is known to be deleted."""
        try:
            return self._branches.get(branch).deleted_at is not None
        except BranchNotFound:
            return False

    def step(self, branch: str) -> bool:
        """Go on with a deletion that was cut off, and forget a branch whose time has come and whose last share is gone.

        Return True when it is forgotten.
        """
        with self._lock:
            row = self._branches.get(branch)
            if row.deleted_at is None:
                return False
            self._delete_shares(branch, "deleted with its branch")
            left = any(name.partition("/")[0] == branch for name in self._vault.names())
            if left or (row.drops_at or 0) > self._vault.clock.now_ns():
                return False
            self._branches.remove(branch)
            return True

    def _delete_shares(self, branch: str, reason: str) -> None:
        for share in self.shares_of(branch):
            if share.reader.ledger.deletion() is None:
                order_deletion(share, self._vault.clock.now_ns(), reason, with_branch=True)


def _goes_with_branch(share: OpenShare) -> bool:
    deletion = share.reader.ledger.deletion()
    return deletion is not None and deletion.with_branch
