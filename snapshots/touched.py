"""Which chunks somebody was told to be there, or put, of late: they are not condemned.

Kept in memory only. After a restart nothing counts as touched: a frame that names a chunk condemned meanwhile is refused by
name, and the branch sends it again. Nothing is removed for that: removal needs a second mark.
"""

import threading
from collections import deque
from collections.abc import Iterable

from core.clock import Clock
from core.digest import Digest
from snapshots.bit_filter import BitFilter

PIN_SECONDS = 48 * 3600
_PERIODS = 3  # the running one, and two whole ones before it: 48 hours at least, 72 at most
_PERIOD_SECONDS = PIN_SECONDS // (_PERIODS - 1)
_BITS = 2**26  # 8 MiB a period: 5 million chunks a day make one garbage chunk of forty wait for a later run
_SALT = bytes(8)  # filters come and go by themselves


class Touched:
    """The last 48 hours and somewhat more. Any thread may call."""

    def __init__(self, clock: Clock) -> None:
        """Begin with nothing touched."""
        self._clock = clock
        self._lock = threading.Lock()
        self._periods = deque((BitFilter(_BITS, _SALT) for _ in range(_PERIODS)), _PERIODS)
        self._since = clock.monotonic()
        self._held = False

    def add(self, digests: Iterable[Digest]) -> None:
        """Note chunks that were told to be there: call it *before* looking whether they are condemned."""
        with self._lock:
            self._turn()
            self._periods[-1].add(digests)

    def among(self, digests: list[Digest]) -> set[Digest]:
        """Return those of the digests that were touched."""
        with self._lock:
            return set().union(*(period.among(digests) for period in self._periods))

    def hold(self, held: bool) -> None:
        """Forget nothing while held: a run counts on everything since its mark began."""
        with self._lock:
            self._turn()
            self._held = held

    def _turn(self) -> None:
        if self._held:
            return
        passed = min(int((self._clock.monotonic() - self._since) // _PERIOD_SECONDS), _PERIODS)
        for _ in range(passed):
            self._periods.append(BitFilter(_BITS, _SALT))
        if passed:
            self._since = self._clock.monotonic()
