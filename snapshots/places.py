"""Where nodes stand as of a sequence: their names, the paths of their folders, and what stood in a folder's place before it.

Paths are put together from below, with a cache: two differences in one folder ask for it once.
"""

from core.relpath import ROOT, RelPath, join
from snapshots.difference_db import ROOT_PLACE, DifferenceRows, Place, Value
from snapshots.schema_db import ROOT_NODE
from staging.changes import Kind

_REMEMBERED_BYTES = 8_000_000  # of paths; trees of 3000 levels have long ones
_REMEMBERED = 100_000
_ALWAYS_THERE = {ROOT_NODE: ROOT_NODE, ROOT_PLACE[0]: ROOT_PLACE[0]}


class Places:
    """A share's names as of one sequence."""

    def __init__(self, rows: DifferenceRows, sequence: int) -> None:
        """Bind the catalogue to a sequence."""
        self._rows, self.sequence = rows, sequence
        self._paths: dict[int, RelPath] = {ROOT_NODE: ROOT}
        self._paths_bytes = 0

    def names(self, node: int) -> list[Place]:
        """Return all names of a node, sorted."""
        return [ROOT_PLACE] if node == ROOT_NODE else self._rows.names_of(node, self.sequence)

    def node_at(self, place: Place) -> int | None:
        """Return the node that a name stands for."""
        return self._rows.node_at(place, self.sequence)

    def value(self, node: int) -> Value | None:
        """Return what a node is, None when it is not there."""
        return self._rows.value_at(node, self.sequence)

    def path(self, place: Place) -> RelPath:
        """Return the path of a name."""
        return ROOT if place == ROOT_PLACE else join(self._folder(place[0]), place[1])

    def _folder(self, node: int) -> RelPath:
        way: list[Place] = []
        while node not in self._paths:
            place = self.names(node)[0]
            way.append((node, place[1]))
            node = place[0]
        path = self._paths[node]
        for folder, name in reversed(way):
            path = join(path, name)
            self._paths[folder] = path
            self._paths_bytes += len(path)
        if self._paths_bytes > _REMEMBERED_BYTES:
            self._paths, self._paths_bytes = {ROOT_NODE: ROOT}, 0
        return path


class StandIns:
    """Which node stood (or stands) elsewhere in time in the place of one that is not there.

    A node stands in for another when it had the same name in the same folder, has the same kind, and neither is there at the
    other's moment. A folder made anew so keeps its history, and what lies in it is compared name by name.
    """

    def __init__(self, rows: DifferenceRows, here: Places, there: Places) -> None:
        """Answer for nodes as of `here` who they were as of `there`."""
        self._here, self._there = here, there
        self._known: dict[int, int | None] = dict(_ALWAYS_THERE)

    def place(self, place: Place) -> Place:
        """Return a name as of `there`; one in a folder that is new altogether stays as it is."""
        folder = self._of_folder(place[0])
        return (place[0] if folder is None else folder, place[1])

    def of_place(self, place: Place, kind: Kind) -> tuple[Place, Value] | None:
        """Return what stands in for a node that is not `there`, by its name and kind: its place and value there."""
        folder = self._of_folder(place[0])
        found = self._in_folder(folder, place[1], kind) if folder is not None else None
        return ((folder, place[1]), found[1]) if folder is not None and found is not None else None

    def _of_folder(self, node: int) -> int | None:
        """Return the folder itself when it is `there`, else what stands in for it."""
        way: list[Place] = []
        while node not in self._known:
            if self._there.value(node) is not None:
                self._remember(node, node)
                break
            place = self._here.names(node)[0]
            way.append((node, place[1]))
            node = place[0]
        above = self._known[node]
        for folder, name in reversed(way):
            found = self._in_folder(above, name, Kind.FOLDER) if above is not None else None
            above = self._remember(folder, found[0] if found is not None else None)
        return above

    def _in_folder(self, folder: int, name: bytes, kind: Kind) -> tuple[int, Value] | None:
        """Return the node of that name and kind `there`, if it is not `here`."""
        found = self._there.node_at((folder, name))
        if found is None or self._here.value(found) is not None:
            return None
        value = self._there.value(found)
        return (found, value) if value is not None and value.kind is kind else None

    def _remember(self, node: int, stands_in: int | None) -> int | None:
        if len(self._known) >= _REMEMBERED:
            self._known = dict(_ALWAYS_THERE)
        self._known[node] = stands_in
        return stands_in
