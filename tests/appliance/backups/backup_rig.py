"""An appliance's folder with its store, audit log and backups open, driven without anything that serves."""

import random
from contextlib import closing
from pathlib import Path

from appliance.accounts import Accounts
from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.backup import BackedUp, Backups
from appliance.backup_format import Kept
from appliance.backup_log import BackupLog
from appliance.backup_store import find_backups
from appliance.founding import found_appliance
from appliance.gates import owner_actor
from appliance.recovery_key import RecoveryKey
from appliance.root import open_root
from core.durable import OS_FILES, FileLayer
from snapshots.chunk_store import ChunkStore
from tests.appliance.settable_clock import SettableClock

PASSWORD = "correct horse battery"
OWNER = owner_actor(0)


def found(folder: Path, clock: SettableClock) -> RecoveryKey:
    """Make an appliance and return its recovery key."""
    return found_appliance(folder, ["backup.example"], PASSWORD, clock, random.Random(7).randbytes).recovery_key


class BackupRig:
    """One life of an appliance, as far as its backups are concerned."""

    def __init__(self, folder: Path, clock: SettableClock, files: FileLayer = OS_FILES, seed: int = 1) -> None:
        self.root, self.clock = open_root(folder), clock
        self.store = ChunkStore(self.root.packs, self.root.db / "index.db", self.root.store_id, files, clock)
        self.audit = AuditLog(self.root.audit, self.root.store_id, clock, files)
        chance = random.Random(seed).randbytes
        self.log = BackupLog(self.root.backup, self.root.store_id, lambda: find_backups(self.store), files)
        self.backups = Backups(BackedUp(self.root, self.store, self.audit, clock, chance, files), self.log)

    def take(self) -> Kept:
        return self.backups.take(lambda done, total: None)

    def add_user(self, name: str) -> None:
        self.audit.record(OWNER, "user.add", name)
        with closing(ApplianceDatabase(self.root.db / "appliance.db")) as database:
            Accounts(database, self.clock, random.Random(name).randbytes).add(name, "user", PASSWORD, [])

    def close(self) -> None:
        self.backups.close()
        self.audit.close()
        self.store.close()


def users(folder: Path) -> set[str]:
    """Return the accounts that a database holds."""
    with closing(ApplianceDatabase(folder / "db" / "appliance.db")) as database:
        return {row["name"] for row in database.rows("SELECT name FROM account")}
