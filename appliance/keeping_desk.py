"""Which snapshots stay: labels, holds, deletion and its undoing, the policy of a share, and prune.

Implements `web.operations.Keeping`. Each act is a control record of the share's journal, durable before it is answered, and an
entry in the audit log. Nothing is removed at once: a deleted snapshot goes after the policy's delay, and can be taken back until
then (`appliance.removals`).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from appliance.audit import AuditLog
from appliance.cron import parse_cron
from appliance.handover import steps_of
from appliance.removals import in_force, removal_delay_ns
from appliance.rights import Action, Rights
from appliance.rows import snapshot_of
from appliance.schedules import Schedules
from appliance.share_policy import policy_of
from appliance.share_worker import ShareWorker
from appliance.vault import OpenShare, Vault
from core.clock import format_time, parse_time
from core.durations import parse_duration
from core.errors import NotFound, Refused, StagekeeperError
from snapshots.control_format import (
    MAX_HOLD_NAME,
    MAX_REASON,
    HoldReleased,
    HoldSet,
    PolicySet,
    SnapshotDeleted,
    SnapshotLabelled,
    SnapshotUndeleted,
)
from snapshots.exclusive import Removal
from snapshots.ledger_db import LAST_EXPIRY_NS, SnapshotRow
from snapshots.policy import Policy
from snapshots.policy_document import check_policy, write_policy
from snapshots.retention import Decision, SnapshotFacts, decide
from staging.changes import MAX_LABEL_CHARACTERS
from staging.protocol import Position
from web.operations import Actor
from web.share_values import Progress, Snapshot
from web.upkeep_values import PruneDecision, WeighedSnapshot, Weight


class SnapshotUnknown(NotFound):
    """No such snapshot in the share."""


class SnapshotStays(Refused):
    """A snapshot that a prune would have deleted is to stay by now."""


class SnapshotHeld(Refused):
    """A hold keeps a snapshot."""


class HoldEndUnusable(Refused):
    """A hold cannot end at the time that was named."""


class HoldUnknown(NotFound):
    """A snapshot has no hold of that name."""


class TextTooLong(Refused):
    """A label, a name or a reason is longer than its limit."""


class LastGood(Refused):
    """The only good snapshot of a share is not deleted."""


class KeepingDesk:
    """The acts on snapshots and policies."""

    def __init__(self, vault: Vault, keeper: ShareWorker, rights: Rights, audit: AuditLog, schedules: Schedules) -> None:
        """Bind the parts."""
        self._vault, self._keeper, self._rights, self._audit = vault, keeper, rights, audit
        self._schedules = schedules

    def label(self, actor: Actor, share: str, snapshot: int, label: str) -> Snapshot:
        """Give a snapshot another label."""
        with self._act(actor, share, snapshot, "snapshot.label", {"label": label[:MAX_LABEL_CHARACTERS]}) as opened:
            _check_length("label", label, MAX_LABEL_CHARACTERS)
            opened.fold.order(lambda number, _: SnapshotLabelled(number, snapshot, label))
        return self._shown(opened, snapshot)

    def hold(self, actor: Actor, share: str, snapshot: int, name: str, reason: str, until: str | None) -> Snapshot:
        """Keep a snapshot, whatever the policy says, until a time or until it is released."""
        with self._act(actor, share, snapshot, "snapshot.hold", {"name": name[:MAX_HOLD_NAME], "until": until}) as opened:
            _check_length("hold's name", name, MAX_HOLD_NAME)
            _check_length("reason", reason, MAX_REASON)
            expires_ns = _end_of_hold(until, self._vault.clock.now_ns()) if until else 0
            opened.fold.order(lambda number, _: HoldSet(number, snapshot, name, actor.account, reason, expires_ns))
        return self._shown(opened, snapshot)

    def release(self, actor: Actor, share: str, snapshot: int, name: str) -> Snapshot:
        """Let go of a hold; the policy decides again."""
        with self._act(actor, share, snapshot, "snapshot.release", {"name": name[:MAX_HOLD_NAME]}) as opened:
            held = {hold.name for hold in opened.reader.ledger.holds().get(snapshot, [])}
            if name not in held:
                remedy = f"there are {', '.join(sorted(held))}" if held else "nothing holds it"
                raise HoldUnknown(f"snapshot {snapshot} of {share} has no hold {name!r}", remedy=remedy)
            opened.fold.order(lambda number, _: HoldReleased(number, snapshot, name))
        return self._shown(opened, snapshot)

    def delete(self, actor: Actor, share: str, snapshot: int) -> Snapshot:
        """Delete a snapshot: it goes after the delay, and can be taken back until then."""
        with self._act(actor, share, snapshot, "snapshot.delete", {}) as opened:

            def reason_at(_: int) -> str:
                self._check_deletable(opened, snapshot)
                return f"deleted by {actor.account}"

            self._order_deletion(opened, snapshot, reason_at)
        return self._shown(opened, snapshot)

    def undelete(self, actor: Actor, share: str, snapshot: int) -> Snapshot:
        """Take a deletion back."""
        with self._act(actor, share, snapshot, "snapshot.undelete", {}) as opened:
            opened.fold.order(lambda number, _: SnapshotUndeleted(number, snapshot))
        return self._shown(opened, snapshot)

    def policy(self, actor: Actor, share: str) -> dict[str, Any]:
        """Return the policy document of a share."""
        self._rights.check_path(actor, Action.VIEW_SHARES, share)
        return _document(policy_of(self._vault.share(share)))

    def set_policy(self, actor: Actor, share: str, document: object) -> dict[str, Any]:
        """Replace the policy of a share; raise `PolicyUnreadable` naming what is wrong."""
        with self._audited(actor, Action.CHANGE_POLICY, share, "policy.set", share, {"policy": document}):
            policy = check_policy(document, parse_cron)
            opened = self._vault.share(share)
            now_ns = self._vault.clock.now_ns()
            least_ns = removal_delay_ns(opened, now_ns)
            shorter = parse_duration(policy.limits.removal_delay) < least_ns
            until_ns = now_ns + least_ns if shorter else 0
            text = write_policy(policy)
            opened.fold.order(lambda number, _: PolicySet(number, text, least_ns if shorter else 0, until_ns))
            self._schedules.follow_policy(share, policy.schedule, policy.time_zone)
        return _document(policy)

    def prune(self, actor: Actor, share: str | None, dry_run: bool) -> list[PruneDecision]:
        """Decide about the snapshots of a share, or of all; unless it is a dry run, delete what is not to be kept."""
        self._rights.check(actor, Action.VIEW_SHARES if dry_run else Action.PRUNE)
        names = [share] if share is not None else self._vault.names()
        return [decision for name in names for decision in self._prune_share(actor, name, dry_run)]

    def weigh(self, actor: Actor, share: str, first: int, last: int) -> Iterator[Progress | Weight]:
        """Tell what deleting the snapshots from one to another would free; the last value is the answer."""
        self._rights.check_path(actor, Action.VIEW_STATS, share)
        opened = self._vault.share(share)
        rows = _between(opened, first, last)
        others = [self._vault.share(name) for name in self._vault.names()]

        def work(report: Callable[[Progress], None]) -> Weight:
            weigh = Removal(opened.reader, [other.reader for other in others], self._vault.store)
            frees = weigh.frees([row.id for row in rows], lambda done: report(Progress(done, None, done, "states")))
            alone = [WeighedSnapshot(row.id, format_time(row.taken_ns), row.label, weigh.frees_at_most([row.id])) for row in rows]
            return Weight(share, alone, frees)

        return steps_of(work)

    def _prune_share(self, actor: Actor, share: str, dry_run: bool) -> Iterator[PruneDecision]:
        opened = self._vault.share(share)
        decided_at = opened.fold.last_control  # asked first: what is ordered behind it is looked at again
        decisions = self._decide(opened)
        weigh = Removal(opened.reader, [], self._vault.store)
        gone = {row.id for row in opened.reader.ledger.snapshots(deleted=True) if row.deleted_ns}
        for decision in decisions:
            if not dry_run and not decision.keep and decision.id not in gone:
                decision, decided_at = self._delete_by_policy(actor, opened, decision, decided_at)
            frees_bytes = 0 if decision.keep else weigh.frees_at_most([decision.id])
            yield PruneDecision(share, decision.id, decision.keep, list(decision.reasons), frees_bytes)

    def _delete_by_policy(self, actor: Actor, opened: OpenShare, decision: Decision, decided_at: int) -> tuple[Decision, int]:
        """Delete a snapshot as it was decided at a control record, or as it is decided now when somebody else ordered more.

        Whoever holds, takes back or deletes a snapshot while a prune runs counts. Return what was decided, and up to which
        record the decisions hold: behind somebody else's they never do again.
        """
        found = decision

        def reason_at(number: int) -> str:
            nonlocal found
            if number != decided_at + 1:
                row = opened.reader.ledger.snapshot(decision.id)
                found = next((one for one in self._decide(opened) if one.id == decision.id), decision)
                if found.keep or row is None or row.deleted_ns:
                    raise SnapshotStays(f"snapshot {decision.id} of {opened.name} stays, or is deleted already")
            return "; ".join(found.reasons)[:MAX_REASON]

        try:
            ordered = self._order_deletion(opened, decision.id, reason_at)
        except SnapshotStays:
            return found, decided_at
        self._audit.record(actor, "snapshot.prune", f"{opened.name}@{decision.id}", "done", {"reason": ordered.reason})
        return found, ordered.number if ordered.number == decided_at + 1 else decided_at

    def _decide(self, opened: OpenShare) -> list[Decision]:
        return decide(self._facts(opened), policy_of(opened), self._vault.clock.now_ns())

    def _facts(self, opened: OpenShare) -> Iterator[SnapshotFacts]:
        holds = opened.reader.ledger.holds()
        now_ns = self._vault.clock.now_ns()
        for row in opened.reader.ledger.snapshots(deleted=True):
            names = tuple(hold.name for hold in in_force(holds.get(row.id, []), now_ns))
            yield SnapshotFacts(
                row.id, row.sequence, row.taken_ns, row.trigger, names, good=row.good != 0, deleted=bool(row.deleted_ns)
            )

    def _order_deletion(self, opened: OpenShare, snapshot: int, reason_at: Callable[[int], str]) -> SnapshotDeleted:
        """Order that a snapshot goes after the delay. `reason_at` is given the record's number, and raises if it is to stay.

        It is asked in the share's turn, so that nothing is ordered between what it looks at and the deletion.
        """
        now_ns = self._vault.clock.now_ns()

        def make(number: int, _: Position) -> SnapshotDeleted:
            after_ns = now_ns + removal_delay_ns(opened, now_ns)
            return SnapshotDeleted(number, snapshot, now_ns, after_ns, reason_at(number))

        ordered = opened.fold.order(make)
        self._keeper.notify(opened.name)
        return ordered

    def _check_deletable(self, opened: OpenShare, snapshot: int) -> None:
        holds = in_force(opened.reader.ledger.holds().get(snapshot, []), self._vault.clock.now_ns())
        if holds:
            names = ", ".join(f"{hold.name} ({hold.owner})" for hold in holds)
            raise SnapshotHeld(f"snapshot {snapshot} of {opened.name} is held: {names}", remedy="release it first")
        good = [row.id for row in opened.reader.ledger.snapshots() if row.good]
        if good == [snapshot]:
            raise LastGood(
                f"snapshot {snapshot} is the only good one of {opened.name}", remedy="take another one while the share is good"
            )

    def _shown(self, opened: OpenShare, snapshot: int) -> Snapshot:
        row = opened.reader.ledger.snapshot(snapshot)
        if row is None:
            raise _unknown(opened.name, snapshot)
        return snapshot_of(row, opened.fold.sequence, opened.reader.ledger.holds().get(snapshot, []))

    @contextmanager
    def _act(self, actor: Actor, share: str, snapshot: int, verb: str, details: dict[str, Any]) -> Iterator[OpenShare]:
        """Check right and snapshot, and note how the act on it ended."""
        with self._audited(actor, Action.KEEP, share, verb, f"{share}@{snapshot}", details):
            opened = self._vault.share(share)
            if opened.reader.ledger.snapshot(snapshot) is None:
                raise _unknown(share, snapshot)
            yield opened

    @contextmanager
    def _audited(self, actor: Actor, action: Action, share: str, verb: str, what: str, details: dict[str, Any]) -> Iterator[None]:
        try:
            self._rights.check_path(actor, action, share)
            yield
        except StagekeeperError as error:
            self._audit.record(actor, verb, what, "refused", {**details, "error": error.type})
            raise
        self._audit.record(actor, verb, what, "done", details)


def _between(opened: OpenShare, first: int, last: int) -> list[SnapshotRow]:
    """Return the snapshots from one to another, in whatever order the two were named; raise `SnapshotUnknown`."""
    rows = opened.reader.ledger.snapshots(deleted=True)
    places = {row.id: place for place, row in enumerate(rows)}
    for number in (first, last):
        if number not in places:
            raise _unknown(opened.name, number)
    begin, end = sorted((places[first], places[last]))
    return rows[begin : end + 1]


def _document(policy: Policy) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(policy)
    return document


def _end_of_hold(until: str, now_ns: int) -> int:
    """Return a time to come, in nanoseconds that a catalogue can write down and that do not read as "for ever"."""
    end_ns = parse_time(until)
    if not 0 < end_ns <= LAST_EXPIRY_NS:
        raise HoldEndUnusable(
            f"a hold cannot end at {until}", remedy="name a time from 1970 to 2262, or none: it lasts until it is released then"
        )
    if end_ns <= now_ns:  # it would be answered as held, and keep nothing
        raise HoldEndUnusable(f"a hold until {until} is over already", remedy="name a time to come; the appliance's clock counts")
    return end_ns


def _check_length(what: str, text: str, limit: int) -> None:
    if len(text) > limit:
        raise TextTooLong(f"the {what} has {len(text)} characters", remedy=f"use at most {limit}")


def _unknown(share: str, snapshot: int) -> SnapshotUnknown:
    return SnapshotUnknown(f"{share} has no snapshot {snapshot}", remedy="see `stagekeeper snapshot list`")
