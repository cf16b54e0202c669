"""What happened to a path, told by the journal: which bytes changed when, followed through renames.

The fold has noted for each frame which of its changes altered which node, so only frames that concern the path are read.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from core.relpath import RelPath, show_path
from snapshots.history import NeverThere
from snapshots.journal_frames import FrameReader, creating
from snapshots.lives import PathLives
from snapshots.schema_db import LIVE
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

_ROWS_AT_ONCE = 1000
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
class Touch:
    """What of a frame concerns a node: runs of its changes, by which it lost a name or not, or that it was made (at, as)."""

    runs: tuple[int, ...]
    is_gone: bool = False
    made: tuple[int, bytes] | None = None


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


def events_of(reader: CatalogueReader, journal: Journal, path: RelPath, after: Mark, floor: int) -> Iterator[Event]:
    """Yield what happened to the nodes that stood at `path`, behind a mark, newest last; raise `NeverThere`.

    `floor` is a sequence behind which the journal knows everything, leased by the caller.
    """
    nodes = _nodes_of(reader, path)
    frames = FrameReader(reader, journal)
    first = max(after[0], floor + 1)
    rows = heapq.merge(_altering(reader, nodes, first), _making(reader, nodes, floor, first), key=itemgetter(0))
    for sequence, of_frame in groupby(rows, key=itemgetter(0)):
        found = _read(frames, sequence, [touch for _, touch in of_frame])
        yield from (event for event in found if event.mark > after)


def _nodes_of(reader: CatalogueReader, path: RelPath) -> list[int]:
    """Return every node that is known to have stood at a path, however briefly."""
    nodes = sorted({stay.life.node for stay in PathLives(reader, path).before(LIVE)})
    if not nodes:
        raise NeverThere(f"{show_path(path)} was never in {reader.share}", remedy="check the path with `ls`")
    return nodes


def _altering(reader: CatalogueReader, nodes: Sequence[int], first: int) -> Iterator[tuple[int, Touch]]:
    """Yield (frame, which of its changes altered one of the nodes) from a frame on, by frame."""
    behind = (first, 0, False)
    while True:
        rows = reader.touched(nodes, behind, _ROWS_AT_ONCE)
        yield from ((sequence, Touch(runs, is_gone)) for sequence, _, is_gone, runs in rows)
        if len(rows) < _ROWS_AT_ONCE:
            return
        behind = rows[-1][:3]


def _making(reader: CatalogueReader, nodes: Sequence[int], floor: int, first: int) -> list[tuple[int, Touch]]:
    """Return (frame, under which name a node was made) from a frame on, by frame: the fold does not note what a mirror lays."""
    ends = ((reader.frame_end(born), Touch((), made=(born, name))) for name, born in reader.beginnings(nodes, floor))
    return sorted(((end, touch) for end, touch in ends if end is not None and end >= first), key=itemgetter(0))


def _read(frames: FrameReader, sequence: int, touches: Sequence[Touch]) -> list[Event]:
    time_ns, changes = frames.changes(sequence)
    wanted = {
        (ordinal, touch.is_gone)
        for touch in touches
        for first, last in zip(touch.runs[::2], touch.runs[1::2], strict=True)
        for ordinal in range(first, min(last + 1, len(changes)))
    }
    wanted |= {(ordinal, False) for touch in touches if touch.made is not None for ordinal in creating(changes, *touch.made)}
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
