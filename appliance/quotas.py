"""Quotas: how much a branch may take of the appliance, and a share of its branch.

A branch's quota counts what it takes on the appliance's disk: the records in packs that it was the first to put (a chunk that
two branches have is the first one's), until collect frees them, and its journals. A share's quota, a part of its policy, counts
the bytes of its live files, as the folded state has them. Neither is exact to the byte: requests under way when it is reached
may pass, and figures are up to a second old.

At the quota what adds data is answered "try later"; the agent keeps its changes. Changes of a share are taken in their order:
deletions pass as long as nothing that adds data waits before them.
"""

import threading
from dataclasses import dataclass

from appliance.branches import Branches
from appliance.share_policy import policy_of
from appliance.vault import OpenShare, Vault
from core.errors import TryLater

WARNING_PERCENT = 90
_FRESH_SECONDS = 1.0


class QuotaReached(TryLater):
    """A branch or a share has used what it may use."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What is used of what may be used; `quota_bytes` is None where there is no limit."""

    used_bytes: int
    quota_bytes: int | None

    @property
    def is_reached(self) -> bool:
        """Tell whether nothing more is taken."""
        return self.quota_bytes is not None and self.used_bytes >= self.quota_bytes

    @property
    def is_near(self) -> bool:
        """Tell whether the quota is reached, or almost."""
        return self.quota_bytes is not None and self.used_bytes * 100 >= self.quota_bytes * WARNING_PERCENT


class Quotas:
    """Measures and checks. Any thread may call."""

    def __init__(self, vault: Vault, branches: Branches) -> None:
        """Bind the parts."""
        self._vault, self._branches = vault, branches
        self._lock = threading.Lock()
        self._measured: dict[str, tuple[float, int]] = {}

    def of_branch(self, branch: str) -> Usage:
        """Return what a branch takes on the disk."""
        return Usage(self._stored_bytes(branch), self._branches.quota_of(branch))

    def of_share(self, share: OpenShare) -> Usage:
        """Return how large a share's live files are."""
        return Usage(share.fold.totals[1], policy_of(share).quota_bytes)

    def check(self, share: OpenShare) -> None:
        """Raise `QuotaReached` when the share, or its branch, may add nothing more."""
        branch = share.name.partition("/")[0]
        usage = self.of_branch(branch)
        if usage.is_reached:
            raise QuotaReached(
                f"branch {branch} has used its quota: {usage.used_bytes} of {usage.quota_bytes} bytes",
                remedy="raise it with `stagekeeper branch quota`, or delete snapshots or shares and collect",
            )
        usage = self.of_share(share)
        if usage.is_reached:
            raise QuotaReached(
                f"share {share.name} has used its quota: {usage.used_bytes} of {usage.quota_bytes} bytes",
                remedy="raise quota_bytes with `stagekeeper share policy --set`",
            )

    def alerts(self, share: OpenShare) -> list[str]:
        """Return what is to be said about the quotas of a share: nothing, or that one is reached or near."""
        branch = share.name.partition("/")[0]
        every = ((f"branch {branch}", self.of_branch(branch)), (f"share {share.name}", self.of_share(share)))
        return [f"{what}: {_told(usage)}" for what, usage in every if usage.is_near]

    def _stored_bytes(self, branch: str) -> int:
        now = self._vault.clock.monotonic()
        with self._lock:
            measured = self._measured.get(branch)
        if measured is not None and now - measured[0] < _FRESH_SECONDS:
            return measured[1]
        stored = self._vault.store.stored_bytes(branch) + self._vault.size_of_journals(branch)
        with self._lock:
            self._measured[branch] = (now, stored)
        return stored


def _told(usage: Usage) -> str:
    quota = usage.quota_bytes or 1
    state = "quota reached" if usage.is_reached else "quota almost reached"
    return f"{state}, {usage.used_bytes * 100 // quota} % ({usage.used_bytes} of {quota} bytes)"
