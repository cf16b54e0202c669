"""Backups of the appliance's own files as the web side asks for them: rights, audit entries, progress.

Implements `web.operations.Backups`. A new recovery key is for the owner at the machine's own command line only: whoever
holds a stolen session could otherwise have all later backups encrypted to a key of their own.
"""

from collections.abc import Callable, Iterator
from typing import Any

from appliance.audit import APPLIANCE
from appliance.audited import audited_steps
from appliance.backup import BackedUp, Backups
from appliance.backup_format import Kept
from appliance.backup_log import BackupLog
from appliance.backup_store import backup_roots, check_named, find_backups
from appliance.handover import steps_of
from appliance.recovery_key import (
    RecoveryKeyMissing,
    RecoveryKeyUnreadable,
    load_public_key,
    new_recovery_key,
    show_recovery_key,
    write_public_key,
)
from appliance.rights import Action, Rights
from core.clock import format_time
from core.digest import format_digest
from core.errors import Damaged, StagekeeperError
from staging.receiver import Key
from web.backup_answers import Backup, NewRecoveryKey
from web.operations import Actor
from web.share_values import Progress

StepTaker = Callable[[Progress], None]


class BackupUnreadable(Damaged):
    """A backup that is kept cannot be read, so what it names is not known."""


class BackupDesk:
    """The one door to backups. Any thread may call."""

    def __init__(self, parts: BackedUp, rights: Rights) -> None:
        """Open the log of backups; when it had to be made again, that is an entry of the audit log."""
        self._parts, self._rights = parts, rights
        log = BackupLog(parts.root.backup, parts.root.store_id, lambda: find_backups(parts.store), parts.files)
        if log.made_again:
            parts.audit.record(APPLIANCE, "backup.log_made_again", log.made_again, "done", {"backups": len(log.kept())})
        self._backups = Backups(parts, log)

    def run(self, actor: Actor) -> Iterator[Any]:
        """Take a backup; yields `Progress`, then the `Backup`."""
        self._check(actor, Action.BACK_UP, "backup.begin", "")
        return self._steps(actor, lambda: False)

    def run_scheduled(self, actor: Actor, stopping: Callable[[], bool]) -> Backup:
        """Take a backup in this thread, for a schedule."""
        *_, taken = self._steps(actor, stopping)
        backup: Backup = taken
        return backup

    def list(self, actor: Actor) -> list[Backup]:
        """Return the backups that are kept, newest first."""
        self._rights.check(actor, Action.VIEW_BACKUPS)
        return [_shown(backup) for backup in reversed(self._backups.kept())]

    def new_recovery_key(self, actor: Actor) -> NewRecoveryKey:
        """Make a recovery key in place of the one before; the answer is the only time its private part is seen."""
        parts = self._parts
        self._check(actor, Action.CHANGE_RECOVERY_KEY, "recovery_key.new", "")
        key = new_recovery_key(parts.chance)
        details = {"before": self._present_key()}
        parts.audit.record(actor, "recovery_key.new", key.public.id.hex(), "done", details)  # before the change, never after
        write_public_key(parts.root.recovery_key_file, key.public, parts.files)
        return NewRecoveryKey(show_recovery_key(key), key.public.id.hex())

    def drop(self, actor: Actor, number: int) -> Backup:
        """Let a backup go that cannot be restored; raise `BackupNotFound`, or `BackupWhole` for one that can."""
        self._check(actor, Action.DROP_BACKUP, "backup.drop", str(number))
        backup, why = self._backups.broken(number)
        self._parts.audit.record(actor, "backup.drop", str(number), "done", {"why": why})  # before the change, never after
        self._backups.drop(number)
        return _shown(backup)

    def roots(self) -> Iterator[Key]:
        """Yield what collect must leave alone, with all that hangs on it; raise `BackupUnreadable` where a mark would stumble."""
        kept = self._backups.kept()
        for backup in kept:
            try:
                check_named(self._parts.store, backup)
            except Damaged as error:
                raise BackupUnreadable(
                    f"backup {backup.number} is kept and cannot be read: {error.message}; nothing was removed",
                    remedy=f"put its pack back from a copy, or let it go with `stagekeeper backup drop {backup.number}`",
                ) from error
        return backup_roots(kept)

    def age_seconds(self) -> float:
        """Return how old the newest backup is; endless when there is none."""
        return self._backups.age_seconds()

    def close(self) -> None:
        """Close the log; no backup may be under way."""
        self._backups.close()

    def _steps(self, actor: Actor, stopping: Callable[[], bool]) -> Iterator[Any]:
        def work(take: StepTaker) -> Backup:
            return _shown(self._backups.take(lambda done, total: take(Progress(done, total, 0, "backing up")), stopping))

        return audited_steps(self._parts.audit, actor, "backup", "", {}, steps_of(work))

    def _check(self, actor: Actor, action: Action, verb: str, what: str) -> None:
        try:
            self._rights.check(actor, action)
        except StagekeeperError as error:
            self._parts.audit.record(actor, verb, what, "refused", {"error": error.type})
            raise

    def _present_key(self) -> str:
        try:
            return load_public_key(self._parts.root.recovery_key_file).id.hex()
        except (RecoveryKeyMissing, RecoveryKeyUnreadable):
            return ""


def _shown(backup: Kept) -> Backup:
    return Backup(backup.number, format_time(backup.taken_ns), backup.size_bytes, backup.key_id.hex(), format_digest(backup.head))
