"""Where the fold stands in a journal: the record that comes next, and the control records that were left ahead of it.

A record that was taken in part comes again. What stands before the place where reading began was read before.
"""

from collections.abc import Iterator
from dataclasses import replace

from snapshots.control_format import Control, decode_control
from staging.journal import Cursor, Journal
from staging.journal_scan import LoggedRecord


class JournalPlace:
    """A cursor that goes behind a record only when it is taken whole."""

    def __init__(self, journal: Journal, folded: int) -> None:
        """Begin at the segment that holds what follows the folded sequence."""
        self._journal, self._began_at = journal, folded
        self._cursor = journal.seek(max(folded - 1, journal.start.sequence))  # records at the sequence itself may end a segment
        self.mark()

    def records(self) -> Iterator[LoggedRecord]:
        """Yield the durable records from here on; `mark` behind each that is taken whole."""
        return self._journal.read(self._cursor)

    def mark(self) -> Cursor:
        """Come back to here, behind the record that was yielded last; return the place."""
        self._taken = replace(self._cursor)
        return self._taken

    def go_back(self, marked: Cursor | None = None) -> None:
        """Go back behind the record that was marked last, or to another marked place; `records` begins anew there."""
        self._taken = self._taken if marked is None else marked
        self._cursor = replace(self._taken)

    @property
    def place(self) -> tuple[int, int]:
        """Return the segment and offset behind the record that was marked last."""
        return self._taken.place

    @property
    def is_new_control(self) -> bool:
        """Tell whether a control record that is yielded stands behind what was folded when reading began."""
        return self._cursor.sequence >= self._began_at


def controls_ahead(journal: Journal, folded: int, applied: int) -> list[Control]:
    """Return the control records that a crash, or a rebuilt catalogue, left unapplied behind the folded sequence."""
    cursor = journal.seek(max(folded - 1, journal.start.sequence))
    ahead = [
        decode_control(record.payload) for record in journal.read(cursor) if record.header is None and cursor.sequence >= folded
    ]
    return [record for record in ahead if record.number > applied]
