"""Which files, in which snapshots, a damaged chunk is part of."""

from bisect import bisect_left
from collections.abc import Iterator

from msgspec import Struct

from core.digest import Digest
from core.errors import Damaged
from core.relpath import RelPath, show_path
from snapshots import damage_db
from snapshots.chunk_store import ChunkStore
from snapshots.ledger_db import SnapshotRow
from snapshots.named_db import NamedState, states_with_contents
from snapshots.schema_db import LIVE, ROOT_NODE
from snapshots.view_db import CatalogueReader
from staging.chunk_format import ChunkKind
from staging.recipe_format import decode_node

_REMEMBERED_NODES = 500_000


class Hit(Struct, frozen=True):
    """A file that cannot be read whole: where it stood, in which snapshots, and whether it is the live one."""

    share: str
    path: str
    snapshots: list[int]
    live: bool


def hits(readers: list[CatalogueReader], store: ChunkStore, digests: set[Digest]) -> Iterator[Hit]:
    """Yield every file of which any of the chunks, or a delta on one, is part. Reads every catalogue through."""
    if not digests:
        return
    below = _Below(store, digests | damage_db.deltas_on(store.parts.index, digests))
    for reader in readers:
        shots = reader.ledger.snapshots(deleted=True)
        for page in states_with_contents(reader.query):
            for state in page:
                if below.hit(state.kind, state.digest):
                    yield from _of_state(reader, shots, state)


def live_files(reader: CatalogueReader, store: ChunkStore, digests: set[Digest]) -> Iterator[RelPath]:
    """Yield the paths of files whose present content any of the chunks, or a delta on one, is part of."""
    below = _Below(store, digests | damage_db.deltas_on(store.parts.index, digests))
    for page in states_with_contents(reader.query):
        for state in page:
            if state.died == LIVE and below.hit(state.kind, state.digest):
                yield from (path for path, _, until in _paths(reader, state) if until == LIVE)


class _Below:
    """Tells whether a content holds any of some chunks; what is known of recipe nodes is remembered."""

    def __init__(self, store: ChunkStore, digests: set[Digest]) -> None:
        self._store, self._digests = store, digests
        self._known: dict[Digest, bool] = {}

    def hit(self, kind: ChunkKind, digest: Digest) -> bool:
        if digest in self._digests:
            return True
        if kind is not ChunkKind.NODE:
            return False
        found = self._known.get(digest)
        if found is None:
            found = self._look(digest)
            if len(self._known) >= _REMEMBERED_NODES:
                self._known.clear()
            self._known[digest] = found
        return found

    def _look(self, node: Digest) -> bool:
        try:
            level, pieces = decode_node(self._store.node(node))
        except Damaged:
            return True
        kind = ChunkKind.NODE if level else ChunkKind.DATA
        return any(self.hit(kind, piece.digest) for piece in pieces if level or not piece.is_hole)


def _of_state(reader: CatalogueReader, shots: list[SnapshotRow], state: NamedState) -> Iterator[Hit]:
    sequences = [row.sequence for row in shots]
    for path, born, died in _paths(reader, state):
        first, last = bisect_left(sequences, born), bisect_left(sequences, died)
        ids = [row.id for row in shots[first:last]]
        if ids or died == LIVE:
            yield Hit(reader.share, show_path(path), ids, died == LIVE)


def _paths(reader: CatalogueReader, state: NamedState) -> Iterator[tuple[RelPath, int, int]]:
    """Yield (path, from, until) for every path that a state was to be found at: folders above it may be renamed too."""
    pending = [(state.node, b"", state.born, state.died)]
    while pending:
        node, below, since, until = pending.pop()
        if node == ROOT_NODE:
            yield RelPath(below), since, until
            continue
        for parent, name, born, died in reader.names_of(node):
            if max(since, born) < min(until, died):
                path = name + b"/" + below if below else name
                pending.append((parent, path, max(since, born), min(until, died)))
