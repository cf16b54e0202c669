"""Taking a backup of the appliance's own files: databases, certificate, settings, recovery key's public part, audit log.

The databases are copied first and the audit log's length is taken behind them, so that no change in the copies is without
its entry. Sessions and counters of failed attempts are left out: who signed in signs in again. One backup at a time.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.backup_archive import NAMES, VERSION, Contents, Source, list_members, write_archive
from appliance.backup_format import Kept
from appliance.backup_keeping import surplus
from appliance.backup_log import BackupLog
from appliance.backup_store import BackupIncomplete, BackupNotFound, check_named, check_whole, put_backup
from appliance.credentials import Chance
from appliance.recovery_key import load_public_key
from appliance.root import Root
from appliance.sessions_db import AttemptTable, SessionTable
from core.clock import Clock
from core.database import copy_database
from core.durable import OS_FILES, FileLayer, make_directories, remove_file
from core.errors import Damaged, Refused, TryLater
from snapshots.chunk_store import ChunkStore

DATABASES = ("appliance.db", "inventory.db")
_COPIES = "taking"
_ALWAYS = 2**63 - 1

Report = Callable[[int, int], None]
"""(bytes done, bytes in all)"""


class BackupBusy(TryLater):
    """A backup is being taken."""


class BackupWhole(Refused):
    """A backup that can be restored goes only when enough later ones are kept."""


class BackupInterrupted(TryLater):
    """The appliance is stopping."""


@dataclass(frozen=True, slots=True)
class BackedUp:
    """What a backup works on."""

    root: Root
    store: ChunkStore
    audit: AuditLog
    clock: Clock
    chance: Chance
    files: FileLayer = OS_FILES


class Backups:
    """Takes backups and lets old ones go. Any thread may call."""

    def __init__(self, parts: BackedUp, log: BackupLog) -> None:
        """Bind the parts; copies that a crash left are removed."""
        self._parts, self._log = parts, log
        self._busy = threading.Lock()
        self._remove_copies()

    def take(self, report: Report, stopping: Callable[[], bool] = lambda: False) -> Kept:
        """Take a backup; durable on return. Raise `RecoveryKeyMissing`, or `BackupBusy` while another is taken."""
        if not self._busy.acquire(blocking=False):
            raise BackupBusy("a backup is being taken", remedy="wait for it to end")
        try:
            return self._take(report, stopping)
        finally:
            self._busy.release()

    def kept(self) -> list[Kept]:
        """Return the backups that are kept, oldest first."""
        return self._log.kept()

    def broken(self, number: int) -> tuple[Kept, str]:
        """Return a kept backup that cannot be restored, and why; raise `BackupNotFound`, or `BackupWhole` when it can."""
        found = next((backup for backup in self._log.kept() if backup.number == number), None)
        if found is None:
            raise BackupNotFound(f"no backup {number} is kept", remedy="see `stagekeeper backup list`")
        try:
            check_named(self._parts.store, found)
            check_whole(self._parts.store, found)
        except (Damaged, BackupIncomplete) as error:
            return found, error.message
        raise BackupWhole(f"backup {number} is whole", remedy="nothing: it goes by itself when enough later ones are kept")

    def drop(self, number: int) -> None:
        """Let a backup go; durable on return."""
        self._log.drop(number)

    def age_seconds(self) -> float:
        """Return how old the newest backup is; endless when there is none."""
        kept = self._log.kept()
        return max(self._parts.clock.now_ns() - kept[-1].taken_ns, 0) / 1e9 if kept else float("inf")

    def close(self) -> None:
        """Close the log; no backup may be under way."""
        self._log.close()

    def _take(self, report: Report, stopping: Callable[[], bool]) -> Kept:
        parts = self._parts
        key = load_public_key(parts.root.recovery_key_file)
        with self._copied() as databases:
            sources = [*databases, *self._plain_files(), *self._audit_segments()]
            members = list_members(sources)
            total = sum(member.size for member in members)
            now = parts.clock.now_ns()
            contents = Contents(VERSION, parts.root.store_id, now, members)
            archive = _until_stopped(write_archive(contents, sources, lambda done: report(done, total)), stopping)
            number = self._log.next_number
            taken = put_backup(parts.store, parts.root.store_id, key, number, now, archive, parts.chance)
        with parts.store.gate():  # collect may not come between the look and the entry that makes a root of it
            check_whole(parts.store, taken)
            self._log.add(taken)
        for old in surplus(self._log.kept()):
            self._log.drop(old.number)
        return taken

    @contextmanager
    def _copied(self) -> Iterator[list[Source]]:
        """Copy the databases for the time of a block."""
        folder = self._parts.root.backup / _COPIES
        make_directories(folder, self._parts.files)
        try:
            found = []
            for name in DATABASES:
                original = self._parts.root.db / name
                if original.exists():
                    copy_database(original, folder / name)
                    if name == "appliance.db":
                        _forget_sessions(folder / name)
                    found.append(Source(f"db/{name}", folder / name, (folder / name).stat().st_size))
            yield found
        finally:
            self._remove_copies()

    def _remove_copies(self) -> None:
        folder = self._parts.root.backup / _COPIES
        for path in sorted(folder.glob("*")):
            remove_file(path, self._parts.files)

    def _plain_files(self) -> Iterator[Source]:
        root = self._parts.root
        pems = (path for path in sorted(root.tls.iterdir()) if path.suffix == ".pem")  # not what a restore left beside them
        for path in (root.settings_file, root.recovery_key_file, *pems):
            name = str(path.relative_to(root.path))
            if NAMES.fullmatch(name) and path.is_file():
                yield Source(name, path, path.stat().st_size)

    def _audit_segments(self) -> Iterator[Source]:
        for path, size in self._parts.audit.extents():
            yield Source(f"audit/{path.name}", path, size)


def _forget_sessions(path: Path) -> None:
    with closing(ApplianceDatabase(path)) as copy, copy.write():
        SessionTable(copy).remove_old(_ALWAYS, _ALWAYS)
        AttemptTable(copy).remove_older(_ALWAYS)


def _until_stopped(blocks: Iterator[bytes], stopping: Callable[[], bool]) -> Iterator[bytes]:
    for block in blocks:
        if stopping():
            raise BackupInterrupted("the appliance was stopped during the backup", remedy="run the backup again")
        yield block
