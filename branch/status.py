"""What `status` tells: written by the running agent into a small file, read by the command beside it."""

import base64
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from branch.filter.mounting import is_mounted
from branch.filter.share_root import is_dead
from branch.limit_rule import parse_limit
from branch.limits import WallTime, next_change, rule_at
from branch.share_state import Gap
from branch.share_worker import ShareWorker
from branch.state_db import ShareRecord
from branch.wire import WireBill
from core.clock import NANOSECONDS, format_time
from core.durable import FileLayer, replace_file
from core.relpath import is_text, show_path


class NotProtected(Struct, frozen=True, omit_defaults=True):
    """A path that is left out against the operator's will, and why."""

    path: str
    reason: str
    path_base64: str = ""


class LimitStatus(Struct, frozen=True):
    """The limit of a share: all rules, the one in force (empty: none), its rate (none: without limit), and until when."""

    rules: list[str] = []
    rule: str = ""
    bytes_per_second: int | None = None
    until: str | None = None  # in UTC; none: for good


class GapStatus(Struct, frozen=True):
    """The last time in which changes were found by comparing, although each is to be written down as it is made."""

    since: str
    until: str
    changes: int
    reason: str


class ShareStatus(Struct, frozen=True):
    """One share, as printed."""

    share: str
    capture: str
    mode: str
    state: str
    reason: str
    durable_sequence: int
    outbox_bytes: int
    lag_seconds: float
    wire: WireBill
    not_protected: list[NotProtected]
    limit: LimitStatus = LimitStatus()
    filtering: bool = False  # each change is written down as it is made
    gap: GapStatus | None = None
    watched_by: str = ""  # fanotify, inotify; empty: by nothing


class _Noted(Struct, frozen=True):
    """What the running agent writes down: the status without what the time alone changes, and since when it is behind."""

    status: ShareStatus
    behind_since_ns: int | None


def limit_status(limits: Sequence[str], now_ns: int, wall_time: WallTime) -> LimitStatus:
    """Return which of a share's rules is in force."""
    rules, now = [parse_limit(text) for text in limits], now_ns // NANOSECONDS
    until = next_change(rules, now, wall_time)
    end = format_time(until * NANOSECONDS) if until is not None else None
    rule = rule_at(rules, wall_time(now))
    return LimitStatus(list(limits), rule.text if rule else "", rule.bytes_per_second if rule else None, end)


def status_of(worker: ShareWorker, now_ns: int, wall_time: WallTime) -> ShareStatus:
    """Return a share's status from the running agent."""
    limit = limit_status(worker.record.limits, now_ns, wall_time)
    return msgspec.structs.replace(_status_of(worker, now_ns), limit=limit)


def _status_of(worker: ShareWorker, now_ns: int) -> ShareStatus:
    state, reason = worker.shown()
    since = worker.behind_since_ns()
    return ShareStatus(
        share=worker.record.name,
        capture=worker.record.capture,
        mode="async",
        state=state,
        reason=reason,
        durable_sequence=worker.outbox.acknowledged.sequence,
        outbox_bytes=worker.outbox.pending_bytes,
        lag_seconds=_lag(since, now_ns),
        wire=worker.meter.bill,
        not_protected=[_not_protected(path, why) for path, why in worker.state.not_protected()],
        filtering=worker.state.is_filtered,
        gap=_gap(worker.state.gap),
        watched_by=worker.watched_by(),
    )


class StatusWriter:
    """Keeps the status file as the shares are, without writing when nothing changed."""

    def __init__(self, path: Path, files: FileLayer) -> None:
        """Write to `path`."""
        self._path, self._files = path, files
        self._written = b""

    def write(self, workers: dict[bytes, ShareWorker]) -> None:
        """Write down how the shares are."""
        noted = {share_id.hex(): _note(worker) for share_id, worker in sorted(workers.items())}
        data = msgspec.json.encode(noted)
        if data != self._written:
            replace_file(self._path, data, self._files)
            self._written = data


def read_status(path: Path, record: ShareRecord, now_ns: int, wall_time: WallTime) -> ShareStatus:
    """Return a share's status as last written down, or as a share is before the agent has run."""
    try:
        noted = msgspec.json.decode(path.read_bytes(), type=dict[str, _Noted]).get(record.share_id.hex())
    except (OSError, msgspec.MsgspecError):  # not yet written
        noted = None
    limit = limit_status(record.limits, now_ns, wall_time)
    if noted is None:
        reason = "the agent has not run yet"
        return ShareStatus(record.name, record.capture, "async", "mirroring", reason, 0, 0, 0.0, record.wire, [], limit)
    filtering = noted.status.filtering and is_mounted(record.path) and not is_dead(record.path)  # it may have been killed since
    lag_seconds = _lag(noted.behind_since_ns, now_ns)
    return msgspec.structs.replace(noted.status, lag_seconds=lag_seconds, limit=limit, filtering=filtering)


def _note(worker: ShareWorker) -> _Noted:
    return _Noted(msgspec.structs.replace(_status_of(worker, 0), lag_seconds=0.0), worker.behind_since_ns())


def _gap(gap: Gap | None) -> GapStatus | None:
    if gap is None:
        return None
    return GapStatus(format_time(gap.since_ns), format_time(gap.until_ns), gap.changes, gap.reason)


def _lag(since_ns: int | None, now_ns: int) -> float:
    return round(max(now_ns - since_ns, 0) / NANOSECONDS, 3) if since_ns else 0.0


def _not_protected(path: bytes, reason: str) -> NotProtected:
    return NotProtected(show_path(path), reason, "" if is_text(path) else base64.b64encode(path).decode())
