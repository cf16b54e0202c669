"""The log of backups: ROOT/backup/backups.skl, append-only, which names the heads that are kept.

What it names is what collect must leave alone. The log is no treasure: whenever it is missing or a byte of it does not
check, it is made again from the heads that stand in the store, and the next run drops what is too old.
"""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from appliance.backup_format import (
    ADDED,
    DROPPED,
    LOG_HEAD,
    BackupDamaged,
    Kept,
    check_log_head,
    decode_kept,
    decode_number,
    encode_kept,
    encode_log_head,
    encode_number,
)
from core.durable import OS_FILES, AppendFile, FileLayer, make_directories, move_file, replace_file
from core.framing import read_records, record_parts

FILE = "backups.skl"


def read_log(path: Path, store_id: bytes) -> tuple[list[Kept], int]:
    """Return the backups that are kept, oldest first, and the highest number so far; raise `BackupDamaged` naming the byte."""
    try:
        with path.open("rb") as file:
            records = list(read_records(file, 0))
            size = file.seek(0, 2)
    except OSError as error:
        raise BackupDamaged(f"{path} cannot be read: {error.strerror}") from error
    end = records[-1].end if records else 0
    if end < size or not records:
        raise BackupDamaged(f"{path} does not check from byte {end} on")
    if records[0].type != LOG_HEAD:
        raise BackupDamaged(f"{path} has no head")
    check_log_head(records[0].payload, store_id)
    kept: dict[int, Kept] = {}
    highest = 0
    for record in records[1:]:
        if record.type == ADDED:
            added = decode_kept(record.payload)
            kept[added.number] = added
            highest = max(highest, added.number)
        elif record.type == DROPPED:
            kept.pop(decode_number(record.payload), None)
        else:
            raise BackupDamaged(f"{path} holds a record of type {record.type} at byte {record.offset}")
    return [kept[number] for number in sorted(kept)], highest


class BackupLog:
    """The log of one store, open. Any thread may call."""

    def __init__(
        self, directory: Path, store_id: bytes, find_again: Callable[[], Iterable[Kept]], files: FileLayer = OS_FILES
    ) -> None:
        """Open the log, or make it again from what `find_again` returns; `made_again` then tells why."""
        self._path, self._lock = directory / FILE, threading.Lock()
        self.made_again = ""
        make_directories(directory, files)
        try:
            kept, self._highest = read_log(self._path, store_id)
        except BackupDamaged as error:
            kept = sorted(find_again(), key=lambda found: found.number)
            if self._path.exists() or kept:
                self.made_again = error.message
            self._highest = max((found.number for found in kept), default=0)
            self._make_again(store_id, kept, files)
        self._kept = {found.number: found for found in kept}
        self._file = AppendFile(self._path, files)

    @property
    def next_number(self) -> int:
        """Return the number of the next backup: higher than any before it."""
        with self._lock:
            return self._highest + 1

    def kept(self) -> list[Kept]:
        """Return the backups that are kept, oldest first."""
        with self._lock:
            return [self._kept[number] for number in sorted(self._kept)]

    def add(self, backup: Kept) -> None:
        """Keep a backup whose head and body are durable; durable on return."""
        with self._lock:
            self._append(ADDED, encode_kept(backup))
            self._kept[backup.number] = backup
            self._highest = max(self._highest, backup.number)

    def drop(self, number: int) -> None:
        """Let a backup go; durable on return."""
        with self._lock:
            self._append(DROPPED, encode_number(number))
            self._kept.pop(number, None)

    def close(self) -> None:
        """Close the file; may be called twice."""
        self._file.close()

    def _append(self, kind: int, payload: bytes) -> None:
        self._file.append(record_parts(kind, payload))
        self._file.sync()

    def _make_again(self, store_id: bytes, kept: list[Kept], files: FileLayer) -> None:
        if self._path.exists():  # what does not check stays for whoever wants to look at it
            move_file(self._path, self._path.with_name(FILE + ".damaged"), files)
        records = [(LOG_HEAD, encode_log_head(store_id)), *((ADDED, encode_kept(found)) for found in kept)]
        replace_file(self._path, b"".join(part for kind, payload in records for part in record_parts(kind, payload)), files)
