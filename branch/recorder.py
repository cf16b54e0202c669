"""Writing down what a look found: each method gives out one change and takes the matching step of the memory.

The memory therefore always is the tree as the appliance will have it behind the last change given out.
"""

from branch.batch import Batch
from branch.contents import Written
from branch.known import MIRROR_DONE, MIRROR_OPEN, DropRow, KnownRow, MoveRow, SetMirror
from branch.known_db import KnownDb
from branch.node_reader import Reading
from branch.scope import Scope
from branch.shipment import Shipment
from core.relpath import RelPath, join
from staging.changes import Content, Create, Kind, Link, Mirror, Rename, SetAttributes, Truncate, Unlink, Write


class Recorder:
    """Gives changes to a shipment. `again` collects what the next look must look at once more."""

    def __init__(self, out: Shipment) -> None:
        """Begin with nothing to look at again."""
        self._out = out
        self.known: KnownDb = out.known
        self.again = Scope()

    def mirror(self, begin: bool) -> None:
        """Begin or end a baseline."""
        self._out.add(Mirror(begin))
        self._out.take_step(SetMirror(MIRROR_OPEN if begin else MIRROR_DONE))

    def create(self, folder: RelPath, name: bytes, reading: Reading) -> None:
        """Record a new node."""
        self._add_create(join(folder, name), reading)
        self._remember(folder, name, reading)

    def link(self, folder: RelPath, name: bytes, existing: KnownRow) -> KnownRow:
        """Record a further name of a node; return its row."""
        out = self._out
        out.add(Link(out.index(join(folder, name)), out.index(path_of(existing))))
        row = existing._replace(folder=folder, name=name)
        out.put_row(row)
        return row

    def restate(self, row: KnownRow, reading: Reading) -> None:
        """Record how the node at a row's path differs from what was sent; nothing is sent when it does not."""
        folder, name, out = RelPath(row.folder), row.name, self._out
        path = join(folder, name) if name else folder
        new = reading.row(folder, name)
        if new.content != row.content and reading.written is not None:
            self._write(out.index(path), reading.written)
            if new.attributes != row.attributes:
                out.add(SetAttributes(out.index(path), reading.attributes), reading.attributes)
        elif new.content != row.content and reading.kind is Kind.FILE:
            out.add(Content(out.index(path), reading.content, reading.attributes), reading.attributes)
        elif new.content != row.content:  # a symlink or a device cannot change: another took its inode
            self.unlink(folder, name)
            self._add_create(path, reading)
        elif new.attributes != row.attributes:
            out.add(SetAttributes(out.index(path), reading.attributes), reading.attributes)
        self._remember(folder, name, reading)
        if row.inode != new.inode and row.kind == Kind.FILE:
            self.known.forget_file(row.inode)
        if reading.kind is not Kind.FOLDER and reading.found.st_nlink > 1:
            for other in self.known.by_inode(new.inode):
                if (other.folder, other.name) != (folder, name) and other.kind == row.kind:
                    out.put_row(reading.row(RelPath(other.folder), other.name))

    def rename(self, row: KnownRow, folder: RelPath, name: bytes) -> KnownRow:
        """Record that the node at a row's path is now at another, which is free; return its row there."""
        out = self._out
        out.add(Rename(out.index(path_of(row)), out.index(join(folder, name))))
        out.take_step(MoveRow(row.folder, row.name, folder, name))
        return row._replace(folder=folder, name=name)

    def unlink(self, folder: RelPath, name: bytes) -> None:
        """Record that a name is gone, with all below it."""
        self._out.add(Unlink(self._out.index(join(folder, name))))
        self._out.take_step(DropRow(folder, name))

    def pause(self) -> None:
        """Let the shipment seal what is enough for a frame."""
        self._out.pause()

    def last_change(self) -> tuple[Batch, int]:
        """Return where the newest change stands."""
        return self._out.last_change()

    def unlink_instead(self, place: tuple[Batch, int], path: RelPath, parked: bytes) -> bool:
        """Turn the parking of `path` into its removal; return False when that change is sealed already."""
        batch, index = place
        if not self._out.is_open(batch):
            return False
        batch.changes[index] = Unlink(batch.index(path))
        self._out.take_step(DropRow(b"", parked))
        return True

    def _write(self, index: int, written: Written) -> None:
        """Record what was written to a file. All of it stands in one frame: no moment falls in between."""
        if written.needs_truncate:
            self._out.add(Truncate(index, written.size))
        for offset, data in written.writes:
            self._out.add(Write(index, offset, data), more_bytes=len(data))

    def _add_create(self, path: RelPath, reading: Reading) -> None:
        index = self._out.index(path)
        change = Create(index, reading.kind, reading.attributes, reading.content, reading.target, reading.device)
        self._out.add(change, reading.attributes, len(reading.target))

    def _remember(self, folder: RelPath, name: bytes, reading: Reading) -> None:
        row = reading.row(folder, name)
        self._out.put_row(row)
        if reading.pieces:
            self.known.keep_pieces(row.inode, row.content, reading.pieces)
        if reading.signature is not None:
            self.known.signatures.keep(row.inode, row.content, reading.signature)
        if not reading.is_settled and reading.kind is not Kind.FOLDER:
            self.again.add(folder, name)


def path_of(row: KnownRow) -> RelPath:
    """Return the path of a row."""
    return join(RelPath(row.folder), row.name)
