"""Which paths and contents the changes of a frame name."""

from collections.abc import Iterable, Iterator

from core.digest import Digest
from staging.changes import (
    Barrier,
    Change,
    Chunk,
    Content,
    ContentRef,
    Create,
    Group,
    Link,
    Mirror,
    Recipe,
    Rename,
    SimpleChange,
)
from staging.frame_format import Frame, FrameDamaged


def simple_changes(changes: Iterable[Change]) -> Iterator[SimpleChange]:
    """Yield the changes that touch paths, those inside groups too."""
    for change in changes:
        if isinstance(change, Group):
            yield from change.changes
        elif not isinstance(change, Barrier | Mirror):
            yield change


def contents_named(frame: Frame) -> tuple[set[Digest], set[Digest]]:
    """Return (chunk digests, recipe root digests) that the frame's changes refer to."""
    chunks: set[Digest] = set()
    recipes: set[Digest] = set()
    for change in simple_changes(frame.changes):
        if isinstance(change, Create | Content):
            _add(change.content, chunks, recipes)
    return chunks, recipes


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


def _add(content: ContentRef, chunks: set[Digest], recipes: set[Digest]) -> None:
    if isinstance(content, Chunk):
        chunks.add(Digest(content.digest))
    elif isinstance(content, Recipe):
        recipes.add(Digest(content.digest))
