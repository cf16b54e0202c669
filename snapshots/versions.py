"""All versions of a path: the states of every node that stood there, and what today's node was under earlier names.

Listed is what can be read: what a snapshot holds, what is live, and what the journal's window knows between them, one version
for each frame, since a frame is received at one time. They come newest first and in pages: what is held is a page, and what
came between two anchors.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from core.relpath import RelPath, show_path
from snapshots.catalogue_db import State
from snapshots.history import Life, NeverThere, paths_of
from snapshots.ledger_db import SnapshotRow
from snapshots.lives import PathLives, Stay
from snapshots.node_states import NodeStates, Span
from snapshots.schema_db import LIVE
from snapshots.view_db import CatalogueReader

_NAMES_FOLLOWED = 300  # the newest names of today's node; a file that is renamed all day long keeps its last months


@dataclass(frozen=True, slots=True)
class PathVersion:
    """One version of a path: what stood there behind the change `sequence`. `state` is None where the path was deleted.

    `snapshots` are the ids that show it; a version that none does and that is not live stands in the journal alone.
    """

    sequence: int
    state: State | None
    snapshots: tuple[int, ...]
    is_live: bool
    path: RelPath


class VersionLister:
    """Lists versions up to the sequence `until` of a share that is folded up to there. Made for one question.

    `states` is None where nothing is known between what the catalogue keeps.
    """

    def __init__(self, reader: CatalogueReader, states: NodeStates | None, until: int) -> None:
        """Bind the share's parts."""
        self._reader, self._states, self._until = reader, states, until
        self._floor = LIVE if states is None else states.floor
        self._shots = _Shots(reader.ledger.snapshots())

    def page(self, path: RelPath, below: int, limit: int) -> tuple[list[PathVersion], int | None]:
        """Return versions of `path` from before the change `below`, newest first, and below which change the next page begins.

        All of one change are on one page, so it may be somewhat longer than `limit`. Raises `NeverThere`.
        """
        below = min(below, self._until + 1)
        lives = PathLives(self._reader, path)
        newest = next(lives.before(self._until + 1), None)
        if newest is None:
            raise self._never(path)
        found: list[PathVersion] = []
        merged = heapq.merge(self._of_path(lives, path, below), self._earlier(newest.life, below), key=_newest_first)
        for sequence, same in groupby(merged, key=lambda version: version.sequence):
            if sequence >= below:
                continue
            if len(found) >= limit:
                return self._shown(found), found[-1].sequence
            found += _distinct(list(same))
        if not found and below > self._until:
            raise self._never(path)
        return self._shown(found), None

    def _never(self, path: RelPath) -> NeverThere:
        return NeverThere(f"{show_path(path)} was never in {self._reader.share}", remedy="check the path with `ls`")

    def _of_path(self, lives: PathLives, path: RelPath, below: int) -> Iterator[PathVersion]:
        """Yield what stood at the path; where something came and went unseen while it was gone, it was gone once."""
        gone: PathVersion | None = None
        for stay in lives.before(below):
            if stay.life.died < min(below, stay.followed):
                for found in self._deletion(stay, path):
                    gone = found if gone is None else _as_one(gone, found)
            for version in self._of_life(stay.life, path, below):
                if gone is not None:
                    yield gone
                gone = None
                yield version
        if gone is not None:
            yield gone

    def _deletion(self, stay: Stay, path: RelPath) -> Iterator[PathVersion]:
        died, followed = stay.life.died, stay.followed
        shots, is_live = self._shots.within(died, followed), followed == LIVE
        if shots or is_live or self._was_visible(died, followed):
            yield PathVersion(died, None, shots, is_live, path)

    def _was_visible(self, born: int, died: int) -> bool:
        """Tell whether the end of a frame lies in a time that the journal knows."""
        end = self._reader.frame_end(born) if born > self._floor else None
        return end is not None and min(end, self._until) < died

    def _earlier(self, today: Life, below: int) -> Iterator[PathVersion]:
        """Yield the versions that the newest node had under other paths before it came to this one."""
        if today.died <= self._until:
            return
        streams = []
        for parent, name, born, died in self._reader.all_names_of(today.node, _NAMES_FOLLOWED):
            for path, since, until in paths_of(self._names_of, parent, name, born, min(died, today.born)):
                if since < below:
                    streams.append(self._of_life(Life(today.node, since, until), path, below))
        yield from (version for version in heapq.merge(*streams, key=_newest_first) if not version.is_live)

    def _names_of(self, folder: int) -> list[tuple[int, bytes, int, int]]:
        return self._reader.all_names_of(folder, _NAMES_FOLLOWED)

    def _of_life(self, life: Life, path: RelPath, below: int) -> Iterator[PathVersion]:
        """Yield what a node was during a life at a path, newest first; the same version may come twice."""
        between = self._between(life, path, below)
        yield from heapq.merge(self._kept(life, path), between, key=_newest_first)

    def _kept(self, life: Life, path: RelPath) -> Iterator[PathVersion]:
        """Yield what snapshots and the live state show."""
        for state, died in reversed(self._reader.states_of(life.node)):
            born, until = max(state.born, life.born), min(died, life.died)
            shots = self._shots.within(born, until)
            if born < until and (shots or until == LIVE):
                yield PathVersion(max(state.changed, life.born), state, shots, until == LIVE, path)

    def _between(self, life: Life, path: RelPath, below: int) -> Iterator[PathVersion]:
        """Yield what the journal knows."""
        last = self._reader.frame_end(below - 1) if self._states is not None and life.died > self._floor else None
        if self._states is None or last is None:
            return
        for state in self._states.newest_first(life.node, Span(max(life.born, self._floor + 1), life.died, last, self._until)):
            if state.changed > self._floor or life.born > self._floor:
                yield PathVersion(max(state.changed, life.born), state, (), False, path)
        state_then = self._states.kept_at(life.node, self._floor) if life.born <= self._floor else None
        if state_then is not None and not self._is_kept(life, state_then):
            yield PathVersion(self._floor, state_then, (), False, path)  # it came before what can be read, and stood there still

    def _is_kept(self, life: Life, state: State) -> bool:
        return any(version.state == state for version in self._kept(life, RelPath(b"")))

    def _shown(self, versions: list[PathVersion]) -> list[PathVersion]:
        """Return versions with the contents that were written into; the oldest is made first, the others from it."""
        if self._states is None:
            return versions
        shown = []
        for version in reversed(versions):
            state = version.state if version.state is None else self._states.shown(version.state)
            shown.append(replace(version, state=state))
        return shown[::-1]


class _Shots:
    """The snapshots of a share, for asking which fall into a lifetime."""

    def __init__(self, rows: list[SnapshotRow]) -> None:
        self._rows = rows
        self._sequences = [row.sequence for row in rows]

    def within(self, born: int, died: int) -> tuple[int, ...]:
        first, last = bisect_left(self._sequences, born), bisect_left(self._sequences, died)
        return tuple(row.id for row in self._rows[first:last])


def _newest_first(version: PathVersion) -> int:
    return -version.sequence


def _as_one(later: PathVersion, earlier: PathVersion) -> PathVersion:
    """Return two deletions between which nothing was seen as the earlier one."""
    return replace(earlier, snapshots=earlier.snapshots + later.snapshots, is_live=earlier.is_live or later.is_live)


def _distinct(versions: list[PathVersion]) -> list[PathVersion]:
    """Return versions of one change, each once: what is kept tells more than what the journal knows. The live one comes first."""
    told: dict[tuple[int, RelPath], PathVersion] = {}
    for version in sorted(versions, key=lambda version: (not version.is_live, not version.snapshots)):
        told.setdefault((version.state.node if version.state else 0, version.path), version)
    return list(told.values())
