"""What each branch takes, and when the disk will be full: for `stats` and for monitoring."""

from collections.abc import Iterator

import msgspec

from appliance.branches import Branches
from appliance.free_space import FreeSpaceHistory
from appliance.quotas import Quotas
from appliance.space import logical_bytes
from appliance.vault import Vault
from core.clock import NANOSECONDS, format_time
from web.figures import BranchSpace, Stats

Metric = tuple[str, str, dict[str, str], float]


class BranchFigures:
    """Measures branches. Any thread may call."""

    def __init__(self, vault: Vault, branches: Branches, quotas: Quotas, history: FreeSpaceHistory) -> None:
        """Bind the parts."""
        self._vault, self._branches, self._quotas, self._history = vault, branches, quotas, history

    def complete(self, stats: Stats) -> Stats:
        """Return the figures of the store with those of the branches, and with the forecast."""
        full_at = self._history.full_at()
        shown = None if full_at is None else format_time(full_at)
        return msgspec.structs.replace(stats, full_at=shown, branches=list(self._measured()))

    def metrics(self) -> Iterator[Metric]:
        """Yield (name, help, labels, value)."""
        full_at = self._history.full_at()
        if full_at is not None:
            yield "stagekeeper_full_at_seconds", "When the disk is full if it goes on like this", {}, full_at / NANOSECONDS
        for branch in self._measured():
            labels = {"branch": branch.branch}
            yield "stagekeeper_branch_stored_bytes", "What a branch takes on the disk", labels, branch.stored_bytes
            yield "stagekeeper_branch_logical_bytes", "Bytes of a branch's live files", labels, branch.logical_bytes
            if branch.quota_bytes is not None:
                yield "stagekeeper_branch_quota_bytes", "What a branch may take on the disk", labels, branch.quota_bytes

    def _measured(self) -> Iterator[BranchSpace]:
        logical: dict[str, int] = {row.name: 0 for row in self._branches.all()}
        for name in self._vault.names():
            branch = name.partition("/")[0]
            logical[branch] = logical.get(branch, 0) + logical_bytes(self._vault, name)
        for branch in sorted(logical):
            usage = self._quotas.of_branch(branch)
            yield BranchSpace(branch, usage.used_bytes, min(logical[branch], 2**63 - 1), usage.quota_bytes)
