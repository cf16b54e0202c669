"""The threads that work on shares in the background: folding, keeping, indexing names, and taking away what was deleted."""

from contextlib import suppress
from dataclasses import dataclass

from appliance.audit import APPLIANCE, AuditLog
from appliance.branch_removal import BranchRemoval
from appliance.branches import Branches, BranchNotFound
from appliance.clock_watch import ClockWatch
from appliance.find_indexes import INDEX_EVERY_SECONDS, FindIndexes, index_step
from appliance.folding import KEEP_EVERY_SECONDS, fold_step, keep_step
from appliance.share_worker import ShareWorker
from appliance.vault import Vault


@dataclass(frozen=True, slots=True)
class Workers:
    """All of them; they stop in the reverse order of their starting."""

    fold: ShareWorker
    keep: ShareWorker
    index: ShareWorker
    remove: ShareWorker

    def start(self) -> None:
        """Begin."""
        for worker in (self.fold, self.keep, self.index, self.remove):
            worker.start()

    def stop(self) -> None:
        """End after the steps under way."""
        for worker in (self.remove, self.index, self.keep, self.fold):
            worker.stop()


def make_workers(vault: Vault, indexes: FindIndexes, branches: Branches, removal: BranchRemoval, audit: AuditLog) -> Workers:
    """Return the workers of a vault, not started."""

    def note_removed(name: str) -> None:
        audit.record(APPLIANCE, "share.remove", name, "done", None)

    def clock_moved(seconds: float) -> None:
        audit.record(APPLIANCE, "clock.moved", "clock", "done", {"seconds": round(seconds)})

    watch = ClockWatch(vault.root.db / "clock", vault.clock, clock_moved)

    def remove_branch(name: str) -> bool:
        with suppress(BranchNotFound):
            if watch.settled() and removal.step(name):
                audit.record(APPLIANCE, "branch.remove", name, "done", None)
        return False

    return Workers(
        fold=ShareWorker("fold", vault.names, fold_step(vault)),
        keep=ShareWorker("keep", vault.names, keep_step(vault, note_removed, watch.settled), KEEP_EVERY_SECONDS),
        index=ShareWorker("index", vault.names, index_step(vault, indexes), INDEX_EVERY_SECONDS),
        remove=ShareWorker("remove", branches.deleted, remove_branch, KEEP_EVERY_SECONDS),
    )
