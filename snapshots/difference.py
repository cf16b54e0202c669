"""What changed in a share between two moments: added, removed, renamed, changed, other attributes only.

The cost is that of the rows born or died between the two moments, not of the tree. A node is the same under every name, so a
renamed folder is one difference and nothing below it is. A name whose old node is gone and whose new node is new (as an editor
leaves it that writes beside and renames over) is one thing that changed, if the kind is the same; so are folders made anew.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from core.errors import Damaged
from core.relpath import RelPath
from snapshots.content_difference import Fetch, different_bytes
from snapshots.difference_db import BEGINNING, DifferenceReader, DifferenceRows, Key, NameRow, Place, Query, StateRow, Value
from snapshots.places import Places, StandIns
from staging.changes import Kind

What = Literal["added", "removed", "renamed", "changed", "attributes"]

Cursor = tuple[int, Key]
"""(which of the three indexes, where in it) of the last row that was looked at."""
START: Cursor = (0, BEGINNING)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; `before` is None for what was added, `after` for what was removed."""

    what: What
    kind: Kind
    before: RelPath | None
    after: RelPath | None
    size_before: int
    size: int
    different_bytes: int | None  # None when a recipe cannot be read


@dataclass(frozen=True, slots=True)
class _Found:
    """A difference from the earlier to the later moment, as places and values."""

    what: What
    early_place: Place | None
    late_place: Place | None
    early: Value | None
    late: Value | None


def differences(
    query: Query, fetch_node: Fetch, before: int, after: int, cursor: Cursor = START
) -> Iterator[tuple[Cursor, Difference]]:
    """Yield what changed from the sequence `before` to `after` (also when that is the earlier one), each with its cursor.

    Both must stay readable while this goes on. No read transaction stays open between two steps.
    """
    rows = DifferenceReader(query, min(before, after), max(before, after))
    yield from differences_in(rows, fetch_node, backwards=before > after, cursor=cursor)


def differences_in(
    rows: DifferenceRows, fetch_node: Fetch, *, backwards: bool, cursor: Cursor = START
) -> Iterator[tuple[Cursor, Difference]]:
    """Yield what the rows of two moments tell, as `differences`; `backwards` tells it from the later to the earlier."""
    finder = _Finder(rows)
    for reached, found in finder.found(cursor):
        yield reached, finder.told(found, backwards=backwards, fetch_node=fetch_node)


class _Finder:
    """Turns rows into differences."""

    def __init__(self, rows: DifferenceRows) -> None:
        self._rows = rows
        self._early, self._late = Places(rows, rows.early), Places(rows, rows.late)
        self._origins = StandIns(rows, self._late, self._early)
        self._heirs = StandIns(rows, self._early, self._late)
        self._moves: tuple[int, list[Place], list[tuple[Place, Place]]] = (0, [], [])

    def found(self, cursor: Cursor) -> Iterator[tuple[Cursor, _Found]]:
        """Go through the three indexes, from a cursor on."""
        phases: tuple[Callable[[Key], Iterator[tuple[Key, _Found | None]]], ...] = (self._gone, self._come, self._changed)
        for number in range(cursor[0], len(phases)):
            for key, found in phases[number](cursor[1] if number == cursor[0] else BEGINNING):
                if found is not None:
                    yield (number, key), found

    def told(self, found: _Found, backwards: bool, fetch_node: Fetch) -> Difference:
        """Return a difference as told: paths instead of places, and from the later moment to the earlier when `backwards`."""
        early = self._early.path(found.early_place) if found.early_place is not None else None
        late = self._late.path(found.late_place) if found.late_place is not None else None
        what, sides = found.what, [(early, found.early), (late, found.late)]
        if backwards:
            sides.reverse()
            what = {"added": "removed", "removed": "added"}.get(what, what)  # type: ignore[assignment]
        (before, old), (after, new) = sides
        kind = (new or old).kind  # type: ignore[union-attr]
        return Difference(what, kind, before, after, _size(old), _size(new), _different(what, old, new, fetch_node))

    def _gone(self, after: Key) -> Iterator[tuple[Key, _Found | None]]:
        for row in self._rows.names_gone(after):
            yield row.key, self._of_name_gone(row)

    def _come(self, after: Key) -> Iterator[tuple[Key, _Found | None]]:
        for row in self._rows.names_come(after):
            yield row.key, self._of_name_come(row)

    def _changed(self, after: Key) -> Iterator[tuple[Key, _Found | None]]:
        for row in self._rows.states_changed(after):
            yield row.key, self._of_state(row)

    def _of_name_gone(self, row: NameRow) -> _Found | None:
        removed = _Found("removed", row.place, None, row.early, None)
        if row.early is None:
            return None  # a name without a node: never told
        if row.late is not None:
            gone, come = self._moves_of(row.node)
            return removed if row.place in gone[len(come) :] else None
        heir = self._heirs.of_place(row.place, row.early.kind)
        return removed if heir is None else None

    def _of_name_come(self, row: NameRow) -> _Found | None:
        if row.late is None:
            return None
        if row.early is not None:
            gone, come = self._moves_of(row.node)
            number = next((number for number, (_, place) in enumerate(come) if place == row.place), None)
            if number is None:
                return None
            if number < len(gone):
                return _Found("renamed", gone[number], row.place, row.early, row.late)
            return _Found("added", None, row.place, None, row.late)
        origin = self._origins.of_place(row.place, row.late.kind)
        if origin is None:
            return _Found("added", None, row.place, None, row.late)
        return _compared(*origin, row.place, row.late)

    def _of_state(self, row: StateRow) -> _Found | None:
        early, late = self._early.names(row.node), self._late.names(row.node)
        place = next((place for place in late if self._origins.place(place) in early), late[0])  # a name that it kept
        was = self._origins.place(place)
        return _compared(was if was in early else early[0], row.early, place, row.late)

    def _moves_of(self, node: int) -> tuple[list[Place], list[tuple[Place, Place]]]:
        """Return the names that a node lost, and (as of the earlier moment, as of the later) of those that it gained, sorted."""
        if self._moves[0] != node:
            early = set(self._early.names(node))
            late = {self._origins.place(place): place for place in self._late.names(node)}
            self._moves = (node, sorted(early - late.keys()), sorted((was, late[was]) for was in late.keys() - early))
        return self._moves[1], self._moves[2]


def _compared(early_place: Place | None, early: Value, late_place: Place | None, late: Value) -> _Found | None:
    if not early.says_the_same(late):
        return _Found("changed", early_place, late_place, early, late)
    if early.attributes != late.attributes:
        return _Found("attributes", early_place, late_place, early, late)
    return None


def _size(value: Value | None) -> int:
    return value.size if value is not None else 0


def _different(what: What, old: Value | None, new: Value | None, fetch_node: Fetch) -> int | None:
    if what == "added":
        return _size(new)
    if what != "changed" or old is None or new is None:
        return 0
    try:
        return different_bytes(old.content, new.content, fetch_node)
    except Damaged:  # the scrub names it; a difference does not become unreadable for one lost recipe
        return None
