"""What happened to a path, told by the journal: which bytes changed when, followed through renames.

The fold has noted for each frame which of its changes altered which node, so only frames that concern the path are read.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from core.relpath import RelPath
from snapshots.history import nodes_of
from snapshots.journal_frames import FrameReader
from snapshots.view_db import CatalogueReader
from staging.changes import (
    Barrier,
    Content,
    Create,
    Link,
    Mirror,
    Rename,
    SimpleChange,
    Truncate,
    Unlink,
    Write,
)
from staging.journal import Journal

_FRAMES_AT_ONCE = 200
_WORDS: dict[type, str] = {
    Create: "create",
    Write: "write",
    Truncate: "truncate",
    Content: "content",
    Rename: "rename",
    Link: "link",
}

Mark = tuple[int, int]
"""The place of an event: its frame (by the frame's last sequence) and the change in it."""


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a node. `path` is the name that it had or got by it, None where a repair took its name away."""

    mark: Mark
    sequence: int
    time_ns: int
    what: str
    path: RelPath | None
    offset: int | None = None
    length: int | None = None
    size_bytes: int | None = None


def events_of(reader: CatalogueReader, journal: Journal, path: RelPath, after: Mark) -> Iterator[Event]:
    """Yield what happened to the nodes that stood at `path`, behind a mark, newest last; raise `NeverThere`."""
    nodes = nodes_of(reader, path)
    frames = FrameReader(reader, journal)
    first = max(after[0], journal.start.sequence + 1)
    while True:
        rows = reader.touched(nodes, first, _FRAMES_AT_ONCE)
        whole = rows if len(rows) < _FRAMES_AT_ONCE else [row for row in rows if row[0] < rows[-1][0]] or rows
        for sequence, touches in groupby(whole, key=lambda row: row[0]):
            found = _read(frames, sequence, [touch[1:] for touch in touches])
            yield from (event for event in found if event.mark > after)
        if len(rows) < _FRAMES_AT_ONCE:
            return
        first = whole[-1][0] + 1


def _read(frames: FrameReader, sequence: int, touches: Sequence[tuple[bool, tuple[int, ...]]]) -> list[Event]:
    time_ns, changes = frames.changes(sequence)
    wanted = [
        (ordinal, is_gone)
        for is_gone, runs in touches
        for first, last in zip(runs[::2], runs[1::2], strict=True)
        for ordinal in range(first, last + 1)
        if ordinal < len(changes)
    ]
    return [_event((sequence, ordinal), *changes[ordinal], is_gone, time_ns) for ordinal, is_gone in sorted(wanted)]


def _event(
    mark: Mark, sequence: int, change: SimpleChange | Barrier | Mirror, paths: tuple[RelPath, ...], is_gone: bool, time_ns: int
) -> Event:
    if isinstance(change, Barrier | Mirror):
        return Event(mark, sequence, time_ns, "unlink", None)
    path = paths[change.target if isinstance(change, Rename) else change.path]
    if is_gone or isinstance(change, Unlink):
        return Event(mark, sequence, time_ns, "unlink", path)
    what = _WORDS.get(type(change), "attributes")
    if isinstance(change, Write):
        return Event(mark, sequence, time_ns, what, path, change.offset, len(change.data))
    if isinstance(change, Create | Content):
        return Event(mark, sequence, time_ns, what, path, size_bytes=change.content.size if change.content is not None else 0)
    return Event(mark, sequence, time_ns, what, path, size_bytes=change.size if isinstance(change, Truncate) else None)
