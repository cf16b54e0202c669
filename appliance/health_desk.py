"""Whether data is taken, and the figures for monitoring. Implements `web.machine_operations.Health`."""

import os
from collections.abc import Callable, Iterator

from appliance.alerts import burst_alerts
from appliance.ballast import Ballast
from appliance.branch_figures import Metric
from appliance.journal_losses import journal_losses
from appliance.maintenance_desk import store_metrics
from appliance.share_worker import RETRY_SECONDS
from appliance.vault import Vault
from appliance.workers import Workers
from snapshots.journal_loss import journal_loss


class HealthDesk:
    """Looks at the vault and the fold."""

    def __init__(
        self,
        vault: Vault,
        workers: Workers,
        backup_age_seconds: Callable[[], float],
        ballast: Ballast,
        of_branches: Callable[[], Iterator[Metric]],
    ) -> None:
        """Bind the parts."""
        self._vault, self._workers, self._ballast = vault, workers, ballast
        self._backup_age_seconds, self._of_branches = backup_age_seconds, of_branches

    def ready(self) -> list[str]:
        """Return why data is not taken, or not folded, at the moment; empty when all is well."""
        reasons = [f"{share} is not folded: {why}" for share, why in sorted(self._workers.fold.failures.items())]
        if not self._ballast.has_room():
            reasons.append("the disk of the store is almost full: no new data is taken")
        if self._ballast.is_given_up():
            reasons.append("the disk of the store is full: its ballast was given up, so that reading and removing go on")
        return reasons

    def concerns(self) -> list[str]:
        """Return what fails meanwhile without keeping data from being taken, each with what to do."""
        kept = (
            f"{share} is not sealed, pruned and trimmed: {why} (tried again every {RETRY_SECONDS:.0f} seconds; see the runbook)"
            for share, why in sorted(self._workers.keep.failures.items())
        )
        found = (
            f"the names of {share} are not indexed, so `find` takes longer: {why} (tried again every {RETRY_SECONDS:.0f} seconds;"
            f" if it stays, stop the service and remove db/find/{share}.db: it is made anew)"
            for share, why in sorted(self._workers.index.failures.items())
        )
        return [*journal_losses(self._vault.opened()), *kept, *found]

    def metrics(self) -> Iterator[tuple[str, str, dict[str, str], float]]:
        """Yield (name, help, labels, value)."""
        for name in sorted(self._workers.keep.failures):
            yield "stagekeeper_not_sealed", "Shares that cannot be sealed at the moment", {"share": name}, 1
        for name in sorted(self._workers.index.failures):
            yield "stagekeeper_not_indexed", "Shares whose names cannot be indexed at the moment", {"share": name}, 1
        what = "Seconds since the newest backup of the appliance's own files"
        yield "stagekeeper_backup_age_seconds", what, {}, self._backup_age_seconds()
        space = os.statvfs(self._vault.root.path)
        yield "stagekeeper_free_bytes", "Free bytes on the disk of the store", {}, space.f_bavail * space.f_frsize
        yield "stagekeeper_ballast_bytes", "Bytes kept back for a full disk", {}, self._ballast.held_bytes
        chunks, packs = self._vault.store.counts()
        yield "stagekeeper_chunks", "Chunks in the store", {}, chunks
        yield "stagekeeper_packs", "Packs in the store", {}, packs
        yield from store_metrics(self._vault.store)
        yield from self._of_branches()
        for share in self._vault.opened():
            labels = {"share": share.name}
            durable, folded = share.journal.durable.sequence, share.fold.sequence
            files, logical_bytes = share.fold.totals
            yield "stagekeeper_durable_sequence", "Last change that is durable", labels, durable
            yield "stagekeeper_folded_sequence", "Last change that is folded", labels, folded
            yield "stagekeeper_files", "Files in the live state", labels, files
            lost = journal_loss(share.journal, share.reader, folded)
            gone = 0 if lost is None else lost.last - lost.first + 1
            yield "stagekeeper_journal_lost_changes", "Changes whose segments of the journal somebody removed", labels, gone
            alerts = len(burst_alerts(share, self._vault.clock.now_ns()))
            yield "stagekeeper_alerts", "Bursts of losses that nobody has dealt with yet", labels, alerts
            yield "stagekeeper_logical_bytes", "Bytes of the live state", labels, logical_bytes
