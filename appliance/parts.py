"""Makes the parts that hold data, from the plumbing: vault, fold, and the desks around them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance.alerts import burst_entries
from appliance.backup import BackedUp
from appliance.backup_desk import BackupDesk
from appliance.branch_figures import BranchFigures
from appliance.branch_removal import BranchRemoval
from appliance.difference_desk import DifferenceDesk
from appliance.find_desk import FindDesk
from appliance.find_indexes import FindIndexes
from appliance.health_desk import HealthDesk
from appliance.intake_desk import IntakeDesk
from appliance.journal_desk import JournalDesk
from appliance.journal_losses import loss_alerts
from appliance.keeping_desk import KeepingDesk
from appliance.lag import lag_alerts
from appliance.maintenance_desk import MaintenanceDesk
from appliance.mending import Mending
from appliance.path_purge import PathPurge
from appliance.quotas import Quotas
from appliance.removal_desk import RemovalDesk, RemovalParts
from appliance.rights import Action, Rights
from appliance.schedules import Schedules
from appliance.seal_desk import SealDesk
from appliance.share_desk import ShareDesk
from appliance.tape_exporter import OpenSource, TapeExporter
from appliance.vault import OpenShare, Vault
from appliance.wiring import Parts, Plumbing
from appliance.workers import make_workers
from tapeexport.export_report import SnapshotSource
from web.operations import Actor


def make_parts(plumbing: Plumbing) -> Parts:
    """Open the vault and everything that works on it."""
    vault = Vault(plumbing.root, plumbing.clock, plumbing.chance)
    indexes = FindIndexes(vault)
    branch_removal = BranchRemoval(vault, plumbing.branches)
    workers = make_workers(vault, indexes, plumbing.branches, branch_removal, plumbing.audit)
    quotas = Quotas(vault, plumbing.branches)
    vault.check_room, vault.note_burst = quotas.check, burst_entries(plumbing.audit)
    figures = BranchFigures(vault, plumbing.branches, quotas, plumbing.free_space)
    rights, audit = plumbing.rights, plumbing.audit
    desk = ShareDesk(vault, workers.fold, rights, audit, plumbing.ballast, _alerts(quotas), figures.complete)
    exporter = TapeExporter(_source_opener(desk, rights), plumbing.root.db / "inventory.db", plumbing.clock)
    exporter.recover()

    backed_up = BackedUp(plumbing.root, vault.store, plumbing.audit, plumbing.clock, plumbing.chance, plumbing.files)
    backups = BackupDesk(backed_up, rights)

    def close() -> None:
        workers.stop()
        backups.close()
        indexes.close()
        vault.close()

    schedules = Schedules(plumbing.database, plumbing.clock)
    purge = PathPurge(plumbing.root, plumbing.clock.now_ns, indexes.emptied)
    removing = RemovalParts(vault, workers.keep, rights, audit, desk.share_status, branch_removal, purge)
    return Parts(
        shares=desk,
        intake=IntakeDesk(
            vault, workers.fold, plumbing.branches, plumbing.enrolment, plumbing.ballast, Mending(vault.store, plumbing.clock)
        ),
        health=HealthDesk(vault, workers, backups.age_seconds, plumbing.ballast, figures.metrics),
        keeping=KeepingDesk(vault, workers.keep, rights, audit, schedules),
        sealing=SealDesk(vault, rights, audit),
        journals=JournalDesk(vault, rights),
        removal=RemovalDesk(removing),
        maintenance=MaintenanceDesk(vault, rights, audit, plumbing.chance, backups.roots),
        differences=DifferenceDesk(vault, rights),
        exporter=exporter,
        backups=backups,
        finding=FindDesk(vault, indexes, rights),
        start=workers.start,
        close=close,
    )


def _source_opener(desk: ShareDesk, rights: Rights) -> OpenSource:
    """Return what opens a snapshot for export, for whoever may export its share."""

    @contextmanager
    def open_source(actor: Actor, source: str) -> Iterator[SnapshotSource]:
        share, _, moment = source.partition("@")
        rights.check_path(actor, Action.EXPORT, share)
        with desk.static_source(share, moment) as (view, row):
            yield SnapshotSource(view, row.id, row.label, row.taken_ns)

    return open_source


def _alerts(quotas: Quotas) -> Callable[[OpenShare], list[str]]:
    """Return what tells what an operator should look at although a share goes on."""
    return lambda share: [*loss_alerts(share), *lag_alerts(share), *quotas.alerts(share)]
