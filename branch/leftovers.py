"""What is removed of shares that are not protected any more: their memory, and the outbox when nothing of it waits.

An outbox with changes that the appliance has not acknowledged is kept: it may have them all the same, its answer lost, and
only the outbox can tell then that both histories are one. Protected again, the share goes on from there.
"""

from collections.abc import Sequence
from pathlib import Path

from branch.outbox_format import OutboxDamaged
from branch.outbox_scan import scan_outbox
from branch.settings import StateDirectory
from branch.state_db import ShareRecord, StateDb
from core.durable import FileLayer, remove_file

_MEMORIES = ("known*", "dirty*")  # each with its -wal and -shm


def remove_leftovers(state: StateDirectory, database: StateDb, files: FileLayer) -> None:
    """Remove what is left of shares that are not protected; the caller holds the lock of the state directory."""
    if not state.shares.is_dir():
        return
    protected = {record.share_id.hex() for record in database.shares()}
    ended = {record.share_id.hex(): record for record in database.ended_shares()}
    for folder in state.shares.iterdir():
        if folder.name in protected:
            continue
        record = ended.get(folder.name)
        if record is not None and not _memories(folder):
            continue  # seen before: what waits in its outbox stays
        if record is None or not _is_waiting(folder / "outbox", record):
            _remove_tree(folder / "outbox", files)
        remove_memories(folder, (), files)
        if not any(folder.iterdir()):
            folder.rmdir()


def remove_memories(folder: Path, wanted: Sequence[str], files: FileLayer) -> None:
    """Remove the memories of a share's folder but those of the names `wanted`."""
    for path in _memories(folder):
        if path.name.removesuffix("-wal").removesuffix("-shm") not in wanted:
            remove_file(path, files)


def _memories(folder: Path) -> list[Path]:
    return sorted(path for pattern in _MEMORIES for path in folder.glob(pattern))


def _is_waiting(outbox: Path, record: ShareRecord) -> bool:
    """Tell whether an outbox goes beyond what the appliance has acknowledged."""
    try:
        found = scan_outbox(outbox, record.share_id)
    except OutboxDamaged:
        return False  # it is given up when the share is protected again, too
    return found is not None and found.end.sequence > record.acknowledged.sequence


def _remove_tree(folder: Path, files: FileLayer) -> None:
    if folder.is_dir():
        for path in sorted(folder.iterdir(), reverse=True):  # the newest first: what is left always fits together
            remove_file(path, files)
        folder.rmdir()
