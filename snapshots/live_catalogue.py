"""The verbs by which a tree is changed, whatever holds it: a share's file (catalogue_db) or a replay in memory (overlay)."""

from collections.abc import Iterable
from typing import Protocol

from snapshots.catalogue_db import Name, State


class LiveCatalogue(Protocol):
    """A live tree of names and states. One thread at a time."""

    def number(self, key: str) -> int:
        """Return a number kept under `key`, 0 when there is none."""

    def set(self, **values: int | str) -> None:
        """Keep numbers or texts."""

    def live_name(self, parent: int, name: bytes) -> Name | None:
        """Return the live name in a folder."""

    def live_names_in(self, parent: int) -> list[Name]:
        """Return all live names of a folder."""

    def has_live_name(self, node: int) -> bool:
        """Tell whether any live name stands for the node."""

    def is_empty_folder(self, node: int) -> bool:
        """Tell whether a folder has no live name in it."""

    def add_name(self, parent: int, name: bytes, node: int, sequence: int) -> None:
        """Open a name."""

    def end_name(self, row: Name, sequence: int) -> None:
        """Close a name."""

    def live_state(self, node: int) -> State | None:
        """Return a node's live state."""

    def add_state(self, state: State) -> None:
        """Open the first state of a new node."""

    def change_state(self, old: State, new: State, sequence: int) -> None:
        """Bring a node from `old` to `new`."""

    def mark_linked(self, node: int) -> None:
        """Note that a node may have several names."""

    def end_state(self, state: State, sequence: int) -> None:
        """Close a node's state."""

    def add_problem(self, sequence: int, reason: str) -> None:
        """Record a change that did not fit."""

    def clear_problems(self) -> None:
        """Forget the changes that did not fit."""

    def mark_mirrored(self, parent: int, name: bytes) -> None:
        """Remember that the running mirror has stated this name."""

    def has_mirrored_name(self, node: int) -> bool:
        """Tell whether the running mirror has stated any live name of this node."""

    def unmirrored_names(self) -> Iterable[Name]:
        """Return the live names that the mirror that ends now did not state."""

    def end_mirror(self) -> None:
        """Forget what the mirror has stated."""

    def begin_group(self) -> None:
        """From here on changes may be undone together."""

    def undo_group(self) -> None:
        """Take back everything since `begin_group`."""

    def end_group(self) -> None:
        """Nothing is undone any more; called after `undo_group` too."""
