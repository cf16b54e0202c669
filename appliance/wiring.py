"""Puts the parts together: from a folder to all operations that the web side needs.

The order is the folder's: lock, settings, database, audit log, then the parts that hold data (`Parts`, made by a
factory that is an argument), then the administration around them. Closing runs in reverse.
"""

import os
import secrets
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask

from appliance.accounts import Accounts
from appliance.administration import Administered, ApplianceAdministration
from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.backup_desk import BackupDesk
from appliance.ballast import Ballast
from appliance.branches import Branches
from appliance.certificates import CERTIFICATE_FILE, KEY_FILE, fingerprint
from appliance.credentials import Chance
from appliance.enrolment import EnrolmentDesk
from appliance.exports import Exporter
from appliance.free_space import FreeSpaceHistory
from appliance.jobs import ExportPlace, collect_store, export_snapshots, prune_shares, schedule_actor, scrub_store, take_snapshots
from appliance.rebuilding import check_not_moving
from appliance.rights import Rights
from appliance.root import Root, check_owner, open_root
from appliance.root_lock import RootLock
from appliance.scheduler import Run, Scheduler
from appliance.schedules import BUILT_IN, Schedules
from appliance.schedules_db import ScheduleRow
from appliance.settings import Environment, Settings, load_settings
from appliance.sign_in import SignInDesk
from core.clock import Clock, SystemClock
from core.durable import OS_FILES, FileLayer
from core.errors import Damaged, TryLater
from web.app import create_app
from web.machine_operations import Health, Intake
from web.operations import Differences, Finding, Journals, Keeping, Maintenance, Operations, Removal, Sealing, Shares
from web.settings import WebSettings


class AccountsLost(Damaged):
    """The appliance's own database is gone."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the appliance uses of the machine below it; tests pass their own."""

    clock: Clock
    chance: Chance
    files: FileLayer


NIGHTLY_BACKUP = f"{BUILT_IN}backup"
_NIGHTLY = (
    (NIGHTLY_BACKUP, "0 2 * * *", "backup"),
    (f"{BUILT_IN}scrub", "0 3 * * *", "scrub"),  # a slice a night: all within 30 days
    (f"{BUILT_IN}collect", "0 5 * * *", "collect"),
)
MACHINE = Machine(SystemClock(), secrets.token_bytes, OS_FILES)


@dataclass(frozen=True, slots=True)
class Plumbing:
    """What the parts that hold data are given."""

    root: Root
    settings: Settings
    ballast: Ballast
    free_space: FreeSpaceHistory
    clock: Clock
    chance: Chance
    files: FileLayer
    database: ApplianceDatabase
    audit: AuditLog
    accounts: Accounts
    rights: Rights
    branches: Branches
    enrolment: EnrolmentDesk


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that hold data. `start` is called when serving begins, `close` always, and last."""

    shares: Shares
    intake: Intake
    health: Health
    keeping: Keeping
    sealing: Sealing
    journals: Journals
    maintenance: Maintenance
    differences: Differences
    removal: Removal
    exporter: Exporter
    backups: BackupDesk
    finding: Finding
    start: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None


PartsFactory = Callable[[Plumbing], Parts]


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files with which the appliance shows who it is."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Appliance:
    """An opened appliance: everything wired, nothing served yet."""

    plumbing: Plumbing
    parts: Parts
    scheduler: Scheduler
    operations: Operations
    certificate: Certificate
    app: Flask


def certificate_of(root: Root, settings: Settings) -> Certificate:
    """Return the certificate in use: the settings', or the self-signed one."""
    if settings.server.certificate:
        key = settings.server.key or settings.server.certificate
        return Certificate(root.path / settings.server.certificate, root.path / key)
    return Certificate(root.tls / CERTIFICATE_FILE, root.tls / KEY_FILE)


def build_plumbing(root: Root, settings: Settings, certificate: Certificate, machine: Machine, stack: ExitStack) -> Plumbing:
    """Open database and audit log; `stack` closes them."""
    clock, chance = machine.clock, machine.chance
    if not (root.db / "appliance.db").exists():  # an empty one would have no accounts, and turn every agent away
        raise AccountsLost(
            f"{root.db / 'appliance.db'} is missing: accounts, branches and schedules",
            remedy="put it back with `stagekeeper rebuild --recovery-key-file F`; see the runbook",
        )
    ballast = Ballast(root.parts, settings.space.ballast_bytes, settings.space.reserve_bytes, machine.files)
    ballast.tend()  # before anything is opened: on a full disk SQLite cannot even read
    stack.callback(ballast.tend)  # what is closed wants to write too
    database = ApplianceDatabase(root.db / "appliance.db")
    stack.callback(database.close)
    audit = AuditLog(root.audit, root.store_id, clock, machine.files)
    stack.callback(audit.close)
    accounts = Accounts(database, clock, chance)
    branches = Branches(database, clock, chance, fingerprint(certificate.certificate))
    stack.callback(branches.flush)
    return Plumbing(
        root=root,
        settings=settings,
        ballast=ballast,
        free_space=FreeSpaceHistory(database, clock, root.path),
        clock=clock,
        chance=chance,
        files=machine.files,
        database=database,
        audit=audit,
        accounts=accounts,
        rights=Rights(accounts.grants_of),
        branches=branches,
        enrolment=EnrolmentDesk(database, branches, audit, clock),
    )


def _on_tick_of(plumbing: Plumbing) -> Callable[[], None]:
    def on_tick() -> None:
        plumbing.ballast.tend()  # first: what follows writes
        plumbing.branches.flush()
        with suppress(TryLater):  # a full disk: a day without a figure
            plumbing.free_space.note()

    return on_tick


def build_operations(plumbing: Plumbing, parts: Parts) -> tuple[Operations, Scheduler]:
    """Put the administration around the parts that hold data."""
    schedules = Schedules(plumbing.database, plumbing.clock)
    for name, cron, action in _NIGHTLY:
        schedules.ensure_built_in(name, cron, plumbing.settings.backup.time_zone, action)
    scheduler = Scheduler(schedules, _run_of(plumbing, parts), _on_tick_of(plumbing))
    administration = ApplianceAdministration(
        Administered(
            plumbing.root,
            plumbing.settings,
            plumbing.clock,
            plumbing.database,
            plumbing.audit,
            plumbing.rights,
            plumbing.accounts,
            plumbing.branches,
            schedules,
            scheduler,
            parts.shares,
            parts.exporter,
        )
    )
    sign_in = SignInDesk(plumbing.database, plumbing.audit, plumbing.clock, plumbing.chance)
    operations = Operations(
        shares=parts.shares,
        administration=administration,
        sign_in=sign_in,
        intake=parts.intake,
        health=parts.health,
        keeping=parts.keeping,
        sealing=parts.sealing,
        journals=parts.journals,
        removal=parts.removal,
        maintenance=parts.maintenance,
        backups=parts.backups,
        finding=parts.finding,
        differences=parts.differences,
    )
    return operations, scheduler


def _run_of(plumbing: Plumbing, parts: Parts) -> Run:
    """Return what does the work of a schedule."""
    place = ExportPlace(plumbing.root, plumbing.settings, plumbing.audit, parts.exporter)

    def run(row: ScheduleRow, stopping: Callable[[], bool]) -> Any:
        if row.action == "backup":
            return parts.backups.run_scheduled(schedule_actor(row.name), stopping)
        if row.action == "snapshot":
            return take_snapshots(parts.shares, row)
        if row.action == "prune":
            return prune_shares(parts.keeping, row)
        if row.action == "collect":
            return collect_store(parts.maintenance, row, stopping)
        if row.action == "scrub":
            return scrub_store(parts.maintenance, row, stopping)
        return export_snapshots(place, row, stopping)

    return run


def open_appliance(
    path: Path,
    environment: Environment,
    make_parts: PartsFactory,
    stack: ExitStack,
    *,
    certificate: Certificate | None = None,
    machine: Machine = MACHINE,
) -> Appliance:
    """Lock the folder and open everything in it; `stack` closes it again, in reverse."""
    root = open_root(path)
    check_owner(root, os.geteuid())
    settings = load_settings(root.settings_file, environment)
    lock = RootLock(root.lock_file)
    stack.callback(lock.release)
    check_not_moving(root)
    used = certificate or certificate_of(root, settings)
    plumbing = build_plumbing(root, settings, used, machine, stack)
    parts = make_parts(plumbing)
    stack.callback(parts.close)
    operations, scheduler = build_operations(plumbing, parts)
    web = WebSettings(metrics_need_token=settings.web.metrics_need_token)
    app = create_app(operations, settings=web, clock=machine.clock)
    return Appliance(plumbing, parts, scheduler, operations, used, app)
