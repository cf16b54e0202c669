"""The states of files that only some snapshots show: their SQL."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from snapshots.catalogue_db import content_of
from snapshots.ledger_db import Query
from snapshots.schema_db import LIVE
from staging.changes import ContentRef

_PAGE = 2000


@dataclass(frozen=True, slots=True)
class FileState:
    """A file's content over its lifetime."""

    node: int
    born: int
    died: int
    content: ContentRef


class ExclusiveReader:
    """Asks one share's catalogue."""

    def __init__(self, query: Query) -> None:
        """Bind the way to the catalogue."""
        self._query = query

    def sequences(self, ids: Sequence[int]) -> tuple[list[int], list[int]]:
        """Return the sequences of these snapshots, and those that other snapshots keep; sorted.

        Anchors and leases do not count: they go with the journal and the readers that need them.
        """
        rows = self._query("SELECT id, sequence FROM snapshot ORDER BY sequence", ())
        kept = {row[1] for row in rows if row[0] not in ids}
        return sorted({row[1] for row in rows if row[0] in ids} - kept), sorted(kept)

    def states_between(self, first: int, last: int, below: int, above: int) -> Iterator[FileState]:
        """Yield the contents born behind `below` and up to `last` that died behind `first` and up to `above`."""
        after = (-1, -1, -1)
        while True:
            rows = self._query(
                "SELECT died, node, born, content_kind, content, size FROM state INDEXED BY state_by_died"
                f" WHERE died > ?1 AND died <= ?2 AND died < {LIVE} AND born > ?3 AND born <= ?4 AND content_kind > 0"
                f" AND (died, node, born) > (?5, ?6, ?7) ORDER BY died, node, born LIMIT {_PAGE}",
                (first, above, below, last, *after),
            )
            for row in rows:
                yield _state(row)
            if len(rows) < _PAGE:
                return
            after = rows[-1][:3]

    def states_of(self, node: int) -> list[FileState]:
        """Return all kept contents of a node, oldest first."""
        rows = self._query(
            "SELECT died, node, born, content_kind, content, size FROM state WHERE node=? AND content_kind > 0 ORDER BY born",
            (node,),
        )
        return [_state(row) for row in rows]

    def all_states(self) -> Iterator[FileState]:
        """Yield every kept content of the share."""
        after = (-1, -1)
        while True:
            rows = self._query(
                "SELECT died, node, born, content_kind, content, size FROM state WHERE (node, born) > (?, ?) AND content_kind > 0"
                f" ORDER BY node, born LIMIT {_PAGE}",
                after,
            )
            for row in rows:
                yield _state(row)
            if len(rows) < _PAGE:
                return
            after = (rows[-1][1], rows[-1][2])


def _state(row: tuple[Any, ...]) -> FileState:
    return FileState(row[1], row[2], row[0], content_of(row[3], row[4], row[5]))
