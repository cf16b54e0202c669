"""Putting the appliance's own files back from a backup: those that are missing or damaged, each whole or not at all.

The backup is read to its end and checked before the first file is touched. What is sound stays, unless all of it is asked
for; what is replaced stays beside it under another name. A restore that was cut off is begun again: what it had put back
is sound by then.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from msgspec import Struct

from appliance.audit import APPLIANCE, AuditLog
from appliance.backup_archive import ArchiveReader, Member
from appliance.backup_format import BackupDamaged, BackupHead, Kept
from appliance.backup_log import FILE, read_log
from appliance.backup_store import BackupNotFound, find_backups, read_archive, read_head, unreadable
from appliance.certificates import CERTIFICATE_FILE, KEY_FILE, is_pair
from appliance.recovery_key import RecoveryKey, RecoveryKeyMissing, RecoveryKeyUnreadable, load_public_key
from appliance.root import Root
from appliance.settings import Environment, SettingsUnreadable, load_settings
from core.clock import Clock, format_time
from core.database import is_sound
from core.digest import Digest, Hasher
from core.durable import OS_FILES, AppendFile, FileLayer, make_directories, move_file, remove_file
from core.errors import Damaged
from snapshots.chunk_store import ChunkStore

_BLOCK_BYTES = 1024 * 1024
_ASIDE = "before-restore"


class Restored(Struct, frozen=True):
    """Which backup was used, which files were put back, and which were sound and left alone."""

    number: int
    taken_at: str
    restored: list[str]
    kept: list[str]


def restore_backup(
    root: Root,
    store: ChunkStore,
    key: RecoveryKey,
    clock: Clock,
    number: int | None = None,
    overwrite: bool = False,
    files: FileLayer = OS_FILES,
) -> Restored:
    """Put back what is missing or damaged from the newest backup, or the one asked for; nobody else may work on the folder.

    Raises `BackupNotFound`, `RecoveryKeyWrong`, or `BackupDamaged` naming an older one; then nothing was touched.
    """
    known = _known_backups(root, store)
    chosen = _choose(known, number)
    head = _checked(root, store, key, chosen, known)
    restored: list[str] = []
    kept: list[str] = []
    for member, blocks in ArchiveReader(read_archive(store, head, key)).files():
        if not overwrite and _stands(root, member):
            kept.append(member.name)
            _skip(blocks)
        else:
            _put_back(root.path / member.name, blocks, files)
            restored.append(member.name)
    report = Restored(chosen.number, format_time(chosen.taken_ns), restored, kept)
    with closing(AuditLog(root.audit, root.store_id, clock, files)) as audit:
        audit.record(APPLIANCE, "appliance.restored", str(root.path), "done", {
            "backup": report.number, "taken_at": report.taken_at, "restored": report.restored,
        })  # fmt: skip
    return report


def _known_backups(root: Root, store: ChunkStore) -> list[Kept]:
    """Return the backups that the log names and those that stand in the store, oldest first."""
    try:
        logged, _ = read_log(root.backup / FILE, root.store_id)
    except BackupDamaged:
        logged = []
    known = {found.number: found for found in [*find_backups(store), *logged]}
    return [known[number] for number in sorted(known)]


def _choose(known: list[Kept], number: int | None) -> Kept:
    if not known:
        raise BackupNotFound("no backup of the appliance's own files is in the store", remedy="see the runbook: accounts lost")
    if number is None:
        return known[-1]
    found = next((backup for backup in known if backup.number == number), None)
    if found is None:
        numbers = ", ".join(str(backup.number) for backup in known)
        raise BackupNotFound(f"there is no backup {number}", remedy=f"name one of {numbers}")
    return found


def _checked(root: Root, store: ChunkStore, key: RecoveryKey, chosen: Kept, known: list[Kept]) -> BackupHead:
    """Read a backup to its end, keeping nothing, and return its head."""
    try:
        head = read_head(store, Digest(chosen.head))
        reader = ArchiveReader(read_archive(store, head, key))
        for _, blocks in reader.files():
            _skip(blocks)
        if reader.contents.store_id != root.store_id:
            raise BackupDamaged("it is another appliance's")
        return head
    except Damaged as error:
        raise unreadable(chosen, error, known) from error


def _skip(blocks: Iterator[bytes]) -> None:
    for _ in blocks:
        pass


def _stands(root: Root, member: Member) -> bool:
    """Tell whether a file is there and sound; nothing about it need be as it was at the backup."""
    path = root.path / member.name
    return next(check(root, path, member) for pattern, check in _CHECKS if pattern.fullmatch(member.name))


def _certificate_stands(root: Root, path: Path, member: Member) -> bool:
    if path.name not in (CERTIFICATE_FILE, KEY_FILE):
        return path.exists()
    return is_pair(root.tls / CERTIFICATE_FILE, root.tls / KEY_FILE)


def _settings_stand(root: Root, path: Path, member: Member) -> bool:
    try:
        load_settings(path, Environment(None, None))
        return True
    except SettingsUnreadable:
        return False


def _recovery_key_stands(root: Root, path: Path, member: Member) -> bool:
    try:
        load_public_key(path)
        return True
    except (RecoveryKeyMissing, RecoveryKeyUnreadable):
        return False


def _segment_stands(root: Root, path: Path, member: Member) -> bool:
    """Tell whether a segment begins with all that the backup knows of it: it may have grown since."""
    if not path.exists() or path.stat().st_size < member.size:
        return False
    hasher = Hasher()
    left = member.size
    with path.open("rb") as file:
        while left:
            block = file.read(min(left, _BLOCK_BYTES))
            hasher.update(block)
            left -= len(block)
    return hasher.digest() == member.digest


_CHECKS: tuple[tuple[re.Pattern[str], Callable[[Root, Path, Member], bool]], ...] = (
    (re.compile(r"db/.*"), lambda root, path, member: is_sound(path)),
    (re.compile(r"tls/.*"), _certificate_stands),
    (re.compile(r"audit/.*"), _segment_stands),
    (re.compile(r"stagekeeper\.toml"), _settings_stand),
    (re.compile(r"recovery-key\.pub"), _recovery_key_stands),
)


def _put_back(path: Path, blocks: Iterator[bytes], files: FileLayer) -> None:
    """Write a file beside its place, move what stands there aside, and move the new one in; durable on return."""
    make_directories(path.parent, files)
    unfinished = path.with_name(path.name + ".restored")
    if unfinished.exists():
        remove_file(unfinished, files)
    file = AppendFile(unfinished, files)
    try:
        for block in blocks:
            file.append([block])
        file.sync()
    finally:
        file.close()
    for old in (f"{path}-wal", f"{path}-shm", f"{path}"):  # a database's log first: it would be taken for the new one's
        _move_aside(Path(old), files)
    move_file(unfinished, path, files)


def _move_aside(path: Path, files: FileLayer) -> None:
    if path.exists():
        number = 1
        while path.with_name(f"{path.name}.{_ASIDE}-{number}").exists():
            number += 1
        move_file(path, path.with_name(f"{path.name}.{_ASIDE}-{number}"), files)
