"""What a batch is about to do to the files of a share: the questions that counting losses asks of the live catalogue."""

from collections.abc import Iterator

from core.database import Connection
from snapshots.catalogue_db import content_of
from snapshots.ledger_db import BURST
from snapshots.schema_db import LIVE
from staging.changes import ContentRef, Kind

_LIVE_CHILDREN = (
    "SELECT e.node, s.kind FROM entry e JOIN state s ON s.node = e.node AND s.died = ?2 WHERE e.parent = ?1 AND e.died = ?2"
)


class LossReader:
    """Asks the fold's own connection, inside its transaction."""

    def __init__(self, connection: Connection) -> None:
        """Bind the connection."""
        self._connection = connection

    def live_node(self, parent: int, name: bytes) -> tuple[int, Kind] | None:
        """Return what stands at a name: node and kind."""
        row = self._connection.execute(
            "SELECT e.node, s.kind FROM entry e JOIN state s ON s.node = e.node AND s.died = ?3"
            " WHERE e.parent = ?1 AND e.name = ?2 AND e.died = ?3",
            (parent, name, LIVE),
        ).fetchone()
        return (row[0], Kind(row[1])) if row else None

    def live_children(self, folder: int) -> Iterator[tuple[int, Kind]]:
        """Yield (node, kind) of what lies in a folder; to be stopped at any time."""
        cursor = self._connection.execute(_LIVE_CHILDREN, (folder, LIVE))
        try:
            yield from ((node, Kind(kind)) for node, kind in cursor)
        finally:
            cursor.close()

    def contents(self, node: int, fence: int) -> tuple[ContentRef, ContentRef]:
        """Return a node's live content and that as of a fence."""
        rows = self._connection.execute(
            "SELECT born, content_kind, content, size FROM state WHERE node=?1 AND (died=?2 OR born <= ?3)"
            " ORDER BY born DESC LIMIT 2",
            (node, LIVE, fence),
        ).fetchall()
        if not rows:
            return None, None
        before = rows[0] if rows[0][0] <= fence else rows[-1]
        return content_of(*rows[0][1:]), content_of(*before[1:])

    def unmirrored_files(self, limit: int) -> int:
        """Return how many names the running mirror has not stated, up to a limit."""
        (count,) = self._connection.execute(
            "SELECT count(*) FROM (SELECT 1 FROM entry e JOIN state s ON s.node = e.node AND s.died = ?1"
            " WHERE e.died = ?1 AND s.kind <> ?2 AND NOT EXISTS"
            " (SELECT 1 FROM mirrored m WHERE m.parent = e.parent AND m.name = e.name) LIMIT ?3)",
            (LIVE, int(Kind.FOLDER), limit),
        ).fetchone()
        return int(count)

    def has_burst_snapshot(self, sequence: int) -> bool:
        """Tell whether the snapshot before a burst was taken already."""
        row = self._connection.execute('SELECT 1 FROM snapshot WHERE sequence=? AND "trigger"=?', (sequence, BURST)).fetchone()
        return row is not None
