"""Which chunks the appliance is known to hold, so that they are not asked about again.

A belief, not a fact: the appliance refuses by name what it lost, and then everything is asked anew.
"""

from core.digest import Digest

REMEMBERED_CHUNKS = 200_000  # about 25 MB of memory; 12 GB of content


class HeldChunks:
    """The most recent chunks put or answered for. Used by one thread."""

    def __init__(self, limit: int = REMEMBERED_CHUNKS) -> None:
        """Begin with nothing known."""
        self._limit = limit
        self._known: dict[bytes, None] = {}

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._known

    def add(self, digest: Digest) -> None:
        """Note a chunk, forgetting the oldest when there are too many."""
        self._known[digest] = None
        if len(self._known) > self._limit:
            del self._known[next(iter(self._known))]

    def forget(self) -> None:
        """Believe nothing any more."""
        self._known.clear()
