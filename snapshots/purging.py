"""Ordering a purge, and making its trace go: no seal, no journal segment and no instant may tell of what was purged.

A purge is ordered only when everything before its place is folded, so that it means the same to whoever folds the journal
again. Its record ends a segment, so that all up to it can be trimmed, whatever comes behind; then a full seal, which holds
nothing of it, takes the place of all seals before. A crash in between leaves the rest to `finish_purge`, which may be called at
any time.
"""

from collections.abc import Callable

from core.digest import Digest
from core.errors import TryLater
from core.relpath import RelPath
from snapshots.control_format import PathPurged, Sealed, decode_control
from snapshots.purge import Purged
from snapshots.sealing import Sealer
from snapshots.share_fold import ShareFold
from snapshots.view_db import CatalogueReader
from staging.journal import Journal
from staging.protocol import Position

_ATTEMPTS = 1000  # each waits for what came meanwhile to be folded


class ShareBusy(TryLater):
    """So many changes come that the fold does not catch up for a moment."""


def order_purge(fold: ShareFold, path: RelPath, now_ns: int, check: Callable[[], None] = lambda: None) -> Purged:
    """Journal that a path is purged, and purge it; durable on return. Raises `ShareBusy`.

    `check` is called in the share's turn: while it looks, nobody takes a snapshot, a hold or a lease. What it raises leaves
    the share as it was.
    """

    def make(number: int, position: Position) -> PathPurged:
        if position.sequence != fold.sequence:
            raise ShareBusy("changes come faster than they are folded", remedy="try again in a moment")
        check()
        return PathPurged(number, path, now_ns)

    for attempt in range(_ATTEMPTS):
        fold.fold_all()
        try:
            fold.order(make, ends_segment=True)
            return fold.purged
        except ShareBusy:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def finish_purge(journal: Journal, fold: ShareFold, reader: CatalogueReader, sealer: Sealer) -> bool:
    """Seal anew, and trim the journal, after a purge; return True when nothing is left to do.

    All segments before the purge go, the one with the last change too, once the seal that stands for them is named behind it.
    """
    purged = reader.ledger.purged()
    if purged <= journal.start.sequence:
        return True
    newest = reader.ledger.newest_seal()
    if newest is None:
        journal.begin_segment()  # unless the purge did
        if sealer.seal() is None:
            return False
    elif newest.sequence < purged or (newest.sequence == purged and not _names_behind(journal, purged, newest.digest)):
        return False
    fold.trim_journal(purged, last_too=True)
    return journal.start.sequence >= purged


def _names_behind(journal: Journal, purged: int, seal: Digest) -> bool:
    """Tell whether a seal is named behind a segment's end at a purge: so it is unless an earlier release purged."""
    cursor = journal.seek(purged)
    if cursor.sequence < purged:
        return False
    controls = (decode_control(record.payload) for record in journal.read(cursor) if record.header is None)
    return any(isinstance(control, Sealed) and control.digest == seal for control in controls)
