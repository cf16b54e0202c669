"""Finding paths by a part of their last name, over all moments that are kept: the live state, snapshots and anchors.

A path is found once, whatever stood there and however often it was deleted and made again. First come paths where something
stands now, then those that only the past shows; among each, the name that was made last comes first. The catalogue decides:
what the index of names says is only where to look.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from core.relpath import RelPath
from snapshots.catalogue_db import State
from snapshots.find_db import EntryRow, entries_of
from snapshots.history import Life, lives_of, paths_of
from snapshots.name_block_format import NameKey
from snapshots.name_index import NameIndex
from snapshots.schema_db import LIVE
from snapshots.view_db import CatalogueReader

TOP = 2**63 - 1
"""Higher than every birth: where a question begins."""

WORK_A_PAGE = 50_000  # about half a second
KEY_WORK = 1  # a look at one row, in units of about 10 microseconds
PATH_WORK = 20  # finding out where a row stood, and what else stood there
_ROWS_A_LOOK = 300
_SNAPSHOTS_SHOWN = 5
_NAMES_SHOWN = 10
_FOLDERS_REMEMBERED = 20_000


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment that is kept: a snapshot (with its id), or an anchor."""

    sequence: int
    time_ns: int
    id: int | None


@dataclass(frozen=True, slots=True)
class OtherName:
    """Another path of the same node, and when it stood there; `until` is None when it still does."""

    path: RelPath
    since: int
    until: int | None


@dataclass(frozen=True, slots=True)
class FoundPath:
    """A path, what stood there last, and since when and until when the path is known.

    `sequence` is the change that gave the state, `first` the one that first put something there, `until` the one that took
    it away (None: it stands); `seen` is the newest kept moment that shows it (None: live); `snapshots` the newest ids that do.
    """

    path: RelPath
    state: State
    sequence: int
    first: int
    until: int | None
    seen: Moment | None
    snapshots: tuple[int, ...]
    names: tuple[OtherName, ...]


@dataclass(slots=True)
class Work:
    """What a page may still cost; one that is spent ends with what was found so far."""

    left: int = WORK_A_PAGE

    @property
    def is_spent(self) -> bool:
        """Tell whether it is time to answer."""
        return self.left <= 0


MaySee = Callable[[RelPath], bool]


class Finder:
    """One question about one share. Made anew for each page; what it read for the live paths serves the deleted ones."""

    def __init__(self, reader: CatalogueReader, index: NameIndex, wanted: bytes, folded: int, may_see: MaySee) -> None:
        """Bind the question: `wanted` is a search form, `folded` the sequence that is shown as live."""
        self._reader, self._index, self._wanted, self._may_see = reader, index, wanted, may_see
        moments = [Moment(row.sequence, row.taken_ns, row.id) for row in reader.ledger.snapshots()]
        moments += [Moment(sequence, taken_ns, None) for sequence, taken_ns in reader.ledger.anchors()]
        self._moments = sorted((one for one in moments if one.sequence <= folded), key=lambda one: one.sequence)
        self._sequences = [one.sequence for one in self._moments]
        self._folders: dict[int, list[tuple[int, bytes, int, int]]] = {}
        self._read: list[NameKey] | None = None

    def page(self, live: bool, below: int, limit: int, work: Work) -> tuple[list[FoundPath], int | None]:
        """Return paths whose names were made before `below`, and where to go on: below which birth, or None at the end.

        All paths of one birth are on one page, which may therefore hold a few more than `limit`.
        """
        found: list[FoundPath] = []
        done = below  # every page comes at least one birth further
        for run in self._runs(below):
            for keys in by_birth(run):
                work.left -= KEY_WORK * len(keys)
                for row in entries_of(self._reader, keys):
                    if row.born != done and done != below and (len(found) >= limit or work.is_spent):
                        return found, done
                    done = row.born
                    found += self._paths(row, live, work)
                done = keys[-1][0]
                if work.is_spent:
                    return found, done
        return found, None

    def _runs(self, below: int) -> Iterator[list[NameKey]]:
        """Yield keys in runs; a whole answer that is small is remembered, so that it is not looked for twice."""
        if self._read is not None:
            yield [key for key in self._read if key[0] < below]
            return
        seen: list[NameKey] = []
        for run in self._index.keys(self._wanted, below):
            if len(seen) < WORK_A_PAGE:
                seen += run
            yield run
        if below == TOP and len(seen) < WORK_A_PAGE:
            self._read = seen

    def _paths(self, row: EntryRow, live: bool, work: Work) -> list[FoundPath]:
        """Return what is to be told of a row: the path where it stands, or those where it is the last that stood."""
        if live and not row.is_live:
            return []
        found = []
        for path, since, until in sorted(paths_of(self._names_of, row.parent, row.name, row.born, row.died)):
            work.left -= PATH_WORK
            here = Life(row.node, since, until)
            if live == (until == LIVE) and self._is_kept(here) and self._may_see(path):
                lives = self._kept_lives(path)
                if lives and lives[-1] == here:
                    found += self._told(path, lives)
        return found

    def _told(self, path: RelPath, lives: list[Life]) -> list[FoundPath]:
        """Return a path with its history; nothing when the live state has moved on meanwhile."""
        today = lives[-1]
        shown = self._within(today)
        is_live = today.died == LIVE
        state = self._reader.state_at(today.node, LIVE - 1 if is_live else shown[-1].sequence)
        if state is None:
            return []
        return [
            FoundPath(
                path=path,
                state=state,
                sequence=max(state.changed, today.born),
                first=lives[0].born,
                until=None if is_live else today.died,
                seen=None if is_live else shown[-1],
                snapshots=self._shown_by(lives),
                names=self._other_names(today.node, path),
            )
        ]

    def _kept_lives(self, path: RelPath) -> list[Life]:
        return [life for life in lives_of(self._reader, path) if self._is_kept(life)]

    def _shown_by(self, lives: list[Life]) -> tuple[int, ...]:
        """Return the newest ids of snapshots within lives."""
        ids = [moment.id for life in reversed(lives) for moment in reversed(self._within(life)) if moment.id is not None]
        return tuple(ids[:_SNAPSHOTS_SHOWN])

    def _other_names(self, node: int, path: RelPath) -> tuple[OtherName, ...]:
        """Return the newest other paths of a node that are kept and may be seen, oldest first."""
        found = []
        for parent, name, born, died in self._reader.names_of(node)[-_NAMES_SHOWN:]:
            for other, since, until in paths_of(self._names_of, parent, name, born, died):
                if other != path and self._is_kept(Life(node, since, until)) and self._may_see(other):
                    found.append(OtherName(other, since, None if until == LIVE else until))
        return tuple(sorted(found, key=lambda one: (one.since, one.path))[-_NAMES_SHOWN:])

    def _names_of(self, folder: int) -> list[tuple[int, bytes, int, int]]:
        names = self._folders.get(folder)
        if names is None:
            if len(self._folders) >= _FOLDERS_REMEMBERED:
                self._folders.clear()
            names = self._folders[folder] = self._reader.names_of(folder)
        return names

    def _is_kept(self, life: Life) -> bool:
        return life.died == LIVE or bool(self._within(life))

    def _within(self, life: Life) -> list[Moment]:
        return self._moments[bisect_left(self._sequences, life.born) : bisect_left(self._sequences, life.died)]


def by_birth(run: list[NameKey]) -> Iterator[list[NameKey]]:
    """Yield a run in pieces to look up at once, those of one birth together."""
    start = 0
    while start < len(run):
        end = min(start + _ROWS_A_LOOK, len(run))
        while end < len(run) and run[end][0] == run[end - 1][0]:
            end += 1
        yield run[start:end]
        start = end
