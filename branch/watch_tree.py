"""Which path each watch stands for, through renames: a tree of names, since a watch follows its folder."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.relpath import ROOT, RelPath, join


@dataclass(slots=True, eq=False)
class _Node:
    parent: _Node | None
    name: bytes
    watch: int | None = None
    children: dict[bytes, _Node] = field(default_factory=dict)


class WatchTree:
    """Watches by path; used under its owner's lock."""

    def __init__(self) -> None:
        """Begin without watches."""
        self._root = _Node(None, b"")
        self._nodes: dict[int, _Node] = {}
        self._paths: dict[int, RelPath] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def place(self, path: RelPath, watch: int) -> None:
        """Take note that a watch stands for a path, wherever it stood before."""
        before = self._nodes.get(watch)
        if before is not None:
            if self.path_of(watch) == path:
                return
            before.watch = None
        node = self._node(path)
        if node.watch is not None and node.watch != watch:
            self.forget(node.watch)
        node.watch = watch
        self._nodes[watch] = node
        self._paths.pop(watch, None)

    def path_of(self, watch: int) -> RelPath | None:
        """Return the path that a watch stands for now, None when it was forgotten."""
        path = self._paths.get(watch)
        if path is None:
            node = self._nodes.get(watch)
            if node is None:
                return None
            names: list[bytes] = []
            while node.parent is not None:
                names.append(node.name)
                node = node.parent
            path = self._paths[watch] = RelPath(b"/".join(reversed(names)))
        return path

    def move(self, folder: RelPath, name: bytes, new_folder: RelPath, new_name: bytes) -> bool:
        """Take note that a folder was renamed; return False when the new place is taken, so that nothing is certain."""
        node = self._find(join(folder, name))
        if node is None or node.parent is None:
            return True
        above = self._node(new_folder)
        if new_name in above.children:
            return False
        del node.parent.children[node.name]
        node.parent, node.name = above, new_name
        above.children[new_name] = node
        self._paths.clear()
        return True

    def detach(self, path: RelPath) -> list[int]:
        """Forget a folder and all below it; return their watches."""
        node = self._find(path)
        if node is None or node.parent is None:
            return []
        del node.parent.children[node.name]
        watches: list[int] = []
        todo = [node]
        while todo:
            node = todo.pop()
            todo.extend(node.children.values())
            if node.watch is not None:
                watches.append(node.watch)
                self.forget(node.watch)
        return watches

    def forget(self, watch: int) -> None:
        """Forget a watch that has ended."""
        node = self._nodes.pop(watch, None)
        self._paths.pop(watch, None)
        if node is not None:
            node.watch = None
            while node.parent is not None and not node.children and node.watch is None:
                node.parent.children.pop(node.name, None)
                node = node.parent

    def _node(self, path: RelPath) -> _Node:
        node = self._root
        for name in path.split(b"/") if path != ROOT else ():
            child = node.children.get(name)
            if child is None:
                child = node.children[name] = _Node(node, name)
            node = child
        return node

    def _find(self, path: RelPath) -> _Node | None:
        node = self._root
        for name in path.split(b"/") if path != ROOT else ():
            child = node.children.get(name)
            if child is None:
                return None
            node = child
        return node
