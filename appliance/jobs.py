"""What a schedule's run does: plain functions of the parts that do the work."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from appliance.audit import AuditLog
from appliance.audited import audited_steps
from appliance.exports import Exporter, checked_destination, checked_sources
from appliance.root import Root
from appliance.schedules_db import ScheduleRow
from appliance.settings import Settings
from appliance.share_desk import SnapshotDeferred
from core.errors import Damaged, StagekeeperError, TryLater
from web.operations import Actor, Keeping, Maintenance, Shares
from web.share_values import Progress
from web.streams import close


class JobInterrupted(TryLater):
    """The appliance is stopping."""


class JobIncomplete(TryLater):
    """Some of what a run was to do failed; the message says what."""


class StoreDamaged(Damaged):
    """A scrub found what is not as it was written."""


class ExportNotVerified(Damaged):
    """What was read back from a cartridge is not what was written."""


@dataclass(frozen=True, slots=True)
class ExportPlace:
    """What an export by schedule needs."""

    root: Root
    settings: Settings
    audit: AuditLog
    exporter: Exporter


def schedule_actor(name: str) -> Actor:
    """Return who acts when a schedule does; its account name is none that a person can have."""
    return Actor(f"schedule:{name}", "operator")


def take_snapshots(shares: Shares, schedule: ScheduleRow) -> list[dict[str, Any]]:
    """Take a snapshot of each share; one that fails does not keep the others from theirs."""
    actor = schedule_actor(schedule.name)
    taken, failures = [], []
    for share in schedule.shares:
        try:
            snapshot = shares.create_snapshot(actor, share, schedule.name)
        except SnapshotDeferred as error:  # it is not lost: the reason is told, and it comes when the share is good
            taken.append({"share": share, "deferred": error.message})
        except StagekeeperError as error:
            failures.append(f"{share}: {error.message}")
        else:
            taken.append({"share": share, **msgspec.to_builtins(snapshot)})
    if failures:
        raise JobIncomplete("; ".join(failures), remedy="see the share's state, then run the schedule again")
    return taken


def prune_shares(keeping: Keeping, schedule: ScheduleRow) -> list[dict[str, Any]]:
    """Prune each share by its policy and return what was decided to go."""
    actor = schedule_actor(schedule.name)
    decisions = [decision for share in schedule.shares for decision in keeping.prune(actor, share, False)]
    return [msgspec.to_builtins(decision) for decision in decisions if not decision.keep]


def export_snapshots(place: ExportPlace, schedule: ScheduleRow, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Export the newest snapshot of each share and return the report; raise when it was not verified."""
    actor = schedule_actor(schedule.name)
    allowed = place.settings.directories.exports
    destination = checked_destination(actor, schedule.destination, place.root.path, allowed)
    sources = checked_sources(schedule.shares)
    exported = place.exporter.export(actor, sources, destination, schedule.kind)
    asked = {"sources": sources, "to": str(destination), "kind": schedule.kind}
    steps = audited_steps(place.audit, actor, "export", str(destination), asked, exported)
    report: Any = None
    try:
        for report in steps:
            if isinstance(report, Progress) and stopping():
                raise JobInterrupted("the appliance was stopped during the export", remedy="run the schedule again")
    finally:
        close(steps)
    answer: dict[str, Any] = msgspec.to_builtins(report)
    if not answer.get("verified"):
        raise ExportNotVerified("what was read back is not what was written", remedy="export to other cartridges")
    return answer


def collect_store(maintenance: Maintenance, schedule: ScheduleRow, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Free what nothing names and return the report; a run that is stopped leaves the rest to the next one."""
    steps = maintenance.collect(schedule_actor(schedule.name))
    report: Any = None
    try:
        for report in steps:
            if isinstance(report, Progress) and stopping():
                raise JobInterrupted("the appliance was stopped during collect", remedy="the next run does what is left")
    finally:
        close(steps)
    answer: dict[str, Any] = msgspec.to_builtins(report)
    return answer


def scrub_store(maintenance: Maintenance, schedule: ScheduleRow, stopping: Callable[[], bool]) -> dict[str, Any]:
    """Read what is due of the store and return the report; raise when anything is damaged."""
    steps = maintenance.scrub(schedule_actor(schedule.name), False)
    report: Any = None
    try:
        for report in steps:
            if isinstance(report, Progress) and stopping():
                raise JobInterrupted(
                    "the appliance was stopped during the scrub", remedy="it goes on where it was at the next run"
                )
    finally:
        close(steps)
    answer: dict[str, Any] = msgspec.to_builtins(report)
    if answer["damaged_chunks"] or answer["findings"]:
        told = "; ".join(answer["findings"][:3])
        raise StoreDamaged(
            f"{answer['damaged_chunks']} chunks are damaged, {len(answer['hits'])} files are hit: {told}",
            remedy="see `stagekeeper scrub`, and docs/damage.md for what to do",
        )
    return answer
