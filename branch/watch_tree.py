"""Which path each watch stands for, through renames: a tree of names, since a watch follows its folder."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.relpath import ROOT, RelPath


@dataclass(slots=True, eq=False)
class Node:
    """A folder in the tree; `parent` is None for the root, and for what was taken out."""

    parent: Node | None
    name: bytes
    watch: int | None = None
    children: dict[bytes, Node] = field(default_factory=dict)


class WatchTree:
    """Watches by path; used under its owner's lock."""

    def __init__(self) -> None:
        """Begin without watches."""
        self._root = Node(None, b"")
        self._nodes: dict[int, Node] = {}
        self._paths: dict[int, RelPath] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def place(self, path: RelPath, watch: int) -> None:
        """Take note that a watch stands for a path, wherever it stood before."""
        node = self._node(path)
        before = self._nodes.get(watch)
        if before is node:
            return
        if node.watch is not None:  # of a folder that stood here before
            self._nodes.pop(node.watch)
            self._paths.pop(node.watch, None)
        node.watch = watch
        self._nodes[watch] = node
        self._paths.pop(watch, None)
        if before is not None:
            before.watch = None
            _prune(before)

    def path_of(self, watch: int) -> RelPath | None:
        """Return the path that a watch stands for now; None when it was forgotten, or stands in what was taken out."""
        path = self._paths.get(watch)
        if path is not None:
            return path
        node = self._nodes.get(watch)
        names: list[bytes] = []
        while node is not None and node.parent is not None:
            names.append(node.name)
            node = node.parent
        if node is not self._root:
            return None
        path = self._paths[watch] = RelPath(b"/".join(reversed(names)))
        return path

    def take_out(self, path: RelPath) -> Node | None:
        """Take a folder out of the tree, with all below it: it was moved, nobody knows where to yet."""
        node = self._root
        for name in path.split(b"/"):
            found = node.children.get(name)
            if found is None:
                return None
            node = found
        assert node.parent is not None
        del node.parent.children[node.name]
        _prune(node.parent)
        node.parent = None
        self._paths.clear()
        return node

    def put_in(self, node: Node, folder: RelPath, name: bytes) -> None:
        """Put a folder in that was taken out. One that was found in its new place before is left as it was found there."""
        above = self._node(folder)
        there = above.children.get(name)
        if there is not None and node.watch is None:
            self.discard(node)
            return
        if there is not None:
            self.discard(there)
        node.parent, node.name = above, name
        above.children[name] = node

    def discard(self, node: Node) -> list[int]:
        """Forget all watches of a folder and below it; return them."""
        watches: list[int] = []
        todo = [node]
        while todo:
            node = todo.pop()
            todo.extend(node.children.values())
            if node.watch is not None:
                watches.append(node.watch)
                self._nodes.pop(node.watch)
                self._paths.pop(node.watch, None)
                node.watch = None
        return watches

    def forget(self, watch: int) -> None:
        """Forget a watch that has ended."""
        node = self._nodes.pop(watch, None)
        self._paths.pop(watch, None)
        if node is not None:
            node.watch = None
            _prune(node)

    def _node(self, path: RelPath) -> Node:
        node = self._root
        for name in path.split(b"/") if path != ROOT else ():
            child = node.children.get(name)
            if child is None:
                child = node.children[name] = Node(node, name)
            node = child
        return node


def _prune(node: Node) -> None:
    """Remove what stands for no watch and leads to none."""
    while node.parent is not None and node.watch is None and not node.children:
        above = node.parent
        if above.children.get(node.name) is node:
            del above.children[node.name]
        node = above
