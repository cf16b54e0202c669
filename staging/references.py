"""Which paths and contents the changes of a frame name."""

from collections.abc import Iterable, Iterator

from core.digest import Digest
from staging.changes import (
    Barrier,
    Change,
    Chunk,
    Content,
    Create,
    Group,
    Link,
    Mirror,
    Rename,
    SimpleChange,
)
from staging.chunk_format import ChunkKind
from staging.frame_format import Frame, FrameDamaged


def simple_changes(changes: Iterable[Change]) -> Iterator[SimpleChange]:
    """Yield the changes that touch paths, those inside groups too."""
    for change in changes:
        if isinstance(change, Group):
            yield from change.changes
        elif not isinstance(change, Barrier | Mirror):
            yield change


def contents_named(frame: Frame) -> set[tuple[ChunkKind, Digest, int]]:
    """Return (kind, digest, size) of every content that the frame's changes refer to."""
    named: set[tuple[ChunkKind, Digest, int]] = set()
    for change in simple_changes(frame.changes):
        if isinstance(change, Create | Content) and change.content is not None:
            content = change.content
            kind = ChunkKind.DATA if isinstance(content, Chunk) else ChunkKind.NODE
            named.add((kind, Digest(content.digest), content.size))
    return named


def check_texts(frame: Frame) -> None:
    """Raise `FrameDamaged` for a symlink target or an attribute name with a NUL byte: no system call takes one."""
    for change in simple_changes(frame.changes):
        attributes = getattr(change, "attributes", None)
        names = [name for name, _ in attributes.xattrs] if attributes is not None else []
        if any(b"\0" in text for text in [*names, getattr(change, "target", b"") if isinstance(change, Create) else b""]):
            raise FrameDamaged("a symlink target or an attribute name holds a NUL byte", remedy="upgrade the agent")


def check_path_indexes(frame: Frame) -> None:
    """Raise `FrameDamaged` when a change names a path that the table does not have."""
    known = len(frame.paths)
    for change in simple_changes(frame.changes):
        highest = change.path
        if isinstance(change, Rename):
            highest = max(highest, change.target)
        elif isinstance(change, Link):
            highest = max(highest, change.existing)
        if highest >= known:
            raise FrameDamaged(f"change names path {highest} of {known}", remedy="send it again")
