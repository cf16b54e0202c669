"""How much the fold takes in one transaction, and when it ends one early because somebody waits for the share.

A transaction is large so that writes into the same chunks are laid together and syncs are few. Who waits for the share gets
it at the next change. If applying what was collected until there would take long, the transaction is given up instead (the
journal still holds all of it) and the next one takes less; one that takes the least is never given up, so that the fold gets on
however many come.
"""

from collections.abc import Callable

CHANGES_A_TRANSACTION = 20_000  # as many as between two anchors, where writes are applied anyway
LEAST_CHANGES = 100  # writes into as many chunks take some thirty milliseconds
QUICK_BLOCKS = 64  # applying writes to so many blocks of contents takes some ten milliseconds
_BYTES_A_TRANSACTION = 64 * 1024 * 1024  # of frames: bounds how long a transaction of large writes takes
_SMALLER = 8  # at once, so that the next who waits does not end a transaction in vain again
_GROWS_BY = 8  # a part of it: with people coming every second, one transaction in some twenty is given up


class GaveWay(Exception):
    """The transaction is given up: somebody waits, and ending it would take long."""


class FoldPace:
    """What one share's next transaction may take; shrinks when one was given up, and grows with those that were not."""

    def __init__(self) -> None:
        """Begin with the most."""
        self._limit = CHANGES_A_TRANSACTION

    def slice(self, most: int, is_wanted: Callable[[], bool]) -> "FoldSlice":
        """Return the bounds of a transaction of at most about `most` changes."""
        return FoldSlice(min(most, self._limit), is_wanted)

    def gave_way(self, changes: int) -> None:
        """Take less: a transaction was given up after so many changes."""
        self._limit = max(min(changes, self._limit) // _SMALLER, LEAST_CHANGES)

    def went_on(self) -> None:
        """Take more again: a transaction was ended."""
        self._limit = min(self._limit + self._limit // _GROWS_BY, CHANGES_A_TRANSACTION)


class FoldSlice:
    """The bounds of one transaction, counting what it has taken."""

    def __init__(self, limit: int, is_wanted: Callable[[], bool]) -> None:
        """Begin with nothing taken; `is_wanted` tells whether somebody waits."""
        self._limit, self._is_wanted = limit, is_wanted
        self.changes = self._bytes = 0

    def add_record(self, unpacked_bytes: int) -> None:
        """Count a journal record that was taken."""
        self._bytes += unpacked_bytes

    def ends_behind_change(self) -> bool:
        """Count a change that was applied and tell whether the transaction ends behind it, even inside a frame."""
        self.changes += 1
        return self.changes >= 2 * self._limit or (self.changes >= LEAST_CHANGES and self._is_wanted())

    def ends_behind_record(self) -> bool:
        """Tell whether the transaction ends behind the record that was taken."""
        return self.changes >= self._limit or self._bytes >= _BYTES_A_TRANSACTION or self._is_wanted()

    def give_way(self, blocks: int) -> None:
        """Raise `GaveWay` when somebody waits and writes to so many blocks of contents are still to be applied."""
        if blocks > QUICK_BLOCKS and self._limit > LEAST_CHANGES and self._is_wanted():
            raise GaveWay
