"""The end of a capture, and what follows from how it ended.

After one that wrote everything down the memory of what it changed becomes that of the folder as it stands. Nothing is read: a
row says how the node looks, so that the next look passes it by, and still that its content is not known, so that the look sends
it whole if it was changed meanwhile. The files' bytes are on their disk before (`sync_file_system`). After a capture that ended
otherwise the marks of its dirty files become void rows of the memory.
"""

from pathlib import Path

from branch.attributes import mtime_of
from branch.filter.dirty_db import DirtyDb
from branch.folders import OpenFolders, is_absence
from branch.known import UNKNOWN_ATTRIBUTES, WRITTEN_ATTRIBUTES, KnownRow
from branch.known_db import KnownDb
from branch.node_reader import inode_of, kind_of
from branch.outbox import Outbox
from core.clock import Clock
from core.relpath import RelPath

_ROWS = 1000
_COARSE_NS = 20_000_000  # a later change could leave the same times behind


def settle_rows(known: KnownDb, folders: OpenFolders, clock: Clock) -> None:
    """Settle all rows that are void; the caller commits."""
    known.void_links()
    root = known.row(b"", b"")
    if root is not None and root.attributes == UNKNOWN_ATTRIBUTES:
        _settle(known, folders, clock, root)
    after = (b"", b"")
    while rows := known.void_rows(after, _ROWS):
        for row in rows:
            _settle(known, folders, clock, row)
        after = (rows[-1].folder, rows[-1].name)


def _settle(known: KnownDb, folders: OpenFolders, clock: Clock, row: KnownRow) -> None:
    try:
        found = folders.stat(RelPath(row.folder), row.name)
    except OSError as error:
        if is_absence(error):
            return
        raise
    if found is None or inode_of(found) != row.inode or kind_of(found) != row.kind:
        return
    if abs(clock.now_ns() - found.st_ctime_ns) > _COARSE_NS:
        known.put(
            row._replace(
                links=found.st_nlink, size=found.st_size, mtime_ns=mtime_of(found), ctime_ns=found.st_ctime_ns,
                attributes=WRITTEN_ATTRIBUTES,
            )
        )  # fmt: skip


def void_what_differs(path: Path, known: KnownDb, outbox: Outbox) -> None:
    """After a capture that did not end cleanly, void in the memory what may differ from what was sent."""
    if not path.exists():
        return
    dirty = DirtyDb(path)
    try:
        last = dirty.last()
        if not last.is_clean:
            known.void_files(dirty.inodes())
            known.void_links()
            known.commit(outbox.end)
            dirty.note(last.until_ns, is_clean=True)
    finally:
        dirty.close()
