"""Making the databases of the store again, from packs and journals alone: `stagekeeper rebuild`.

The old ones are moved aside first, never removed: whoever rebuilds may need to look at them. A note in the folder tells that a
rebuild has begun; one that was cut off goes on where it was, with the shares that are not done yet. The appliance must not run,
nor may it be opened while the old databases are only partly moved: one without its WAL is an older state, or none at all.
"""

import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from msgspec import Struct

from appliance.backup_restore import Restored, restore_backup
from appliance.recovery_key import RecoveryKey
from appliance.root import SET_ASIDE, Root, check_owner, make_parts_again, open_root
from appliance.root_lock import RootLock
from appliance.vault import Vault
from core.clock import Clock, SystemClock
from core.database import DatabaseError
from core.durable import OS_FILES, FileLayer, make_directories, move_file, remove_file, replace_file
from core.errors import StagekeeperError, TryLater
from web.share_values import Progress

_NOTE = "rebuilding"
_MOVING = "moving to "  # stands before the folder's name in the note until all that is old lies there


class RebuildUnfinished(TryLater):
    """A rebuild was cut off while it moved the old databases aside."""


class RebuiltShare(Struct, frozen=True):
    """One share after a rebuild; `error` tells why it could not be made again."""

    share: str
    folded_sequence: int
    files: int
    snapshots: int
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Recovery:
    """That the appliance's own files are to be put back too: by which key, from which backup, and sound ones as well."""

    key: RecoveryKey
    number: int | None = None
    overwrite: bool = False


class RebuildReport(Struct, frozen=True):
    """What a rebuild made, where the old databases lie, and which of the appliance's own files came from a backup."""

    shares: list[RebuiltShare]
    chunks: int
    packs: int
    aside: str
    own_files: Restored | None
    accounts: bool  # whether the appliance's own database is there


def rebuild(
    path: Path,
    report: Callable[[Progress], None],
    recovery: Recovery | None = None,
    clock: Clock | None = None,
    files: FileLayer = OS_FILES,
) -> RebuildReport:
    """Make index and catalogues again, the appliance's own files first; raise `RootLocked` while the appliance runs."""
    clock = clock or SystemClock()
    make_parts_again(Path(os.path.abspath(path)), files)
    root = open_root(path)
    check_owner(root, os.geteuid())
    lock = RootLock(root.lock_file)
    try:
        aside = _begin(root, files)
        report(Progress(0, None, 0, "reading the packs"))
        vault = Vault(root, clock, secrets.token_bytes, files)
        own_files = None
        try:
            if recovery is not None:
                report(Progress(0, None, 0, "reading the backup"))
                own_files = restore_backup(root, vault.store, recovery.key, clock, recovery.number, recovery.overwrite, files)
            shares = [_rebuild_share(vault, name, report) for name in vault.names()]
            chunks, packs = vault.store.counts()
        finally:
            vault.close()
        remove_file(root.db / _NOTE, files)
        return RebuildReport(shares, chunks, packs, str(aside), own_files, (root.db / "appliance.db").exists())
    finally:
        lock.release()


def check_not_moving(root: Root) -> None:
    """Raise `RebuildUnfinished` while the databases are only partly what they were."""
    note = root.db / _NOTE
    if note.exists() and note.read_text().startswith(_MOVING):
        raise RebuildUnfinished("a rebuild was cut off at its beginning", remedy="run `stagekeeper rebuild` again: it goes on")


def _begin(root: Root, files: FileLayer) -> Path:
    """Move the old databases aside, once, and return where they lie."""
    note = root.db / _NOTE
    if not note.exists():
        number = 1
        while (root.db / f"{SET_ASIDE}-{number}").exists():
            number += 1
        replace_file(note, f"{_MOVING}{SET_ASIDE}-{number}".encode(), files)
    begun = note.read_text()
    aside = root.db / begun.removeprefix(_MOVING)
    if not begun.startswith(_MOVING):
        return aside
    make_directories(aside, files)
    for old in _databases(root):
        target = aside / old.relative_to(root.db)
        make_directories(target.parent, files)
        move_file(old, target, files)
    replace_file(note, aside.name.encode(), files)
    return aside


def _databases(root: Root) -> Iterator[Path]:
    """Yield the files that can be made again; WAL files before what they belong to, so that no half stays behind."""
    yield from sorted(root.db.glob("index.db*"), reverse=True)
    yield from sorted((root.db / "shares").glob("*/*.db*"), reverse=True)


def _rebuild_share(vault: Vault, name: str, report: Callable[[Progress], None]) -> RebuiltShare:
    """Make a share again; whatever keeps one from it, the others are made. What is missing is made when it is opened next."""
    try:
        share = vault.share(name)
        while share.fold.sequence < share.journal.durable.sequence:
            share.fold.fold()
            report(Progress(share.fold.sequence, share.journal.durable.sequence, share.fold.totals[0], name))
        share.fold.fold_all()
        snapshots = len(share.reader.ledger.snapshots(deleted=True))
        return RebuiltShare(name, share.fold.sequence, share.fold.totals[0], snapshots)
    except (StagekeeperError, OSError, DatabaseError) as error:
        return RebuiltShare(name, 0, 0, 0, error.message if isinstance(error, StagekeeperError) else str(error))
