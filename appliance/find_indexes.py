"""The indexes of names of all shares, and the step that keeps them behind the fold: one block, a pause, the next.

A block is 20 milliseconds of work, most of it in C without the interpreter's lock, and nothing waits for it: what an index
does not hold yet is found in the catalogue. So it needs no process of its own.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance.share_worker import Step
from appliance.vault import OpenShare, Vault
from core.errors import NotFound
from snapshots.name_index import NameIndex

INDEX_EVERY_SECONDS = 10.0
_BETWEEN_BLOCKS_SECONDS = 0.05  # so it takes a third of one core at most


class FindIndexes:
    """Gives the index of a share. Any thread may ask."""

    def __init__(self, vault: Vault) -> None:
        """Bind the vault; an index is opened when it is first asked for."""
        self._vault = vault
        self._lock = threading.Lock()
        self._indexes: dict[str, tuple[OpenShare, NameIndex]] = {}

    def index(self, share: OpenShare) -> NameIndex:
        """Return the index of an open share."""
        with self._lock:
            known = self._indexes.get(share.name)
            if known is None or known[0] is not share:  # opened anew: the old one reads a closed catalogue
                branch, name = share.name.split("/")
                path = self._vault.root.db / "find" / branch / f"{name}.db"
                known = self._indexes[share.name] = (share, NameIndex(path, share.reader))
            return known[1]

    @contextmanager
    def emptied(self, share: OpenShare) -> Iterator[None]:
        """Remove a share's index, and let it be made anew only behind the context: something in it is to exist no more."""
        with self.index(share).emptied():
            yield

    def close(self) -> None:
        """Close all indexes; nobody may be asking."""
        with self._lock:
            for _, index in self._indexes.values():
                index.close()
            self._indexes.clear()


def _pause() -> None:
    threading.Event().wait(_BETWEEN_BLOCKS_SECONDS)


def index_step(vault: Vault, indexes: FindIndexes, pause: Callable[[], None] = _pause) -> Step:
    """Return the step that indexes one block of a share's names and then pauses."""
    done: dict[str, int] = {}

    def step(name: str) -> bool:
        try:
            share = vault.share(name)
        except NotFound:
            return False  # removed meanwhile
        folded = share.fold.sequence
        if done.get(name) == folded:
            return False
        if indexes.index(share).step(folded):
            pause()
            return True
        done[name] = folded
        return False

    return step
