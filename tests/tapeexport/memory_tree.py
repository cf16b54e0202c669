"""A share in memory that answers as `TreeView` does: the source of the exports in these tests."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from core.digest import Digest, derived_digest, digest_of
from core.relpath import ROOT, RelPath, is_within, join, parse_path, split
from snapshots.tree import Extent, Node, NoSuchPath, TreeView
from staging.changes import Attributes, Chunk, ContentRef, Kind, Recipe

CHUNK_BYTES = 64 * 1024
NOON = 1_790_000_000 * 10**9 + 123_456_789


class MemoryTree:
    """Nodes by path and chunks by digest. Filled by the methods without a counterpart in `TreeView`."""

    def __init__(self, share: str = "paris/files", sequence: int = 7) -> None:
        self.share = share
        self.sequence = sequence
        self.chunks_read = 0
        self._ids = count(2)
        self._nodes: dict[RelPath, Node] = {ROOT: Node(1, Kind.FOLDER, 0, attributes(mode=0o755))}
        self._children: dict[RelPath, list[bytes]] = {ROOT: []}
        self._chunks: dict[Digest, bytes] = {}
        self._recipes: dict[Digest, list[Extent]] = {}

    # -- TreeView

    def node_at(self, path: RelPath) -> Node:
        if path not in self._nodes:
            raise NoSuchPath(f"nothing at {path!r}")
        return self._nodes[path]

    def list_folder(self, path: RelPath, after: bytes = b"", limit: int = 1000) -> list[tuple[bytes, Node]]:
        names = [name for name in sorted(self._children[path]) if name > after]
        return [(name, self._nodes[join(path, name)]) for name in names[:limit]]

    def walk(self, path: RelPath) -> Iterator[tuple[RelPath, Node]]:
        waiting = [path]
        while waiting:
            path = waiting.pop()
            yield path, self._nodes[path]
            waiting += [join(path, name) for name in sorted(self._children.get(path, ()), reverse=True)]

    def extents(self, content: ContentRef) -> Iterator[Extent]:
        if isinstance(content, Chunk):
            yield Extent(0, content.size, Digest(content.digest))
        elif isinstance(content, Recipe):
            yield from self._recipes[Digest(content.digest)]

    def chunk(self, digest: Digest) -> bytes:
        self.chunks_read += 1
        return self._chunks[digest]

    def chunks(self, digests: Sequence[Digest]) -> dict[Digest, bytes | memoryview]:
        return {digest: self.chunk(digest) for digest in set(digests) if digest in self._chunks}

    def read(self, content: ContentRef, offset: int, length: int) -> bytes:
        parts = []
        for extent in self.extents(content):
            begin, end = max(offset, extent.offset), min(offset + length, extent.offset + extent.length)
            if begin < end:
                data = self._chunks[extent.digest] if extent.digest else bytes(extent.length)
                parts.append(data[begin - extent.offset : end - extent.offset])
        return b"".join(parts)

    # -- filling

    def root(self, node_attributes: Attributes) -> None:
        self._nodes[ROOT] = replace(self._nodes[ROOT], attributes=node_attributes)

    def folder(self, path: bytes, node_attributes: Attributes | None = None) -> None:
        self._put(path, Kind.FOLDER, node_attributes or attributes(mode=0o755))
        self._children[RelPath(path)] = []

    def file(self, path: bytes, data: bytes = b"", node_attributes: Attributes | None = None) -> None:
        extents = []
        for offset in range(0, len(data), CHUNK_BYTES):
            piece = data[offset : offset + CHUNK_BYTES]
            extents.append(Extent(offset, len(piece), self.keep(piece)))
        self.extents_file(path, len(data), extents, node_attributes)

    def sparse_file(self, path: bytes, size: int, parts: dict[int, bytes], node_attributes: Attributes | None = None) -> None:
        """Make a file of holes with `parts` (offset → data) between them."""
        extents = []
        position = 0
        for offset, data in sorted(parts.items()):
            if offset > position:
                extents.append(Extent(position, offset - position, None))
            extents.append(Extent(offset, len(data), self.keep(data)))
            position = offset + len(data)
        if position < size:
            extents.append(Extent(position, size - position, None))
        self.extents_file(path, size, extents, node_attributes)

    def extents_file(self, path: bytes, size: int, extents: list[Extent], node_attributes: Attributes | None = None) -> None:
        content: ContentRef = None
        if len(extents) == 1 and extents[0].digest is not None:
            content = Chunk(extents[0].digest, size)
        elif extents:
            address = derived_digest(
                "test recipe", *(struct.pack("<QQ", e.offset, e.length) + (e.digest or b"") for e in extents)
            )
            self._recipes[address] = extents
            content = Recipe(address, size)
        self._put(path, Kind.FILE, node_attributes or attributes(), size_bytes=size, content=content)

    def keep(self, data: bytes) -> Digest:
        digest = digest_of(data)
        self._chunks[digest] = data
        return digest

    def special(self, path: bytes, kind: Kind, node_attributes: Attributes | None = None, **fields: object) -> None:
        self._put(path, kind, node_attributes or attributes(mode=0o777 if kind is Kind.SYMLINK else 0o644), **fields)  # type: ignore[arg-type]

    def link(self, path: bytes, existing: bytes) -> None:
        node = replace(self._nodes[RelPath(existing)], linked=True)
        self._nodes[RelPath(existing)] = node
        for other, there in self._nodes.items():
            if there.id == node.id:
                self._nodes[other] = node
        self._place(path, node)

    def paths_below(self, path: RelPath) -> list[RelPath]:
        return [other for other in self._nodes if is_within(other, path)]

    def _put(self, path: bytes, kind: Kind, node_attributes: Attributes, *, size_bytes: int = 0, **fields: object) -> None:
        self._place(path, Node(next(self._ids), kind, size_bytes, node_attributes, **fields))  # type: ignore[arg-type]

    def _place(self, path: bytes, node: Node) -> None:
        folder, name = split(parse_path(path))
        self._children[folder].append(name)
        self._nodes[RelPath(path)] = node


def attributes(mode: int = 0o640, uid: int = 1001, gid: int = 1002, mtime_ns: int = NOON, **more: object) -> Attributes:
    """Return attributes with plain values where none are given."""
    return Attributes(mode, uid, gid, mtime_ns, **more)  # type: ignore[arg-type]


_FAKE_IS_A_VIEW: TreeView = MemoryTree()
