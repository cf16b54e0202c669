"""A share as of one instant: the values and the verbs by which everything above reads it.

`TreeView` is what restore, pages, downloads and the tape writer are given. A view of a snapshot never changes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from core.digest import Digest
from core.errors import NotFound
from core.relpath import RelPath
from staging.changes import Attributes, ContentRef, Kind


class NoSuchPath(NotFound):
    """Nothing stands at that path at that moment."""


@dataclass(frozen=True, slots=True)
class Node:
    """One state of a file or folder. `linked` tells that the node may have further names in the share."""

    id: int
    kind: Kind
    size_bytes: int
    attributes: Attributes
    content: ContentRef = None
    target: bytes = b""
    device: int = 0
    linked: bool = False

    @property
    def digest(self) -> Digest | None:
        """Return the digest of the file's content: its chunk's or its recipe root's; None when it is empty or no file."""
        return Digest(self.content.digest) if self.content is not None else None


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of a content: `digest` names the chunk that fills it, None a hole (zeros that take no space)."""

    offset: int
    length: int
    digest: Digest | None


class TreeView(Protocol):
    """A share as of one sequence. Any thread may use a view; each call reads for itself."""

    @property
    def share(self) -> str:
        """Return `BRANCH/SHARE`."""

    @property
    def sequence(self) -> int:
        """Return the sequence that is shown."""

    def node_at(self, path: RelPath) -> Node:
        """Return what stands at `path` (the root's path is empty); raise `NoSuchPath`."""

    def list_folder(self, path: RelPath, after: bytes = b"", limit: int = 1000) -> list[tuple[bytes, Node]]:
        """Return up to `limit` (name, node) of a folder, sorted by name bytes, behind the name `after`."""

    def walk(self, path: RelPath) -> Iterator[tuple[RelPath, Node]]:
        """Yield `path` and everything below it, each folder before its content, names sorted by bytes within a folder."""

    def extents(self, content: ContentRef) -> Iterator[Extent]:
        """Yield the runs of a content in order, without gaps."""

    def chunk(self, digest: Digest) -> bytes | memoryview:
        """Return one chunk, checked against its digest; raise `Damaged` kinds when it is wrong or absent."""

    def chunks(self, digests: Sequence[Digest]) -> dict[Digest, bytes | memoryview]:
        """Return those of the chunks that are there and right, checked; what is missing `chunk` has the reason for."""

    def read(self, content: ContentRef, offset: int, length: int) -> bytes:
        """Return up to `length` checked bytes from `offset` (fewer at the end)."""
