"""A naive model of a share: a dict of folders, applied change by change with the rules of POSIX written out plainly."""

import copy
from dataclasses import dataclass, field

from staging.changes import (
    Attributes,
    Barrier,
    Change,
    Content,
    Create,
    Group,
    Kind,
    Link,
    Mirror,
    Rename,
    SetAttributes,
    Truncate,
    Unlink,
    Write,
)

ROOT_ATTRIBUTES = Attributes(0o755, 0, 0, 0)


class Misfit(Exception):
    """The model refuses a change."""


@dataclass
class Thing:
    """A node of the model; hard links share one object."""

    kind: Kind
    attributes: Attributes
    data: bytes = b""
    target: bytes = b""
    children: dict[bytes, "Thing"] = field(default_factory=dict)


class NaiveTree:
    """The tree and, for every barrier, a deep copy."""

    def __init__(self, contents: dict[bytes, bytes]) -> None:
        self.root = Thing(Kind.FOLDER, ROOT_ATTRIBUTES)
        self.contents = contents
        self.misfits = 0

    def copy(self) -> "NaiveTree":
        return copy.deepcopy(self)

    def apply(self, change: Change, paths: list[bytes]) -> None:
        before = copy.deepcopy(self.root) if isinstance(change, Group) else None
        try:
            if isinstance(change, Group):
                for part in change.changes:
                    self._apply(part, paths)
            elif not isinstance(change, Barrier | Mirror):
                self._apply(change, paths)
        except Misfit:
            self.misfits += 1
            if before is not None:
                self.root = before

    def listing(self) -> dict[bytes, tuple[object, ...]]:
        found: dict[bytes, tuple[object, ...]] = {}
        identities: dict[int, bytes] = {}

        def visit(path: bytes, thing: Thing) -> None:
            first = identities.setdefault(id(thing), path)
            found[path] = (thing.kind, thing.attributes, thing.data, thing.target, first)
            for name in sorted(thing.children):
                visit(path + b"/" + name if path else name, thing.children[name])

        visit(b"", self.root)
        return found

    def _find(self, path: bytes) -> Thing:
        thing = self.root
        for name in path.split(b"/") if path else ():
            if thing.kind is not Kind.FOLDER or name not in thing.children:
                raise Misfit
            thing = thing.children[name]
        return thing

    def _parent(self, path: bytes) -> tuple[Thing, bytes]:
        folder, _, name = path.rpartition(b"/")
        thing = self._find(folder)
        if thing.kind is not Kind.FOLDER or not name:
            raise Misfit
        return thing, name

    def _named(self, path: bytes) -> tuple[Thing, bytes, Thing]:
        parent, name = self._parent(path)
        if name not in parent.children:
            raise Misfit
        return parent, name, parent.children[name]

    def _apply(self, change: object, paths: list[bytes]) -> None:
        path = paths[change.path]  # type: ignore[attr-defined]
        if isinstance(change, Create):
            parent, name = self._parent(path)
            if name in parent.children:
                raise Misfit
            data = self.contents[change.content.digest] if change.content else b""
            parent.children[name] = Thing(change.kind, change.attributes, data, change.target)
        elif isinstance(change, SetAttributes):
            self._find(path).attributes = change.attributes
        elif isinstance(change, Unlink):
            parent, name, _ = self._named(path)
            del parent.children[name]
        elif isinstance(change, Link):
            _, _, thing = self._named(paths[change.existing])
            parent, name = self._parent(path)
            if thing.kind is Kind.FOLDER or name in parent.children:
                raise Misfit
            parent.children[name] = thing
        elif isinstance(change, Rename):
            self._rename(path, paths[change.target], change.exchange)
        else:
            self._change_data(change, path)

    def _change_data(self, change: object, path: bytes) -> None:
        _, _, thing = self._named(path)
        if thing.kind is not Kind.FILE:
            raise Misfit
        if isinstance(change, Write):
            data = thing.data.ljust(change.offset, b"\0")
            thing.data = data[: change.offset] + change.data + data[change.offset + len(change.data) :]
        elif isinstance(change, Truncate):
            thing.data = thing.data[: change.size].ljust(change.size, b"\0")
        elif isinstance(change, Content):
            thing.data = self.contents[change.content.digest] if change.content else b""
            thing.attributes = change.attributes or thing.attributes

    def _rename(self, path: bytes, target: bytes, exchange: bool) -> None:
        parent, name, thing = self._named(path)
        new_parent, new_name = self._parent(target)
        if thing.kind is Kind.FOLDER and self._contains(thing, new_parent):
            raise Misfit
        there = new_parent.children.get(new_name)
        if exchange:
            if there is None or (there.kind is Kind.FOLDER and self._contains(there, parent)):
                raise Misfit
            parent.children[name], new_parent.children[new_name] = there, thing
            return
        if there is thing:
            return
        if there is not None and ((there.kind is Kind.FOLDER) != (thing.kind is Kind.FOLDER) or there.children):
            raise Misfit
        del parent.children[name]
        new_parent.children[new_name] = thing

    def _contains(self, folder: Thing, other: Thing) -> bool:
        return folder is other or any(self._contains(child, other) for child in folder.children.values())
