"""What people and the command line ask about shares: status, snapshots, folders, files, versions, restores.

Implements `web.operations.Shares`: checks the right, resolves the moment, reads, and audits what leaves the appliance.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from appliance.alerts import burst_alerts
from appliance.audit import AuditLog
from appliance.ballast import Ballast
from appliance.handover import steps_of
from appliance.lag import lag_seconds
from appliance.places import check_same_place
from appliance.removals import check_not_deleted
from appliance.restores import restore_with_progress
from appliance.rights import Action, Reach, Rights
from appliance.rows import MAX_SHOWN_BYTES, entry_of, moment_of, snapshot_of, version_of
from appliance.share_worker import ShareWorker
from appliance.space import measure
from appliance.vault import OpenShare, Vault
from core.clock import format_time
from core.errors import Damaged, NotFound, Refused, StagekeeperError, TryLater
from core.relpath import RelPath, join, show_path, split
from snapshots.fold_pace import CHANGES_A_TRANSACTION
from snapshots.ledger_db import SnapshotRow
from snapshots.schema_db import LIVE
from snapshots.tree import Node, TreeView
from snapshots.view_db import SnapshotView
from staging.changes import MAX_LABEL_CHARACTERS, Kind
from web.figures import Stats
from web.operations import Actor
from web.share_values import Download, Entry, Moment, Place, Progress, RestoreReport, Share, Snapshot, Version

_PIECE_BYTES = 1024 * 1024


class NotAFile(NotFound):
    """What was named is no file."""


class SnapshotDeferred(TryLater):
    """A scheduled snapshot waits until the share is good."""


class LabelTooLong(Refused):
    """A label is longer than the limit."""


class TargetRefused(Refused):
    """A restore may not write there."""


def _none(share: OpenShare) -> list[str]:
    return []


def _as_it_is(stats: Stats) -> Stats:
    return stats


class ShareDesk:
    """The operations on shares."""

    def __init__(
        self,
        vault: Vault,
        worker: ShareWorker,
        rights: Rights,
        audit: AuditLog,
        ballast: Ballast,
        alerts: Callable[[OpenShare], list[str]] = _none,
        complete: Callable[[Stats], Stats] = _as_it_is,
    ) -> None:
        """Bind the parts; `alerts` tells what else is to be said about a share, `complete` adds to the figures."""
        self._complete = complete
        self._vault, self._worker, self._rights, self._audit, self._ballast = vault, worker, rights, audit, ballast
        self._alerts = alerts

    def list_shares(self, actor: Actor) -> list[Share]:
        """Return the shares that the actor may see."""
        self._rights.check(actor, Action.VIEW_SHARES)
        names = [name for name in self._vault.names() if self._rights.reach(actor, name) is not Reach.NONE]
        return [self._status_or_reason(actor, name) for name in names]

    def share_status(self, actor: Actor, share: str) -> Share:
        """Return one share's state."""
        self._rights.check_path(actor, Action.VIEW_SHARES, share)
        return self._status(self._folded(actor, share))

    def create_snapshot(self, actor: Actor, share: str, label: str) -> Snapshot:
        """Take a snapshot of what is durable now."""
        self._rights.check_path(actor, Action.SNAPSHOT, share)
        if len(label) > MAX_LABEL_CHARACTERS:
            raise LabelTooLong(f"a label of {len(label)} characters", remedy=f"use at most {MAX_LABEL_CHARACTERS}")
        opened = self._vault.share(share)
        check_not_deleted(opened)
        trigger = "schedule" if actor.account.startswith("schedule:") else "command"
        state, reason = opened.fold.state
        if trigger == "schedule" and state != "good":
            opened.fold.defer(label)
            self._audit.record(actor, "snapshot.create", share, "deferred", {"label": label, "reason": reason})
            raise SnapshotDeferred(f"the snapshot of {share} waits: {reason}", remedy="it is taken when the share is good")
        row = opened.fold.take_snapshot(label, trigger, self._vault.clock.now_ns())
        self._worker.notify(share)
        self._audit.record(actor, "snapshot.create", f"{share}@{row.id}", "done", {"label": label})
        return snapshot_of(row, opened.fold.sequence)

    def list_snapshots(self, actor: Actor, share: str) -> list[Snapshot]:
        """Return a share's snapshots by sequence, also those that were deleted and can be taken back."""
        self._rights.check_path(actor, Action.VIEW_SHARES, share)
        opened = self._folded(actor, share)
        rows, holds = opened.reader.ledger.snapshots(deleted=True), opened.reader.ledger.holds()
        return [snapshot_of(row, opened.fold.sequence, holds.get(row.id, ())) for row in rows]

    def moment(self, actor: Actor, share: str, moment: str) -> Moment:
        """Return what a moment means."""
        self._rights.check_path(actor, Action.VIEW_SHARES, share)
        opened = self._folded(actor, share)
        resolved = opened.instants.resolve(moment)
        return moment_of(resolved, opened.reader.time_of(resolved.sequence), opened.reader.ledger.snapshots())

    def list_folder(
        self, actor: Actor, share: str, moment: str, path: RelPath, after: bytes, limit: int
    ) -> tuple[list[Entry], bytes | None]:
        """Return a page of a folder as of a moment, and the name to continue behind."""
        reach = self._rights.check_path(actor, Action.BROWSE, share, path)
        instants = self._folded(actor, share, moment).instants
        more = limit + 1  # one more tells whether there is a next page
        found = instants.look(instants.resolve(moment), lambda view: view.list_folder(path, after, more))
        rows = found[:limit]
        following = rows[-1][0] if len(found) > limit else None
        if reach is Reach.WAY:
            rows = [row for row in rows if self._rights.reach(actor, share, join(path, row[0])) is not Reach.NONE]
        return [entry_of(name, node) for name, node in rows], following

    def entry(self, actor: Actor, share: str, moment: str, path: RelPath) -> Entry:
        """Return what stands at a path."""
        self._rights.check_path(actor, Action.BROWSE, share, path)
        instants = self._folded(actor, share, moment).instants
        return entry_of(split(path)[1], instants.look(instants.resolve(moment), lambda view: view.node_at(path)))

    def open_file(self, actor: Actor, share: str, moment: str, path: RelPath, first: int, last: int | None) -> Download:
        """Open the bytes first..last of a file and audit the download."""
        if self._rights.check_path(actor, Action.DOWNLOAD, share, path) is not Reach.FULL:
            raise NotAFile(f"{show_path(path)} is not a file", remedy="name a file")
        opened = self._folded(actor, share, moment)
        resolved = opened.instants.resolve(moment)
        node = opened.instants.look(resolved, lambda view: view.node_at(path))
        if node.kind is not Kind.FILE:
            what = show_path(path) or "the share's root"
            raise NotAFile(f"{what} is a {node.kind.name.lower()}, not a file", remedy="name a file")
        what = f"{share}@{moment or resolved.sequence}/{show_path(path)}"
        self._audit.record(actor, "download", what, "done", {"first": first, "last": last})
        end = node.size_bytes if last is None else min(last + 1, node.size_bytes)

        def pieces() -> Iterator[bytes]:
            if resolved.is_live:
                yield from _pieces(opened.reader.view(resolved.sequence), node, first, end)
                return
            with opened.instants.leased(resolved) as kept:
                yield from _pieces(kept, node, first, end)

        etag = node.digest.hex() if node.digest is not None else "empty"
        return Download(split(path)[1], node.size_bytes, node.attributes.mtime_ns, etag, pieces())

    def versions(
        self, actor: Actor, share: str, moment: str, path: RelPath, before: int | None, limit: int
    ) -> tuple[list[Version], int | None]:
        """Return a page of the versions of a path up to a moment, newest first, and before which change the next one begins."""
        self._rights.check_path(actor, Action.BROWSE, share, path)
        opened = self._folded(actor, share, moment)
        with opened.instants.versions(opened.instants.resolve(moment)) as lister:
            found, following = lister.page(path, LIVE if before is None else before, limit)
        kept = [v for v in found if v.path == path or self._rights.reach(actor, share, v.path) is Reach.FULL]
        return [version_of(version, opened.reader.time_of(version.sequence)) for version in kept], following

    def restore(
        self, actor: Actor, share: str, moment: str, path: RelPath, target: str, overwrite: bool, seen: Place | None = None
    ) -> Iterator[Progress | RestoreReport]:
        """Restore into a directory of the appliance; the last value is the report."""
        self._rights.check_path(actor, Action.RESTORE, share, path)
        folder = self._checked_target(target)
        check_same_place(seen)
        opened = self._vault.share(share)
        with self._leased(opened, moment) as view:
            view.node_at(path)
        details = {"to": str(folder), "overwrite": overwrite}

        def work(report: Callable[[Progress], None]) -> RestoreReport:
            with self._leased(opened, moment) as view:
                return restore_view(view, report)

        def restore_view(view: SnapshotView, report: Callable[[Progress], None]) -> RestoreReport:
            what = f"{share}@{view.sequence}/{show_path(path)}"
            try:
                done = restore_with_progress(view, path, folder, overwrite, report)
            except StagekeeperError as error:
                self._audit.record(actor, "restore", what, "failed", {**details, "why": error.message})
                raise
            outcome = "differences" if done.not_applied else "done"
            self._audit.record(actor, "restore", what, outcome, {**details, "files": done.files})
            return done

        return steps_of(work)

    def stats(self, actor: Actor) -> Stats:
        """Return what the store holds and what it takes."""
        self._rights.check(actor, Action.VIEW_STATS)
        return self._complete(measure(self._vault, self._ballast))

    @contextmanager
    def static_source(self, share: str, moment: str) -> Iterator[tuple[TreeView, SnapshotRow]]:
        """Yield a snapshot for an export, folded; raise when the moment names none. It stays while the context is open."""
        opened = self._vault.share(share)
        opened.fold.fold_all()
        resolved = opened.instants.resolve(moment or "latest")
        if resolved.snapshot is None:
            raise NotFound(f"{share}@{moment} is not a snapshot", remedy="take one with `snapshot create`")
        with opened.fold.lease(resolved.sequence) as sequence:
            yield opened.reader.view(sequence), resolved.snapshot

    def _status_or_reason(self, actor: Actor, name: str) -> Share:
        """Return a share's state; one that cannot be opened is told as stopped and does not hide the others."""
        try:
            return self._status(self._folded(actor, name))
        except Damaged as error:
            return Share(name, "stopped", error.message, 0, 0, 0.0, 0, 0, None)

    def _status(self, share: OpenShare) -> Share:
        durable, folded = share.journal.durable.sequence, share.fold.sequence
        files, logical_bytes = share.fold.totals
        state, reason = share.fold.state
        if durable - folded > (CHANGES_A_TRANSACTION if folded else 0):  # more than what the next moment brings
            reason = f"{durable - folded:,} changes are read in first: what they made, and snapshots of it, is not shown yet"
        if share.name in self._worker.failures:
            state, reason = "stopped", self._worker.failures[share.name]
        reason = "; ".join(filter(None, (reason, *burst_alerts(share, self._vault.clock.now_ns()))))
        deletion = share.reader.ledger.deletion()
        if deletion is not None:
            state, reason = "deleted", deletion.reason
        newest = share.reader.ledger.newest_snapshot()
        taken_at = format_time(newest.taken_ns) if newest is not None else None
        shown_bytes = min(logical_bytes, MAX_SHOWN_BYTES)
        drops_at = format_time(deletion.drop_after_ns) if deletion is not None else None
        told = (share.name, state, reason, durable, folded, round(lag_seconds(share), 3), files, shown_bytes, taken_at, drops_at)
        return Share(*told, self._alerts(share))

    def _folded(self, actor: Actor, name: str, moment: str = "") -> OpenShare:
        """Return a share; the command line folds first, since nothing else may be running, pages show the folded state.

        A moment is folded up to when it is looked for, so that one which is folded can be read whatever has happened since.
        """
        opened = self._vault.share(name)
        if actor.role == "owner" and not moment:
            opened.fold.fold_all()
        return opened

    @contextmanager
    def _leased(self, opened: OpenShare, moment: str) -> Iterator[SnapshotView]:
        """Yield a view that stays as it is while changes go on, also of the live state."""
        if not moment:
            opened.fold.fold_all()
        with opened.instants.leased(opened.instants.resolve(moment)) as view:
            yield view

    def _checked_target(self, target: str) -> Path:
        if not target or not os.path.isabs(target) or "\0" in target:
            raise TargetRefused(f"not an absolute directory: {target[:200]!r}", remedy="name the target from / on")
        path = Path(os.path.realpath(target))
        root = Path(os.path.realpath(self._vault.root.path))
        if path == root or root in path.parents:
            raise TargetRefused(f"{path} lies inside the appliance's own folder", remedy="name a directory outside it")
        return path


def _pieces(view: TreeView, node: Node, first: int, end: int) -> Iterator[bytes]:
    position = first
    while position < end:
        piece = view.read(node.content, position, min(_PIECE_BYTES, end - position))
        yield piece
        position += len(piece)
