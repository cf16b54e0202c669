"""A share's tree at one moment, asked from below: which names a node has, what a name stands for, what a node is.

A moment that is kept is the catalogue's; one between two fences is a replay over the fence before it. A replay knows what it
changed, so that what can be different at two moments is found without walking either tree.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from core.digest import Digest
from snapshots.catalogue_db import Name, State
from snapshots.difference_db import Place
from snapshots.replay import ReplayedShare
from snapshots.view_db import CatalogueReader


@dataclass(frozen=True, slots=True)
class TreeAt:
    """A share as of `sequence`: what the catalogue has as of `fence`, and what a replay changed since (None: nothing).

    It holds as long as its fence is kept.
    """

    reader: CatalogueReader
    sequence: int
    fence: int
    replay: ReplayedShare | None = None

    def names_of(self, node: int) -> list[Place]:
        """Return all names of a node, sorted."""
        if self.replay is not None:
            return self.replay.tree.names_of(node)
        names = self.reader.names_of(node)
        return sorted((parent, name) for parent, name, born, died in names if born <= self.fence < died)

    def node_at(self, place: Place) -> int | None:
        """Return the node that a name stands for."""
        source = self.reader if self.replay is None else self.replay
        return source.name_at(*place, self.fence)

    def state_at(self, node: int) -> State | None:
        """Return what a node is; a content that was written into is made for it."""
        source = self.reader if self.replay is None else self.replay
        return source.state_at(node, self.fence)

    def bare_state(self, node: int) -> State | None:
        """Return what a node is, without making a content that was written into: all else of the state is true."""
        return self.reader.state_at(node, self.fence) if self.replay is None else self.replay.tree.live_state(node)

    def is_unmade(self, state: State) -> bool:
        """Tell whether the content of a state cannot be made, so that it is not known."""
        return self.replay is not None and self.replay.store.is_unmade(state.content)

    def own_chunk(self, digest: Digest) -> bytes | memoryview | None:
        """Return a chunk or node that only this tree has."""
        return None if self.replay is None else self.replay.store.own_chunk(digest)

    def changed_names(self) -> Iterator[Place]:
        """Yield the names that may stand for something else than as of the fence."""
        return iter(()) if self.replay is None else self.replay.tree.changed_names()

    def changed_nodes(self) -> Iterator[int]:
        """Yield the nodes that may be something else than as of the fence."""
        return iter(()) if self.replay is None else self.replay.tree.changed_nodes()

    def names_since(self) -> list[Name]:
        """Return the names that stand here and were made behind the fence."""
        return [] if self.replay is None else list(self.replay.tree.names_since())

    def still_stands(self, parent: int, name: bytes, born: int, died: int) -> bool:
        """Tell whether a row of the catalogue's names holds here as it is."""
        if not born <= self.fence < died:
            return False
        return self.replay is None or not self.replay.tree.is_changed(parent, name)
