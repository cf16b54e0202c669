"""Which nodes stood at a path and when, and which paths a name had: what the catalogue keeps of it for snapshots and anchors.

Brief names, which came and went between two of these, are in `lives`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from core.errors import NotFound
from core.relpath import ROOT, RelPath
from snapshots.schema_db import LIVE, ROOT_NODE
from snapshots.view_db import CatalogueReader

NamesOf = Callable[[int], list[tuple[int, bytes, int, int]]]
"""Gives (parent, name, born, died) of the names that a node had."""


class NeverThere(NotFound):
    """Nothing that is kept ever stood at a path."""


@dataclass(frozen=True, slots=True)
class Life:
    """The time [born, died) over which a node stood at a path."""

    node: int
    born: int
    died: int


def lives_of(reader: CatalogueReader, path: RelPath) -> list[Life]:
    """Return every node that stood at the path and when, oldest first."""
    lives = [Life(ROOT_NODE, 0, LIVE)]
    for name in path.split(b"/") if path != ROOT else ():
        below: list[Life] = []
        for parent in lives:
            for node, born, died in reader.lives_of_name(parent.node, name):
                born, died = max(born, parent.born), min(died, parent.died)
                if born < died:
                    below.append(Life(node, born, died))
        lives = sorted(below, key=lambda life: life.born)
    return lives


def paths_of(names_of: NamesOf, parent: int, name: bytes, born: int, died: int) -> list[tuple[RelPath, int, int]]:
    """Return (path, from, until) for every path that a name had over a time: folders above it may be renamed too."""
    found: list[tuple[RelPath, int, int]] = []
    pending = [(parent, name, born, died)]
    while pending:
        folder, path, since, until = pending.pop()
        if since >= until:
            continue
        if folder == ROOT_NODE:
            found.append((RelPath(path), since, until))
            continue
        for above, folder_name, opened, closed in names_of(folder):
            pending.append((above, folder_name + b"/" + path, max(since, opened), min(until, closed)))
    return found
