"""Writes snapshots as one pax tar archive onto a volume, with its index, check sums and restore text at the end.

Promises that plain GNU tar restores what `not_exported` does not name. Memory holds one name for each node that has
several, else nothing that grows. Whoever calls looks after the volume and reads it back.
"""

from collections.abc import Iterator
from dataclasses import replace

import msgspec
from msgspec import Struct

from core.digest import Digest
from core.errors import Damaged
from core.relpath import ROOT, RelPath, show_path
from snapshots.read_ahead import ReadAhead
from snapshots.tree import Node, TreeView
from staging.changes import Attributes, Chunk, Kind
from tapeexport.cartridge_format import (
    INDEX_NAME,
    RESTORE_NAME,
    SUMS_NAME,
    IndexEnd,
    Label,
    encode_label,
    encode_line,
    head_of,
    own_member,
    restore_text,
    sums_line,
)
from tapeexport.deep_paths import Alias, DeepPaths, NamedFolder
from tapeexport.member_writer import MemberWriter, Progress, SourceUnreadable
from tapeexport.pax_format import END_OF_ARCHIVE, RECORD_BYTES, REPEATED, encode_member, why_not_exportable
from tapeexport.sparse_map import plan_sparse, stored_runs
from tapeexport.spool import LineSpool
from tapeexport.volume import Volume
from tapeexport.zeros import ZEROS

_NO_OWNER = 2**32 - 1  # to chown(2) it means "leave the owner as it is"


class NotExported(Struct, frozen=True):
    """Something of a snapshot that a tar archive cannot hold."""

    path: str
    what: str
    why: str


class ArchiveWriter:
    """One archive while it is written: any number of `add_tree`, then `finish`. After an error it is of no use."""

    def __init__(self, volume: Volume, label: Label, index: LineSpool, sums: LineSpool, progress: Progress | None = None) -> None:
        """Begin the archive with its label; `index` and `sums` are empty."""
        self.not_exported: list[NotExported] = []
        self._volume = volume
        self._label = label
        self._index = index
        self._sums = sums
        self._out = MemberWriter(volume, index, sums, progress)
        self._next_alias = 1
        label_bytes = encode_label(label)
        volume.append(label_bytes)
        index.add(encode_line(head_of(label, label_bytes)))

    @property
    def members(self) -> int:
        """Return how many names of the snapshots were written."""
        return self._out.members

    @property
    def content_bytes(self) -> int:
        """Return the size of all files written, holes included, each file once."""
        return self._out.content_bytes

    @property
    def size_bytes(self) -> int:
        """Return the size of the archive so far."""
        return self._volume.offset

    def add_tree(self, view: TreeView) -> None:
        """Write a whole share below the folder of its name."""
        with ReadAhead(view) as ahead:
            tree = _TreeWriter(view, ahead, self._out, self._next_alias)
            tree.write()
        self.not_exported += tree.not_exported
        self._next_alias = tree.deep.next_number

    def finish(self) -> None:
        """Write the cartridge's own files and the end of the archive, and finish the volume."""
        members, content_bytes = self.members, self.content_bytes
        text = restore_text(self._label)
        self._out.write_file(RESTORE_NAME, RESTORE_NAME, own_member(self._label, RESTORE_NAME, len(text)), text)
        self._out.content_bytes = content_bytes
        self._index.add(encode_line(IndexEnd(True, members, content_bytes)))
        index_sha256 = self._out.write_spool(self._label, INDEX_NAME, self._index)
        self._sums.add(sums_line(index_sha256, INDEX_NAME))
        self._out.write_spool(self._label, SUMS_NAME, self._sums)
        self._volume.append(END_OF_ARCHIVE)
        self._volume.append(bytes(-self._volume.offset % RECORD_BYTES))
        self._volume.finish()
        self._out.report()


class _TreeWriter:
    """Writes the nodes of one share as members."""

    def __init__(self, view: TreeView, ahead: ReadAhead, out: MemberWriter, next_alias: int) -> None:
        self.not_exported: list[NotExported] = []
        self._view = view
        self._ahead = ahead
        self._out = out
        self._top = view.share.encode()
        self._first_names: dict[int, bytes] = {}
        self.deep = DeepPaths(self._top, next_alias)

    def write(self) -> None:
        for path, node in self._ahead.walk(ROOT):
            for folder in self.deep.leave_for(path):
                self._repeat(folder)
            name = self.deep.name(path)
            if self._is_exportable(path, node):
                self._out.members += 1
                self._add(path, name, node)
            alias = self.deep.enter(path, name) if node.kind is Kind.FOLDER else None
            if alias is not None:
                self._add_alias(alias, node)
        for folder in self.deep.leave_for(None):
            self._repeat(folder)

    def _add(self, path: RelPath, name: bytes, node: Node) -> None:
        full_path = self._full(path)
        attributes = node.attributes
        if attributes.xattrs or attributes.uid == _NO_OWNER or attributes.gid == _NO_OWNER:
            self._note_losses(full_path, attributes)
            node = _storable(node)
        if node.kind is Kind.FOLDER:
            self._out.write_bare(full_path, name, "folder", encode_member(name + b"/", node))
            return
        if node.linked:
            first_name = self._first_names.setdefault(node.id, name)
            if first_name is not name:
                self._out.write_bare(full_path, name, "link", encode_member(name, node, link_to=first_name), first_name)
                return
        if node.kind is Kind.FILE:
            try:
                self._add_file(full_path, name, node)
            except Damaged as error:
                raise SourceUnreadable(
                    f"cannot export {show_path(full_path)} as of sequence {self._view.sequence}: {error.message}",
                    remedy=error.remedy or "scrub the store, or export another snapshot",
                ) from error
        else:
            self._out.write_bare(full_path, name, node.kind.name.lower(), encode_member(name, node), node.target)

    def _add_file(self, full_path: bytes, name: bytes, node: Node) -> None:
        if isinstance(node.content, Chunk):
            data = self._ahead.chunk(Digest(node.content.digest))
            if len(data) != node.size_bytes:
                raise SourceUnreadable(f"its content has {len(data)} bytes, the catalogue says {node.size_bytes}")
            self._out.write_file(full_path, name, encode_member(name, node), data)
            return
        sparse = plan_sparse(self._view.extents(node.content), node.size_bytes)
        header = encode_member(name, node, sparse=sparse)
        stored_bytes = sparse.data_bytes if sparse else node.size_bytes
        self._out.write_long_file(full_path, name, header, node.size_bytes, stored_bytes, self._runs(node))

    def _runs(self, node: Node) -> Iterator[tuple[int, bytes | memoryview]]:
        runs = stored_runs(self._view.extents(node.content), node.size_bytes)
        for run, data in self._ahead.filled(runs):
            if data is None:
                yield run.offset, ZEROS[: run.length]
            elif len(data) == run.length:
                yield run.offset, data
            else:
                raise SourceUnreadable(f"the chunk at offset {run.offset} has {len(data)} bytes instead of {run.length}")

    def _add_alias(self, alias: Alias, node: Node) -> None:
        attributes = msgspec.structs.replace(node.attributes, mode=0o777, xattrs=())
        link = Node(id=0, kind=Kind.SYMLINK, size_bytes=0, attributes=attributes, target=alias.target)
        self._out.write_bare(alias.name, alias.name, "alias", encode_member(alias.name, link), alias.target)

    def _repeat(self, folder: NamedFolder) -> None:
        header = encode_member(folder.name + b"/", _storable(self._view.node_at(folder.path)), note=REPEATED)
        self._out.write_bare(self._full(folder.path), folder.name, "repeat", header)

    def _full(self, path: RelPath) -> bytes:
        return self._top + b"/" + path if path else self._top

    def _is_exportable(self, path: RelPath, node: Node) -> bool:
        why = why_not_exportable(node)
        if why is not None:
            self._leave_out(self._full(path), node.kind.name.lower().replace("_", " "), why)
        return why is None

    def _note_losses(self, full_path: bytes, attributes: Attributes) -> None:
        if attributes.uid == _NO_OWNER or attributes.gid == _NO_OWNER:
            self._leave_out(full_path, "owner", f"{_NO_OWNER} is no owner that a system can set: root will own it")
        for name, _ in attributes.xattrs:
            if b"\0" in name:
                self._leave_out(full_path, f"attribute {show_path(name)}", "its name holds a NUL byte")

    def _leave_out(self, full_path: bytes, what: str, why: str) -> None:
        self.not_exported.append(NotExported(show_path(full_path), what, why))


def _storable(node: Node) -> Node:
    """Return the node without the attributes that an archive cannot hold."""
    if not any(b"\0" in name for name, _ in node.attributes.xattrs):
        return node
    kept = tuple(xattr for xattr in node.attributes.xattrs if b"\0" not in xattr[0])
    return replace(node, attributes=msgspec.structs.replace(node.attributes, xattrs=kept))
