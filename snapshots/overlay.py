"""A live tree in memory: what stood as of a fence, read from the catalogue, under what changed since.

`Overlay` has the verbs of `LiveCatalogue`, so that the fold's own rules run over it, and afterwards answers what the tree
became. It holds what changed, not what is there.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from snapshots.catalogue_db import Name, State
from snapshots.ledger_db import Counters
from snapshots.view_db import CatalogueReader

_PAGE = 1000
_KNOWN = 50_000  # answers of the catalogue kept at hand; a replay asks for less between two anchors
_UNSEEN = object()  # not None: that is a name or state which is no more

_Undo = tuple[dict[Any, Any], Any, object]


class Overlay:
    """The tree as of a fence and what changed since. One thread changes it; when that is over, any thread may ask."""

    def __init__(self, reader: CatalogueReader, fence: int, start: Counters) -> None:
        """Begin with the tree as of a fence, and what was counted there."""
        self._reader, self._fence = reader, fence
        self._numbers = {
            "next_node": start.next_node,
            "files": start.files,
            "logical_bytes": start.logical_bytes,
            "mirroring": start.mirroring,
            "mirrored": start.mirrored,
        }
        self._folders: dict[int, dict[bytes, Name | None]] = {}  # parent → names that were opened or closed
        self._names: dict[int, dict[tuple[int, bytes], bool]] = {}  # node → its names that were opened or closed
        self._states: dict[int, State | None] = {}
        self._known_names: dict[tuple[int, bytes], Name | None] = {}  # as of the fence, already asked
        self._known_states: dict[int, State | None] = {}
        self._mirrored: dict[int, dict[bytes, bool]] = {}
        self._undo: list[_Undo] | None = None

    # -- asking ---------------------------------------------------------------------------------------------------

    def number(self, key: str) -> int:
        """Return a counter as it was at the fence."""
        return self._numbers.get(key, 0)

    def live_name(self, parent: int, name: bytes) -> Name | None:
        """Return the live name in a folder."""
        changed = self._folders.get(parent)
        if changed is not None and name in changed:
            return changed[name]
        known = self._known_names.get((parent, name), _UNSEEN)
        if known is _UNSEEN:
            node = self._reader.name_at(parent, name, self._fence)
            known = None if node is None else Name(parent, name, 0, node)
            _keep(self._known_names, (parent, name), known)
        return known  # type: ignore[return-value]

    def live_names_in(self, parent: int) -> list[Name]:
        """Return all live names of a folder."""
        return [*self._old_names_in(parent), *(name for name in self._folders.get(parent, {}).values() if name is not None)]

    def is_empty_folder(self, node: int) -> bool:
        """Tell whether a folder has no live name in it."""
        return not any(self._folders.get(node, {}).values()) and next(self._old_names_in(node), None) is None

    def has_live_name(self, node: int) -> bool:
        """Tell whether any live name stands for the node."""
        return next(self._live_names_of(node), None) is not None

    def live_state(self, node: int) -> State | None:
        """Return a node's live state."""
        if node in self._states:
            return self._states[node]
        known = self._known_states.get(node, _UNSEEN)
        if known is _UNSEEN:
            known = self._reader.state_at(node, self._fence)
            _keep(self._known_states, node, known)
        return known  # type: ignore[return-value]

    def page(self, parent: int, after: bytes, limit: int) -> list[tuple[bytes, State]]:
        """Return up to `limit` names of a folder behind `after` with their states, sorted by name."""
        changed = self._folders.get(parent, {})
        old: list[tuple[bytes, State]] = []
        behind, more = after, True
        while more and len(old) < limit:
            found = self._reader.names_in(parent, self._fence, behind, limit)
            old += [(name, self._states.get(state.node) or state) for name, state in found if name not in changed]
            more = len(found) == limit
            behind = found[-1][0] if found else behind
        new = [name for key, name in changed.items() if name is not None and key > after and (not more or key <= behind)]
        states = ((name.name, self.live_state(name.node)) for name in new)
        return sorted([*old, *((name, state) for name, state in states if state is not None)], key=lambda row: row[0])[:limit]

    def names_of(self, node: int) -> list[tuple[int, bytes]]:
        """Return (parent, name) of all live names of a node, sorted."""
        return sorted(self._live_names_of(node))

    def changed_names(self) -> Iterator[tuple[int, bytes]]:
        """Yield (parent, name) of every name that was opened or closed since the fence."""
        return ((parent, name) for parent, names in self._folders.items() for name in names)

    def is_changed(self, parent: int, name: bytes) -> bool:
        """Tell whether a name was opened or closed since the fence."""
        return name in self._folders.get(parent, {})

    def changed_nodes(self) -> Iterator[int]:
        """Yield every node that got another state since the fence, or its first or last."""
        return iter(self._states)

    def names_since(self) -> Iterator[Name]:
        """Yield the live names that were opened since the fence."""
        return (name for names in self._folders.values() for name in names.values() if name is not None)

    # -- changing -------------------------------------------------------------------------------------------------

    def set(self, **values: int | str) -> None:
        """Nothing is kept: a replay ends with its view."""

    def add_name(self, parent: int, name: bytes, node: int, sequence: int) -> None:
        """Open a name."""
        self._put(self._folders.setdefault(parent, {}), name, Name(parent, name, sequence, node))
        self._put(self._names.setdefault(node, {}), (parent, name), True)

    def end_name(self, row: Name, sequence: int) -> None:
        """Close a name."""
        self._put(self._folders.setdefault(row.parent, {}), row.name, None)
        self._put(self._names.setdefault(row.node, {}), (row.parent, row.name), False)

    def add_state(self, state: State) -> None:
        """Open the first state of a new node."""
        self._put(self._states, state.node, state)

    def change_state(self, old: State, new: State, sequence: int) -> None:
        """Bring a node from `old` to `new`."""
        self._put(self._states, old.node, replace(new, changed=sequence))

    def mark_linked(self, node: int) -> None:
        """Note that a node may have several names."""
        state = self.live_state(node)
        if state is not None:
            self._put(self._states, node, replace(state, linked=True))

    def end_state(self, state: State, sequence: int) -> None:
        """Close a node's state."""
        self._put(self._states, state.node, None)

    # -- mirrors, groups and misfits ------------------------------------------------------------------------------

    def add_problem(self, sequence: int, reason: str) -> None:
        """Skip: what did not fit then is known from the fold."""

    def clear_problems(self) -> None:
        """Skip, as `add_problem`."""

    def mark_mirrored(self, parent: int, name: bytes) -> None:
        """Remember that the running mirror has stated this name."""
        self._put(self._mirrored.setdefault(parent, {}), name, True)

    def has_mirrored_name(self, node: int) -> bool:
        """Tell whether the running mirror has stated any live name of this node."""
        return any(name in self._mirrored.get(parent, {}) for parent, name in self._live_names_of(node))

    def unmirrored_names(self) -> list[Name]:
        """Return the live names that the mirror that ends now did not state."""
        return [
            name for name in (*self._old_names(), *self.names_since()) if name.name not in self._mirrored.get(name.parent, {})
        ]

    def end_mirror(self) -> None:
        """Forget what the mirror has stated."""
        self._mirrored.clear()

    def begin_group(self) -> None:
        """From here on changes may be undone together."""
        self._undo = []

    def undo_group(self) -> None:
        """Take back everything since `begin_group`."""
        for values, key, before in reversed(self._undo or ()):
            if before is _UNSEEN:
                del values[key]
            else:
                values[key] = before

    def end_group(self) -> None:
        """Nothing is undone any more."""
        self._undo = None

    def _live_names_of(self, node: int) -> Iterator[tuple[int, bytes]]:
        changed = self._names.get(node, {})
        yield from (key for key, is_open in changed.items() if is_open)
        for parent, name, born, died in self._reader.names_of(node):
            if born <= self._fence < died and (parent, name) not in changed:
                yield parent, name

    def _old_names_in(self, parent: int) -> Iterator[Name]:
        """Yield the names of a folder that stand as of the fence and still do."""
        changed = self._folders.get(parent, {})
        after, more = b"", True
        while more:
            found = self._reader.names_in(parent, self._fence, after, _PAGE)
            yield from (Name(parent, name, 0, state.node) for name, state in found if name not in changed)
            more = len(found) == _PAGE
            after = found[-1][0] if found else after

    def _old_names(self) -> Iterator[Name]:
        """Yield all names that stand as of the fence and still do."""
        parent, name, more = 0, b"", True
        while more:
            found = self._reader.names_behind(parent, name, self._fence, _PAGE)
            yield from (Name(*row) for row in found if row[1] not in self._folders.get(row[0], {}))
            more = len(found) == _PAGE
            parent, name = (found[-1][0], found[-1][1]) if found else (parent, name)

    def _put(self, values: dict[Any, Any], key: object, value: object) -> None:
        if self._undo is not None:
            self._undo.append((values, key, values.get(key, _UNSEEN)))
        values[key] = value


def _keep(known: dict[Any, Any], key: object, value: object) -> None:
    if len(known) >= _KNOWN:
        known.clear()
    known[key] = value
