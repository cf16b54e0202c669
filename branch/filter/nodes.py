"""The nodes that the kernel remembers, and where in the share each of them stands.

A node is one inode, whatever its names: hard links are one node, an open file without a name stays one. It lives as long as
the kernel counts look-ups of it, or nodes below it are alive, so that a path can always be told. All changes of names come
through here, so names stay true; what another way brought into their place takes it over when it is looked up.
"""

import os
import stat
from collections import OrderedDict
from collections.abc import Iterator

from core.relpath import ROOT, RelPath

ROOT_ID = 1
_OPEN_FOLDERS = 256  # far below the limit of descriptors, which programs' open files need
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC

Key = tuple[int, int]


class Node:
    """An inode that the kernel knows by `id`; `entries` are the names known in a folder, `files` the open descriptors."""

    __slots__ = ("dirtied", "entries", "files", "id", "is_folder", "key", "lookups", "names", "path", "path_turn")

    def __init__(self, number: int, key: Key, is_folder: bool) -> None:
        self.id, self.key, self.is_folder = number, key, is_folder
        self.lookups = 0
        self.names: dict[tuple[Node, bytes], None] = {}
        self.entries: dict[bytes, Node] = {}
        self.files: list[int] = []
        self.dirtied = 0  # in which turn of capture its dirty mark was made
        self.path: RelPath | None = None
        self.path_turn = -1


class NodeTable:
    """All nodes of one mount, used under its gate."""

    def __init__(self, root: int) -> None:
        """Begin with the open folder `root`, which the caller closes."""
        found = os.fstat(root)
        self.root, self.device = root, found.st_dev
        self.top = Node(ROOT_ID, (found.st_dev, found.st_ino), True)
        self.top.lookups = 1
        self.top.path = ROOT
        self._by_id: dict[int, Node] = {ROOT_ID: self.top}
        self._by_key: dict[Key, Node] = {self.top.key: self.top}
        self._next_id = ROOT_ID + 1
        self._turn = 0  # grows when a folder moves: paths told before are void
        self._folders: OrderedDict[Node, int] = OrderedDict()

    def close(self) -> None:
        """Close the folders that are kept open."""
        for descriptor in self._folders.values():
            os.close(descriptor)
        self._folders.clear()

    def node(self, number: int) -> Node:
        """Return the node of the kernel's number."""
        return self._by_id[number]

    def nodes(self) -> Iterator[Node]:
        """Yield all nodes."""
        return iter(list(self._by_id.values()))

    # -- names ----------------------------------------------------------------------------------------------------

    def seen(self, folder: Node, name: bytes, found: os.stat_result) -> Node:
        """Return the node that stands at a name, counted once more."""
        key = (found.st_dev, found.st_ino)
        node = self._by_key.get(key)
        if node is None or (node.is_folder and not stat.S_ISDIR(found.st_mode)):
            node = Node(self._next_id, key, stat.S_ISDIR(found.st_mode))
            self._next_id += 1
            self._by_id[node.id] = self._by_key[key] = node
        node.lookups += 1
        self.add_name(folder, name, node)
        return node

    def add_name(self, folder: Node, name: bytes, node: Node) -> None:
        """Note that a node stands at a name; a folder stands at one only."""
        there = folder.entries.get(name)
        if there is node:
            return
        if there is not None:
            self.drop_name(folder, name)
        if node.is_folder:
            for other_folder, other in list(node.names):
                self.drop_name(other_folder, other)
        node.names[folder, name] = None
        folder.entries[name] = node

    def drop_name(self, folder: Node, name: bytes) -> Node | None:
        """Note that nothing stands at a name any more; return the node that did, if it was known."""
        node = folder.entries.pop(name, None)
        if node is not None:
            del node.names[folder, name]
            self._moved(node)
            self._let_go(folder)
        return node

    def dies(self, node: Node) -> None:
        """Note that a node's last name is gone: its inode's number may be another's soon."""
        if self._by_key.get(node.key) is node:
            del self._by_key[node.key]
        self._close_folder(node)

    def rename(self, folder: Node, name: bytes, new_folder: Node, new_name: bytes, exchange: bool) -> None:
        """Note that a name has moved, over what stood there or in exchange with it."""
        there = self.drop_name(new_folder, new_name)
        node = self.drop_name(folder, name)
        if node is not None:
            self.add_name(new_folder, new_name, node)
        if there is not None and exchange:
            self.add_name(folder, name, there)

    def forget(self, number: int, count: int) -> None:
        """Note that the kernel has forgotten `count` look-ups of a node."""
        node = self._by_id.get(number)
        if node is not None and node is not self.top:
            node.lookups -= count
            self._let_go(node)

    def _let_go(self, node: Node) -> None:
        """Drop a node that nobody needs, then the folders above it that were kept for its path."""
        todo = [node]
        while todo:
            node = todo.pop()
            if node.lookups > 0 or node.entries or node is self.top or node.id not in self._by_id:
                continue
            del self._by_id[node.id]
            self.dies(node)
            for folder, name in node.names:
                del folder.entries[name]
                todo.append(folder)
            node.names.clear()

    # -- places ---------------------------------------------------------------------------------------------------

    def path(self, node: Node) -> RelPath | None:
        """Return the path of a node by one of its names, None when it has none."""
        if node.path is not None and node.path_turn == self._turn:
            return node.path
        names: list[bytes] = []
        here = node
        while here is not self.top:
            place = next(iter(here.names), None)
            if place is None:
                return None
            here = place[0]
            names.append(place[1])
        node.path, node.path_turn = RelPath(b"/".join(reversed(names))), self._turn
        return node.path

    def _moved(self, node: Node) -> None:
        node.path = None
        if node.is_folder and node.entries:
            self._turn += 1

    def folder(self, node: Node) -> int:
        """Return a descriptor of a folder, valid until 200 others were asked for; raise `OSError`."""
        if node is self.top:
            return self.root
        found = self._folders.get(node)
        if found is not None:
            self._folders.move_to_end(node)
            return found
        if node.files:  # open, and perhaps without a name
            return node.files[0]
        missing: list[bytes] = []
        here = node
        while here is not self.top and here not in self._folders:
            place = next(iter(here.names), None)
            if place is None:
                raise FileNotFoundError(2, "removed")
            here = place[0]
            missing.append(place[1])
        descriptor = self._folders.get(here, self.root)
        passed = -1
        for name in reversed(missing):
            try:
                descriptor = os.open(name, _FOLDER, dir_fd=descriptor)
            finally:
                if passed >= 0:
                    os.close(passed)
            passed = descriptor
        self._folders[node] = descriptor
        if len(self._folders) > _OPEN_FOLDERS:
            os.close(self._folders.popitem(last=False)[1])
        return descriptor

    def place(self, node: Node) -> tuple[int, bytes]:
        """Return (descriptor of a folder, name in it) by which a node can be reached; raise `FileNotFoundError`."""
        place = next(iter(node.names), None)
        if place is None:
            raise FileNotFoundError(2, "removed")
        return self.folder(place[0]), place[1]

    def state(self, node: Node) -> os.stat_result:
        """Return how a node is now; raise `OSError`."""
        if node is self.top:
            return os.fstat(self.root)
        if node.files:
            return os.fstat(node.files[0])
        folder, name = self.place(node)
        return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def reach(self, node: Node) -> int | bytes:
        """Return a descriptor, or a path whose last link is not to be followed, for calls that take no open folder."""
        if node is self.top:
            return self.root
        if node.files:
            return node.files[0]
        folder, name = self.place(node)
        return b"/proc/self/fd/%d/%s" % (folder, name)

    def _close_folder(self, node: Node) -> None:
        descriptor = self._folders.pop(node, None)
        if descriptor is not None:
            os.close(descriptor)
