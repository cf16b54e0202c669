"""Which node stands at the path of a folder, kept at hand for the changes that come next.

A look into the catalogue says the same, so anything may be forgotten at any time. What is held is bounded: every share that is
open has one of these, and a tree may have a million folders with paths of thousands of bytes.
"""

from core.relpath import ROOT, RelPath
from snapshots.schema_db import ROOT_NODE

HELD_BYTES = 2 * 1024 * 1024  # some ten thousand folders; changes come folder by folder
_ENTRY_BYTES = 150  # an entry beside its path: two objects and their place in the table


class KnownFolders:
    """Paths of folders with their nodes. One thread."""

    def __init__(self, held_bytes: int = HELD_BYTES) -> None:
        """Hold about `held_bytes`; the root is always known."""
        self._limit = held_bytes
        self.forget()

    def __len__(self) -> int:
        """Return how many folders are known."""
        return len(self._nodes)

    def get(self, path: RelPath) -> int | None:
        """Return the node at a path, None when it is not at hand."""
        return self._nodes.get(path)

    def put(self, path: RelPath, node: int) -> None:
        """Keep a folder at hand; when there is no more room, forget the others: those in use come again at once."""
        cost = len(path) + _ENTRY_BYTES
        if self._held + cost > self._limit:
            self.forget()
        self._nodes[path] = node
        self._held += cost

    def forget(self) -> None:
        """Forget all but the root."""
        self._nodes: dict[RelPath, int] = {ROOT: ROOT_NODE}
        self._held = 0
