"""The differences of two views found naively: both trees walked whole, every name and node compared."""

from dataclasses import dataclass, field

from snapshots.difference import Difference
from snapshots.tree import Node, TreeView

Place = tuple[int, bytes]
Row = tuple[str, bytes | None, bytes | None]
"""(what, path before, path after)"""


@dataclass
class Walked:
    """A whole tree: the node and the path of every name, the names of every node."""

    nodes: dict[int, Node] = field(default_factory=dict)
    names: dict[Place, int] = field(default_factory=dict)
    paths: dict[Place, bytes] = field(default_factory=dict)
    places: dict[int, list[Place]] = field(default_factory=dict)


def walked(view: TreeView) -> Walked:
    found = Walked()
    by_path: dict[bytes, int] = {}
    for path, node in view.walk(b""):  # type: ignore[arg-type]
        folder, _, name = path.rpartition(b"/")
        place = (by_path[folder], name) if path else (0, b"")
        by_path[path] = node.id
        found.nodes[node.id] = node
        found.names[place] = node.id
        found.paths[place] = path
        found.places.setdefault(node.id, []).append(place)
    return found


def naive_differences(before: TreeView, after: TreeView) -> set[Row]:
    a, b = walked(before), walked(after)
    places = _as_of_before(a, b)
    rows: set[Row] = set()
    for place, node in b.names.items():
        twin = _twin(a, b, places[place], node)
        if node not in a.nodes and twin is None:
            rows.add(("added", None, b.paths[place]))
        elif node not in a.nodes:
            rows |= _compared(a.nodes[twin], b.nodes[node], a.paths[places[place]], b.paths[place])  # type: ignore[index]
    taken = {places[place] for place, node in b.names.items() if _twin(a, b, places[place], node) is not None}
    rows |= {("removed", a.paths[p], None) for p, node in a.names.items() if node not in b.nodes and p not in taken}
    for node in a.nodes.keys() & b.nodes.keys():
        rows |= _of_node(a, b, node, places)
    return rows


def _as_of_before(a: Walked, b: Walked) -> dict[Place, Place]:
    """Return the later names with the folders that stood in their folders' places before."""
    same = {0: 0}
    places: dict[Place, Place] = {}
    for place, node in b.names.items():  # folders come before what is in them
        places[place] = (same[place[0]], place[1])
        twin = _twin(a, b, places[place], node)
        same[node] = node if node in a.nodes or twin is None else twin
    return places


def _twin(a: Walked, b: Walked, place: Place, node: int) -> int | None:
    twin = a.names.get(place)
    if twin is None or twin in b.nodes or node in a.nodes or a.nodes[twin].kind is not b.nodes[node].kind:
        return None
    return twin


def _of_node(a: Walked, b: Walked, node: int, places: dict[Place, Place]) -> set[Row]:
    was, now = set(a.places[node]), {places[place]: place for place in b.places[node]}
    gone, come = sorted(was - now.keys()), sorted(now.keys() - was)
    rows: set[Row] = {("renamed", a.paths[g], b.paths[now[c]]) for g, c in zip(gone, come, strict=False)}
    rows |= {("added", None, b.paths[now[c]]) for c in come[len(gone) :]}
    rows |= {("removed", a.paths[g], None) for g in gone[len(come) :]}
    kept = next((place for place in sorted(b.places[node]) if places[place] in was), min(b.places[node]))
    old = places[kept] if places[kept] in was else min(was)
    return rows | _compared(a.nodes[node], b.nodes[node], a.paths[old], b.paths[kept])


def _compared(old: Node, new: Node, path_before: bytes, path: bytes) -> set[Row]:
    def content(node: Node) -> tuple[object, ...]:
        return (node.kind, node.size_bytes, node.content, node.target, node.device)

    if content(old) != content(new):
        return {("changed", path_before, path)}
    return {("attributes", path_before, path)} if old.attributes != new.attributes else set()


def unexplained(rows: list[Difference], old: dict[bytes, tuple[object, ...]], new: dict[bytes, tuple[object, ...]]) -> set[bytes]:
    """Return the paths that are not alike in both listings although no difference at or above them says so."""
    moved = {path for row in rows if row.what in ("added", "removed", "renamed") for path in (row.before, row.after) if path}
    touched = moved | {path for row in rows for path in (row.before, row.after) if path is not None}
    touched |= {path for path in new if new[path][4] in {new[other][4] for other in touched if other in new}}  # hard links
    odd = {path for path in old.keys() | new.keys() if old.get(path, ())[:4] != new.get(path, ())[:4]}
    return {path for path in odd if path not in touched and not any(path.startswith(m + b"/") for m in moved)}
