"""Asking branches for contents that went bad here: the files of the live state that hold a damaged chunk.

The agent reads such a file and puts what the appliance misses of it; the put heals all files and snapshots that the chunk is
part of. What the file no longer holds cannot come back that way, so each is asked for again only after a while.
"""

import threading
from itertools import islice

from core.clock import Clock
from core.digest import Digest
from core.errors import Damaged
from core.relpath import RelPath
from snapshots import damage_db
from snapshots.chunk_store import ChunkStore
from snapshots.damage_hits import live_files
from snapshots.view_db import CatalogueReader

_SOON_SECONDS = 60.0  # until damage that was found meanwhile is looked for
_AGAIN_SECONDS = 86_400.0
_MOST_FILES = 100  # of one answer
_MOST_KNOWN = 10_000  # of a share; the others are found when these have been asked for


class _Hit:
    """The files of a share that some damaged chunks are part of and that were not asked for yet."""

    def __init__(self, digests: set[Digest], paths: list[RelPath], now: float) -> None:
        self.digests, self.waiting, self.looked_at = digests, paths, now


class Mending:
    """Knows what to ask of each share. Any thread may call."""

    def __init__(self, store: ChunkStore, clock: Clock) -> None:
        """Bind the store; nothing is looked for until a chunk is damaged."""
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._hits: dict[str, _Hit] = {}

    def files(self, share: CatalogueReader) -> list[RelPath]:
        """Return files to ask for now. Looking for them reads the catalogue through, one share at a time."""
        digests = damage_db.damaged(self._store.parts.index)
        if not digests or not self._lock.acquire(blocking=False):
            return []
        try:
            return self._next(share, digests)
        finally:
            self._lock.release()

    def _next(self, share: CatalogueReader, digests: set[Digest]) -> list[RelPath]:
        now = self._clock.monotonic()
        hit = self._hits.get(share.share)
        if hit is not None:
            hit.digests &= digests
            is_new = bool(digests - hit.digests) and now - hit.looked_at >= _SOON_SECONDS
        if hit is None or is_new or (not hit.waiting and now - hit.looked_at >= _AGAIN_SECONDS):
            try:
                paths = list(islice(live_files(share, self._store, digests), _MOST_KNOWN))
            except Damaged:  # a catalogue that cannot be read: health and scrub tell of it
                paths = []
            hit = self._hits[share.share] = _Hit(digests, paths, now)
        found, hit.waiting = hit.waiting[:_MOST_FILES], hit.waiting[_MOST_FILES:]
        return found
