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
    SetAttributes,
    SimpleChange,
    Write,
)
from staging.chunk_format import ChunkKind
from staging.frame_format import Frame, FrameDamaged


def simple_changes(changes: Iterable[Change]) -> Iterator[SimpleChange]:
    """Yield the changes that touch paths, those inside groups too."""
    for change in changes:
        kind = type(change)
        if kind is Group:
            yield from change.changes  # type: ignore[union-attr]
        elif kind is not Barrier and kind is not Mirror:
            yield change  # type: ignore[misc]


def checked_references(frame: Frame) -> set[tuple[ChunkKind, Digest, int]]:
    """Return (kind, digest, size) of every content that the frame's changes name, in one pass over them.

    Raises `FrameDamaged` when a change names a path that the table does not have, or when a symlink target or an attribute
    name holds a NUL byte: no system call takes one.
    """
    known = len(frame.paths)
    named: set[tuple[ChunkKind, Digest, int]] = set()
    for change in simple_changes(frame.changes):
        if change.path >= known:
            raise _absent(change.path, known)
        if type(change) is Write:  # by far the most, and there is no more to them
            continue
        if isinstance(change, Create | Content | SetAttributes):
            _check_texts(change)
            if not isinstance(change, SetAttributes) and change.content is not None:
                content = change.content
                kind = ChunkKind.DATA if isinstance(content, Chunk) else ChunkKind.NODE
                named.add((kind, Digest(content.digest), content.size))
        elif isinstance(change, Rename | Link):
            further = change.target if isinstance(change, Rename) else change.existing
            if further >= known:
                raise _absent(further, known)
    return named


def adds_data(frame: Frame) -> bool:
    """Tell whether any change of a frame makes something new, or gives something content."""
    return any(
        type(change) in (Write, Create) or (type(change) is Content and change.content is not None)
        for change in simple_changes(frame.changes)
    )


def _absent(path: int, known: int) -> FrameDamaged:
    return FrameDamaged(f"change names path {path} of {known}", remedy="send it again")


def _check_texts(change: Create | Content | SetAttributes) -> None:
    names = [name for name, _ in change.attributes.xattrs] if change.attributes is not None else []
    if any(b"\0" in text for text in names) or (isinstance(change, Create) and b"\0" in change.target):
        raise FrameDamaged("a symlink target or an attribute name holds a NUL byte", remedy="upgrade the agent")
