"""A naive model of a share: a tree to which received changes are applied, and which is compared with a real folder."""

import grp
import os
import pwd
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from staging.changes import (
    Attributes,
    Barrier,
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
from staging.frame_format import Frame
from tests.branch.target import MemoryStore, Target

_KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.FOLDER,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFSOCK: Kind.SOCKET,
}


class Misfit(AssertionError):
    """A received change cannot be applied."""


@dataclass(eq=False)
class Thing:
    """A node; hard links share one. `number` tells nodes apart across renames."""

    number: int
    kind: Kind
    attributes: Attributes
    content: Any = None
    data: bytearray | None = None  # its bytes instead, when it was edited
    target: bytes = b""
    device: int = 0
    children: dict[bytes, "Thing"] = field(default_factory=dict)


class Replay:
    """The tree, applied strictly in sequence; a change that does not fit fails the test."""

    def __init__(self, store: MemoryStore, as_programs_do: bool = False) -> None:
        """With `as_programs_do` names may be replaced and exchanged by a rename; a look never does that."""
        self.store, self.as_programs_do = store, as_programs_do
        self.root = Thing(0, Kind.FOLDER, Attributes(0o755, 0, 0, 0))
        self.sequence = 0
        self.numbers = 0
        self.log: list[str] = []
        self._mirrored: set[tuple[int, bytes]] | None = None

    def take_all(self, target: Target, share: str = "data") -> "Replay":
        for frame in target.frames(share):
            if frame.header.first_sequence > self.sequence:
                self.take(frame)
        return self

    def take(self, frame: Frame) -> None:
        assert frame.header.first_sequence == self.sequence + 1
        for change in frame.changes:
            if isinstance(change, Group):
                for part in change.changes:
                    self._apply(part, frame.paths)
            elif not isinstance(change, Barrier):
                self._apply(change, frame.paths)
        self.sequence = frame.header.last_sequence

    def find(self, path: bytes) -> Thing:
        thing = self.root
        for name in path.split(b"/") if path else ():
            if name not in thing.children:
                raise Misfit(f"{path!r} does not exist")
            thing = thing.children[name]
        return thing

    def paths(self) -> dict[bytes, Thing]:
        found = {b"": self.root}
        todo = [(b"", self.root)]
        while todo:
            path, thing = todo.pop()
            for name, child in thing.children.items():
                below = path + b"/" + name if path else name
                found[below] = child
                todo.append((below, child))
        return found

    def _apply(self, change: Any, paths: tuple[bytes, ...]) -> None:
        if isinstance(change, Mirror):
            self.log.append(f"mirror {change.begin}")
            self._mirror(change.begin)
            return
        path = paths[change.path]
        self.log.append(f"{type(change).__name__.lower()} {path!r}")
        if isinstance(change, Create):
            self._create(path, change)
        elif isinstance(change, SetAttributes):
            self.find(path).attributes = change.attributes
        elif isinstance(change, Content):
            thing = self.find(path)
            if thing.kind is not Kind.FILE:
                raise Misfit(f"content of {path!r}, which is no file")
            thing.content, thing.data, thing.attributes = change.content, None, change.attributes or thing.attributes
        elif isinstance(change, Write | Truncate):
            self._edit(path, change)
        elif isinstance(change, Unlink):
            parent, name = self._parent(path, must_exist=True)
            del parent.children[name]
        elif isinstance(change, Link):
            self._link(path, paths[change.existing])
        elif isinstance(change, Rename):
            assert self.as_programs_do or not change.exchange
            self.log[-1] += f" -> {paths[change.target]!r}"
            self._rename(path, paths[change.target], change.exchange)
        else:
            raise Misfit(f"unexpected {change}")

    def _edit(self, path: bytes, change: Write | Truncate) -> None:
        """Change a file's bytes; the appliance makes chunks of them, which may take it a while."""
        thing = self.find(path)
        if thing.kind is not Kind.FILE:
            raise Misfit(f"edited {path!r}, which is no file")
        if self._mirrored is not None:
            raise Misfit(f"edited {path!r} within a baseline")
        data = thing.data if thing.data is not None else bytearray(self.store.content(thing.content))
        size = change.size if isinstance(change, Truncate) else max(len(data), change.offset + len(change.data))
        del data[size:]
        data += bytes(size - len(data))
        if isinstance(change, Write):
            data[change.offset : change.offset + len(change.data)] = change.data
        thing.data = data

    def _create(self, path: bytes, change: Create) -> None:
        parent, name = self._parent(path)
        there = parent.children.get(name)
        if there is not None and self._mirrored is None:
            raise Misfit(f"{path!r} exists")
        if there is None or there.kind is not change.kind:
            self.numbers += 1
            there = Thing(self.numbers, change.kind, change.attributes)
        there.attributes, there.content, there.data = change.attributes, change.content, None
        there.target, there.device = change.target, change.device
        parent.children[name] = there
        self._mark(parent, name)

    def _link(self, path: bytes, existing: bytes) -> None:
        thing = self.find(existing)
        parent, name = self._parent(path)
        if thing.kind is Kind.FOLDER or (name in parent.children and self._mirrored is None):
            raise Misfit(f"link at {path!r}")
        parent.children[name] = thing
        self._mark(parent, name)

    def _rename(self, path: bytes, target: bytes, exchange: bool) -> None:
        if self._mirrored is not None:
            raise Misfit("renamed within a baseline")
        if target == path or target.startswith(path + b"/"):
            raise Misfit(f"{path!r} moved below itself")
        parent, name = self._parent(path, must_exist=True)
        new_parent, new_name = self._parent(target)
        there = new_parent.children.get(new_name)
        if exchange != (there is not None) and not (self.as_programs_do and not exchange):
            raise Misfit(f"rename onto {target!r}")
        new_parent.children[new_name] = parent.children.pop(name)
        if exchange and there is not None:
            parent.children[name] = there

    def _parent(self, path: bytes, must_exist: bool = False) -> tuple[Thing, bytes]:
        folder, _, name = path.rpartition(b"/")
        parent = self.find(folder)
        if not name or parent.kind is not Kind.FOLDER or (must_exist and name not in parent.children):
            raise Misfit(f"{path!r} does not fit")
        return parent, name

    def _mark(self, parent: Thing, name: bytes) -> None:
        if self._mirrored is not None:
            self._mirrored.add((parent.number, name))

    def _mirror(self, begin: bool) -> None:
        if begin:
            self._mirrored = self._mirrored or set()
            return
        assert self._mirrored is not None
        for thing in self.paths().values():
            for name in list(thing.children):
                if (thing.number, name) not in self._mirrored:
                    del thing.children[name]
        self._mirrored = None


def listing(replay: Replay) -> dict[bytes, tuple[Any, ...]]:
    """Return the model's tree: kind, attributes, content, target, device, first name of the node."""
    found: dict[bytes, tuple[Any, ...]] = {}
    first: dict[int, bytes] = {}
    for path, thing in sorted(replay.paths().items()):
        name = first.setdefault(thing.number, path)
        data = bytes(thing.data) if thing.data is not None else replay.store.content(thing.content)
        found[path] = (thing.kind, thing.attributes, data, thing.target, thing.device, name)
    return found


def real_listing(root: Path) -> dict[bytes, tuple[Any, ...]]:
    """Return the real tree in the same form, read with the plainest means."""
    found: dict[bytes, tuple[Any, ...]] = {}
    first: dict[int, bytes] = {}
    paths = [b""]
    for folder, folders, files in os.walk(os.fsencode(root)):
        relative = os.path.relpath(folder, os.fsencode(root))
        prefix = b"" if relative == b"." else relative + b"/"
        paths += [prefix + name for name in [*folders, *files]]
    for path in sorted(paths):
        real = os.path.join(os.fsencode(root), path) if path else os.fsencode(root)
        state = os.lstat(real)
        kind = _KINDS[stat.S_IFMT(state.st_mode)]
        data = Path(os.fsdecode(real)).read_bytes() if kind is Kind.FILE else b""
        target = os.readlink(real) if kind is Kind.SYMLINK else b""
        device = state.st_rdev if kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE) else 0
        attributes = real_attributes(real, state)
        found[path] = (kind, attributes, data, target, device, first.setdefault(state.st_ino, path))
    return found


def real_attributes(path: bytes, state: os.stat_result) -> Attributes:

    names = [name for name in os.listxattr(path, follow_symlinks=False) if not name.startswith("security.selinux")]
    xattrs = tuple(sorted((os.fsencode(name), os.getxattr(path, name, follow_symlinks=False)) for name in names))
    user = pwd.getpwuid(state.st_uid).pw_name if state.st_uid in {p.pw_uid for p in pwd.getpwall()} else ""
    group = grp.getgrgid(state.st_gid).gr_name if state.st_gid in {g.gr_gid for g in grp.getgrall()} else ""
    mode = stat.S_IMODE(state.st_mode)
    return Attributes(mode, state.st_uid, state.st_gid, state.st_mtime_ns, user.encode(), group.encode(), xattrs)
