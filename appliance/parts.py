"""Makes the parts that hold data, from the plumbing: vault, fold, and the desks around them."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from appliance.backup import BackedUp
from appliance.backup_desk import BackupDesk
from appliance.branch_removal import BranchRemoval
from appliance.branches import BranchNotFound
from appliance.difference_desk import DifferenceDesk
from appliance.find_desk import FindDesk
from appliance.find_indexes import INDEX_EVERY_SECONDS, FindIndexes, index_step
from appliance.folding import KEEP_EVERY_SECONDS, fold_step, keep_step
from appliance.health_desk import HealthDesk
from appliance.intake_desk import IntakeDesk
from appliance.journal_desk import JournalDesk
from appliance.keeping_desk import KeepingDesk
from appliance.maintenance_desk import MaintenanceDesk
from appliance.removal_desk import RemovalDesk, RemovalParts
from appliance.rights import Action
from appliance.schedules import Schedules
from appliance.seal_desk import SealDesk
from appliance.share_desk import ShareDesk
from appliance.share_worker import ShareWorker
from appliance.tape_exporter import TapeExporter
from appliance.vault import Vault
from appliance.wiring import Parts, Plumbing
from tapeexport.export_report import SnapshotSource
from web.operations import Actor

APPLIANCE = Actor("stagekeeper", "system")
"""Who acts when a time has come."""


def make_parts(plumbing: Plumbing) -> Parts:
    """Open the vault and everything that works on it."""
    vault = Vault(plumbing.root, plumbing.clock, plumbing.chance)
    worker = ShareWorker("fold", vault.names, fold_step(vault))

    def note_removed(name: str) -> None:
        plumbing.audit.record(APPLIANCE, "share.remove", name, "done", None)

    keeper = ShareWorker("keep", vault.names, keep_step(vault, note_removed), KEEP_EVERY_SECONDS)
    branch_removal = BranchRemoval(vault, plumbing.branches)

    def remove_branch(name: str) -> bool:
        with suppress(BranchNotFound):
            if branch_removal.step(name):
                plumbing.audit.record(APPLIANCE, "branch.remove", name, "done", None)
        return False

    remover = ShareWorker("remove", plumbing.branches.deleted, remove_branch, KEEP_EVERY_SECONDS)
    indexes = FindIndexes(vault)
    indexer = ShareWorker("index", vault.names, index_step(vault, indexes), INDEX_EVERY_SECONDS)
    desk = ShareDesk(vault, worker, plumbing.rights, plumbing.audit, plumbing.ballast)

    @contextmanager
    def open_source(actor: Actor, source: str) -> Iterator[SnapshotSource]:
        share, _, moment = source.partition("@")
        plumbing.rights.check_path(actor, Action.EXPORT, share)
        with desk.static_source(share, moment) as (view, row):
            yield SnapshotSource(view, row.id, row.label, row.taken_ns)

    exporter = TapeExporter(open_source, plumbing.root.db / "inventory.db", plumbing.clock)
    exporter.recover()

    backed_up = BackedUp(plumbing.root, vault.store, plumbing.audit, plumbing.clock, plumbing.chance, plumbing.files)
    backups = BackupDesk(backed_up, plumbing.rights)

    def start() -> None:
        worker.start()
        keeper.start()
        indexer.start()
        remover.start()

    def close() -> None:
        remover.stop()
        indexer.stop()
        keeper.stop()
        worker.stop()
        backups.close()
        indexes.close()
        vault.close()

    intake = IntakeDesk(vault, worker, plumbing.branches, plumbing.enrolment, plumbing.ballast)
    health = HealthDesk(vault, worker, keeper, backups.age_seconds, plumbing.ballast)
    keeping = KeepingDesk(vault, keeper, plumbing.rights, plumbing.audit, Schedules(plumbing.database, plumbing.clock))
    sealing = SealDesk(vault, plumbing.rights, plumbing.audit)
    journals = JournalDesk(vault, plumbing.rights)
    removing = RemovalParts(vault, keeper, plumbing.rights, plumbing.audit, desk.share_status, branch_removal)
    removal = RemovalDesk(removing)
    maintenance = MaintenanceDesk(vault, plumbing.rights, plumbing.audit, plumbing.chance, backups.roots)
    finding = FindDesk(vault, indexes, plumbing.rights)
    differences = DifferenceDesk(vault, plumbing.rights)
    return Parts(
        shares=desk,
        intake=intake,
        health=health,
        keeping=keeping,
        sealing=sealing,
        journals=journals,
        removal=removal,
        maintenance=maintenance,
        differences=differences,
        exporter=exporter,
        backups=backups,
        finding=finding,
        start=start,
        close=close,
    )
