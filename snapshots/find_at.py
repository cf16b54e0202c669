"""Finding paths by a part of their last name as of one moment: what stood then, also where no snapshot shows it.

What a replay made behind its fence comes first, as it is younger than all that the fence has; of the names in the catalogue
those count that the replay left as they were.
"""

from collections.abc import Iterator

from core.relpath import ROOT, RelPath, join
from snapshots.find import KEY_WORK, PATH_WORK, Finder, FoundPath, MaySee, Moment, Work, by_birth
from snapshots.find_db import EntryRow, entries_of
from snapshots.name_block_format import keys_among
from snapshots.name_index import NameIndex
from snapshots.schema_db import LIVE, ROOT_NODE
from snapshots.tree_at import TreeAt

_FOLDERS_REMEMBERED = 20_000


class MomentFinder(Finder):
    """One question about one share as of a moment, whose tree must stay readable. Made anew for each page."""

    def __init__(self, tree: TreeAt, time_ns: int, index: NameIndex, wanted: bytes, folded: int, may_see: MaySee) -> None:
        """Bind the question; `time_ns` is when the moment was, the rest is as for a `Finder`."""
        super().__init__(tree.reader, index, wanted, folded, may_see)
        self._tree, self._seen = tree, Moment(tree.sequence, time_ns, None)
        self._paths_of: dict[int, RelPath] = {ROOT_NODE: ROOT}

    def page(self, live: bool, below: int, limit: int, work: Work) -> tuple[list[FoundPath], int | None]:
        """Return paths that stood at the moment, as `Finder.page` does; among what had gone by then nothing is found."""
        found: list[FoundPath] = []
        done = below
        for lowest, rows in self._batches(below, work) if live else ():
            for row in rows:
                if row.born != done and done != below and (len(found) >= limit or work.is_spent):
                    return found, done
                done = row.born
                found += self._standing(row, work)
            done = lowest
            if work.is_spent:
                return found, done
        return found, None

    def _batches(self, below: int, work: Work) -> Iterator[tuple[int, list[EntryRow]]]:
        """Yield (lowest birth looked at, rows that stood at the moment), newest birth first."""
        fence = self._tree.fence
        young = {(name.born, name.parent, name.name): name.node for name in self._tree.names_since() if name.born < below}
        work.left -= KEY_WORK * len(young)
        keys = sorted(keys_among(list(young), self._wanted), key=lambda key: (-key[0], *key[1:]))
        if keys:
            yield keys[-1][0], [EntryRow(parent, name, born, LIVE, young[born, parent, name]) for born, parent, name in keys]
        for run in self._index.keys(self._wanted, min(below, fence + 1)):
            for some in by_birth(run):
                work.left -= KEY_WORK * len(some)
                rows = entries_of(self._reader, some)
                stands = self._tree.still_stands
                yield some[-1][0], [row for row in rows if stands(row.parent, row.name, row.born, row.died)]

    def _standing(self, row: EntryRow, work: Work) -> list[FoundPath]:
        work.left -= PATH_WORK
        path = self._path(row.parent, row.name)
        if not self._may_see(path):
            return []
        state = self._tree.bare_state(row.node)
        if state is None:
            return []
        lives = self._kept_lives(path)
        return [
            FoundPath(
                path=path,
                state=state,
                sequence=max(state.changed, row.born),
                first=min([row.born, *(life.born for life in lives[:1])]),
                until=None,
                seen=self._seen,
                snapshots=self._shown_by(lives),
                names=self._other_names(row.node, path),
            )
        ]

    def _path(self, parent: int, name: bytes) -> RelPath:
        way: list[tuple[int, bytes]] = []
        folder = parent
        while folder not in self._paths_of:
            above, folder_name = self._tree.names_of(folder)[0]
            way.append((folder, folder_name))
            folder = above
        path = self._paths_of[folder]
        if len(self._paths_of) + len(way) > _FOLDERS_REMEMBERED:
            self._paths_of = {ROOT_NODE: ROOT}
        for node, folder_name in reversed(way):
            path = self._paths_of[node] = join(path, folder_name)
        return join(path, name)
