"""Lines of the operators' pages: shares, snapshots and audit records in words. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.relpath import ROOT
from web.addresses import folder_address, snapshots_address
from web.audit_words import details_words, plain_words
from web.share_values import Share, Snapshot
from web.words import (
    Crowds,
    StateWords,
    When,
    ago,
    count_words,
    crowds_of,
    lag_words,
    size_words,
    state_words,
    time_of,
    to_the_second,
    when,
)


@dataclass(frozen=True, slots=True)
class ShareRow:
    """One line of the overview."""

    branch: str
    share: str
    state: str
    words: StateWords
    reason: str
    advice: str
    lag: str
    files: str
    size: str
    last_kept: When | None
    last_kept_ago: str
    address: str
    snapshots: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The one sentence on top, and the one below it."""

    sentence: str
    detail: str
    well: bool


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """One line of the snapshots page."""

    id: int
    taken: When
    ago: str
    label: str
    trigger: str
    consistency: str
    ready: bool
    deleted: bool  # by a person or a rule, and to be taken back until its delay has passed
    address: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One line of the audit log."""

    number: str
    at: When
    who: str
    address: str
    action: str
    what: str
    outcome: str
    well: bool
    details: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check of the audit log found: the sentence, and the figures behind it."""

    sentence: str
    well: bool
    figures: tuple[tuple[str, str], ...]


_TRIGGERS = {
    "command": "by hand",
    "schedule": "by schedule",
    "barrier": "marked by the branch",
    "demo": "demonstration",
}
_CONSISTENCIES = {"crash": "as after a power cut", "application": "application at rest"}


def headline(shares: Sequence[Share]) -> Headline:
    """Return the sentence that says whether all is well."""
    if not shares:
        return Headline("Nothing is protected yet", "", False)
    good = [share for share in shares if share.state == "good"]
    sentence = f"{len(good)} of {count_words(len(shares), 'share')} {'is' if len(good) == 1 else 'are'} protected"
    slowest = max((share.lag_seconds for share in good), default=0.0)
    detail = ""
    if good:
        others = "It is" if len(shares) == 1 else "All are" if slowest < 0.5 else "The slowest is"
        detail = f"{others} {lag_words(slowest)}."
    return Headline(sentence, detail, len(good) == len(shares))


def share_rows(shares: Sequence[Share], now_ns: int) -> list[ShareRow]:
    """Return the lines of the overview, worst first."""
    worst_first = sorted(shares, key=lambda one: (state_words(one.state).rank, -one.lag_seconds, one.share))
    return [_share_row(share, now_ns) for share in worst_first]


def snapshot_rows(share: str, snapshots: Sequence[Snapshot], now_ns: int) -> list[SnapshotRow]:
    """Return the lines of the snapshots page, newest first."""
    newest_first = sorted(snapshots, key=lambda one: (one.sequence, one.id), reverse=True)
    crowds = crowds_of(time_of(snapshot.taken_at) for snapshot in snapshots)
    return [_snapshot_row(share, snapshot, now_ns, crowds) for snapshot in newest_first]


def audit_rows(records: Sequence[Mapping[str, Any]]) -> list[AuditRow]:
    """Return the lines of the audit log in the order given."""
    return [_audit_row(record) for record in records]


def verdict_of(found: Mapping[str, Any]) -> Verdict:
    """Return what a check of the audit log found, in words."""
    intact = found.get("intact") is True
    sentence = "Nothing was changed or removed." if intact else "The log is damaged, or was changed."
    rest = {key: value for key, value in found.items() if key != "intact" and value is not None}
    return Verdict(sentence, intact, tuple((key.replace("_", " "), plain_words(value)) for key, value in rest.items()))


def _share_row(share: Share, now_ns: int) -> ShareRow:
    branch, _, name = share.share.partition("/")
    words = state_words(share.state)
    taken_ns = time_of(share.last_snapshot_at)
    return ShareRow(
        branch=branch,
        share=name,
        state=share.state,
        words=words,
        reason=share.reason,
        advice=words.advice.format(branch=branch, share=name),
        lag=lag_words(share.lag_seconds),
        files=f"{share.files:,}",
        size=size_words(share.logical_bytes),
        last_kept=None if taken_ns is None else when(taken_ns, now_ns),
        last_kept_ago=ago(taken_ns, now_ns),
        address=folder_address(share.share, "", ROOT),
        snapshots=snapshots_address(share.share),
    )


def _snapshot_row(share: str, snapshot: Snapshot, now_ns: int, crowds: Crowds) -> SnapshotRow:
    taken_ns = time_of(snapshot.taken_at)
    return SnapshotRow(
        id=snapshot.id,
        taken=when(taken_ns, now_ns, crowds),
        ago=ago(taken_ns, now_ns),
        label=snapshot.label,
        trigger=_TRIGGERS.get(snapshot.trigger, snapshot.trigger),
        consistency=_CONSISTENCIES.get(snapshot.consistency, snapshot.consistency),
        ready=snapshot.state == "ready",
        deleted=snapshot.state == "deleted",
        address=folder_address(share, str(snapshot.id), ROOT),
    )


def _audit_row(record: Mapping[str, Any]) -> AuditRow:
    outcome = str(record.get("outcome") or "done")
    return AuditRow(
        number=str(record.get("sequence", "")),
        at=to_the_second(time_of(record.get("at"))),
        who=str(record.get("account", "")),
        address=str(record.get("address") or ""),
        action=str(record.get("action", "")).replace("_", " ").replace(".", " "),
        what=str(record.get("what") or ""),
        outcome=outcome,
        well=outcome == "done",
        details=details_words(record.get("details") or {}),
    )
