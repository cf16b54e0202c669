"""Which chunks somebody was told to be there, or put, of late: they are not condemned.

Kept in memory only. After a restart nothing counts as touched: a frame that names a chunk condemned meanwhile is refused by
name, and the branch sends it again. Nothing is removed for that: removal needs a second mark.
"""

import threading
from collections.abc import Iterable

from core.clock import Clock
from core.digest import Digest
from snapshots.bit_filter import BitFilter

PIN_SECONDS = 48 * 3600
_BITS = 2**26  # 8 MiB, twice: 10 million chunks in 48 hours make every tenth garbage chunk wait for a later run
_SALT = bytes(8)  # filters come and go by themselves


class Touched:
    """The last two periods of 48 hours. Any thread may call."""

    def __init__(self, clock: Clock) -> None:
        """Begin with nothing touched."""
        self._clock = clock
        self._lock = threading.Lock()
        self._now, self._before = BitFilter(_BITS, _SALT), BitFilter(_BITS, _SALT)
        self._since = clock.monotonic()
        self._held = False

    def add(self, digests: Iterable[Digest]) -> None:
        """Note chunks that were told to be there: call it *before* looking whether they are condemned."""
        with self._lock:
            self._turn()
            self._now.add(digests)

    def among(self, digests: list[Digest]) -> set[Digest]:
        """Return those of the digests that were touched."""
        with self._lock:
            return self._now.among(digests) | self._before.among(digests)

    def hold(self, held: bool) -> None:
        """Forget nothing while held: a run counts on everything since its mark began."""
        with self._lock:
            self._turn()
            self._held = held

    def _turn(self) -> None:
        if not self._held and self._clock.monotonic() - self._since > PIN_SECONDS:
            self._before, self._now = self._now, BitFilter(_BITS, _SALT)
            self._since = self._clock.monotonic()
