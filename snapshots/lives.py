"""Who stood at a path and when, brief names too: newest first, page by page, however often a name was taken and given."""

from collections.abc import Iterator
from dataclasses import dataclass

from core.relpath import ROOT, RelPath
from snapshots.history import Life
from snapshots.schema_db import LIVE, ROOT_NODE
from snapshots.view_db import CatalogueReader

_ROWS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Stay:
    """A life at a path, and when the next one began (`LIVE` when none did): between them nothing stood there."""

    life: Life
    followed: int


class PathLives:
    """The lives at one path. Folders above it are held in memory, what stood at its last name is read as it is asked for."""

    def __init__(self, reader: CatalogueReader, path: RelPath) -> None:
        """Find the folders that the path led through."""
        self._reader = reader
        *folders, self._name = path.split(b"/") if path != ROOT else [b""]
        self._parents = [Life(ROOT_NODE, 0, LIVE)]
        for name in folders:
            self._parents = [life for parent in self._parents for life in reversed(list(self._in_folder(parent, name, LIVE)))]
        self._is_root = path == ROOT

    def before(self, below: int) -> Iterator[Stay]:
        """Yield the lives that began below a sequence, newest first."""
        if self._is_root:
            yield Stay(Life(ROOT_NODE, 0, LIVE), LIVE)
            return
        followed = self._next_birth(below)
        for parent in reversed(self._parents):
            for life in self._in_folder(parent, self._name, below):
                yield Stay(life, followed)
                followed = life.born

    def _in_folder(self, parent: Life, name: bytes, below: int) -> Iterator[Life]:
        """Yield what stood at a name of a folder during the folder's life, newest first."""
        if parent.born >= below:
            return
        below = min(below, parent.died)
        while True:
            rows = self._reader.lives_before(parent.node, name, below, _ROWS_AT_ONCE)
            for node, born, died in rows:
                life = Life(node, max(born, parent.born), min(died, parent.died))
                if life.born < life.died:
                    yield life
                if born <= parent.born:
                    return
            if len(rows) < _ROWS_AT_ONCE:
                return
            below = rows[-1][1]

    def _next_birth(self, sequence: int) -> int:
        """Return when, from a sequence on, something came to the path next; `LIVE` when nothing did."""
        for parent in self._parents:
            if parent.died <= sequence:
                continue
            start = max(sequence, parent.born)
            if parent.born >= sequence and any(died > start for _, _, died in self._at(parent, start)):
                return start  # it came with its folder
            born = self._reader.next_birth(parent.node, self._name, start)
            if born is not None and born < parent.died:
                return born
        return LIVE

    def _at(self, parent: Life, sequence: int) -> list[tuple[int, int, int]]:
        return self._reader.lives_before(parent.node, self._name, sequence + 1, 1)
