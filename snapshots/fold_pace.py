"""How much the fold takes in one transaction, and when it ends one early because somebody waits for the share.

A transaction is large so that writes into the same chunks are laid together and syncs are few. Who waits for the share gets
it at the next change. If applying what was collected until there would take long, the transaction is given up instead (the
journal still holds all of it) and the next one takes less. After so many in a row one is not given up, and takes the least that
is worth it before it ends for anybody: so the fold gets on however many come.
"""

from collections.abc import Callable

CHANGES_A_TRANSACTION = 20_000  # as many as between two anchors, where writes are applied anyway
LEAST_CHANGES = 50  # writes into as many chunks take some hundred milliseconds while others work, thirty alone
QUICK_BLOCKS = 8  # applying writes to so many blocks of contents takes some ten milliseconds
MOST_GIVEN_UP = 24  # in a row; who comes again and again waits for one of so many
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
        self._given_up = 0  # since one was ended

    def slice(self, most: int, is_wanted: Callable[[], bool]) -> "FoldSlice":
        """Return the bounds of a transaction of at most about `most` changes."""
        return FoldSlice(min(most, self._limit), is_wanted, self._given_up < MOST_GIVEN_UP)

    def gave_way(self, changes: int) -> None:
        """Take less: a transaction was given up after so many changes."""
        self._limit = max(min(changes, self._limit) // _SMALLER, LEAST_CHANGES)
        self._given_up += 1

    def went_on(self) -> None:
        """Take more again: a transaction was ended."""
        self._limit = min(self._limit + self._limit // _GROWS_BY, CHANGES_A_TRANSACTION)
        self._given_up = 0


class FoldSlice:
    """The bounds of one transaction, counting what it has taken."""

    def __init__(self, limit: int, is_wanted: Callable[[], bool], may_give_way: bool) -> None:
        """Begin with nothing taken; `is_wanted` tells whether somebody waits, `may_give_way` whether that may undo it all."""
        self._limit, self._is_wanted, self._may_give_way = limit, is_wanted, may_give_way
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
        if self.changes >= self._limit or self._bytes >= _BYTES_A_TRANSACTION:
            return True
        return (self._may_give_way or self.changes >= LEAST_CHANGES) and self._is_wanted()

    def give_way(self, blocks: int) -> None:
        """Raise `GaveWay` when somebody waits and writes to so many blocks of contents are still to be applied."""
        if blocks > QUICK_BLOCKS and self._may_give_way and self._is_wanted():
            raise GaveWay
