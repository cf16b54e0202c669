"""Stored values as the answers of the API: snapshots, entries, versions."""

import base64
import functools
from collections.abc import Sequence

from appliance.branches_db import BranchRow
from core.clock import format_time
from core.digest import format_digest
from core.relpath import is_text, show_path
from snapshots.ledger_db import Hold as KeptBy
from snapshots.ledger_db import SnapshotRow
from snapshots.moments import Resolved
from snapshots.tree import Node
from snapshots.versions import PathVersion
from staging.changes import Consistency
from web.share_values import Branch, Entry, Hold, Moment, Snapshot, Version

MAX_SHOWN_BYTES = 2**63 - 1  # sums of sparse files may pass what JSON readers take


def snapshot_of(row: SnapshotRow, folded_sequence: int, holds: Sequence[KeptBy] = ()) -> Snapshot:
    """Return a snapshot as answered."""
    state = "deleted" if row.deleted_ns else "ready" if row.sequence <= folded_sequence else "folding"
    return Snapshot(
        id=row.id,
        sequence=row.sequence,
        taken_at=format_time(row.taken_ns),
        label=row.label,
        trigger=row.trigger,
        consistency=Consistency(row.consistency).name.lower(),
        state=state,
        good=None if row.good is None else bool(row.good),
        holds=[Hold(hold.name, hold.owner, hold.reason, _time_or_none(hold.expires_ns)) for hold in holds],
        deleted_at=_time_or_none(row.deleted_ns),
        drops_at=_time_or_none(row.drop_after_ns),
        reason=row.delete_reason,
        files=row.files,
        logical_bytes=None if row.logical_bytes is None else min(row.logical_bytes, MAX_SHOWN_BYTES),
    )


def moment_of(resolved: Resolved, received_ns: int | None, snapshots: Sequence[SnapshotRow]) -> Moment:
    """Return what a moment means as answered; `received_ns` is when its change came, the snapshots are sorted by sequence."""
    taken = resolved.snapshot
    if taken is not None:
        place = (taken.sequence, taken.id)
        before = [row.id for row in snapshots if (row.sequence, row.id) < place]
        after = [row.id for row in snapshots if (row.sequence, row.id) > place]
        return Moment("snapshot", taken.sequence, format_time(taken.taken_ns), taken.id, _last(before), _first(after))
    time_ns = received_ns if resolved.asked_ns is None else resolved.asked_ns
    at = None if time_ns is None else format_time(time_ns)
    if resolved.is_live:
        return Moment("live", resolved.sequence, at, None, _last([row.id for row in snapshots]), None)
    instant = (resolved.sequence, time_ns or 0)  # of several snapshots without a change between them, time tells
    before = [row.id for row in snapshots if (row.sequence, row.taken_ns) <= instant]
    after = [row.id for row in snapshots if (row.sequence, row.taken_ns) > instant]
    return Moment("instant", resolved.sequence, at, None, _last(before), _first(after))


def _first(numbers: Sequence[int]) -> int | None:
    return numbers[0] if numbers else None


def _last(numbers: Sequence[int]) -> int | None:
    return numbers[-1] if numbers else None


def branch_of(row: BranchRow, shares: int) -> Branch:
    """Return a branch as answered."""
    state = row.state if row.deleted_at is None else "deleted"
    times = (_time_or_none(row.enrolled_at or 0), _time_or_none(row.last_seen_at or 0))
    return Branch(row.name, state, *times, shares, _time_or_none(row.drops_at or 0), row.quota_bytes)


def _time_or_none(time_ns: int) -> str | None:
    return format_time(time_ns) if time_ns else None


@functools.cache  # there are seven, and a listing asks for each of its lines
def kind_word(kind: object) -> str:
    """Return a kind as answered, like `character-device`."""
    return str(getattr(kind, "name", kind)).lower().replace("_", "-")


def entry_of(name: bytes, node: Node) -> Entry:
    """Return one line of a folder as answered."""
    attributes = node.attributes
    return Entry(
        name=show_path(name),
        kind=kind_word(node.kind),
        size_bytes=node.size_bytes,
        mode=f"{attributes.mode:04o}",
        uid=attributes.uid,
        gid=attributes.gid,
        mtime_ns=attributes.mtime_ns,
        target=show_path(node.target) if node.target else None,
        digest=format_digest(node.digest) if node.digest is not None else None,
        name_base64=None if is_text(name) else base64.b64encode(name).decode(),
    )


def version_of(version: PathVersion, time_ns: int | None) -> Version:
    """Return one version of a path as answered."""
    state = version.state
    digest = state.content.digest if state is not None and state.content is not None else None
    return Version(
        sequence=version.sequence,
        changed_at=format_time(time_ns) if time_ns is not None else None,
        snapshots=list(version.snapshots),
        kind=kind_word(state.kind) if state is not None else "deleted",
        size_bytes=state.size if state is not None else 0,
        mtime_ns=state.attributes.mtime_ns if state is not None else 0,
        digest=format_digest(digest) if digest is not None else None,
        deleted=state is None,
        path=show_path(version.path),
    )
