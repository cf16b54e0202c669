"""The content-addressed store: puts chunks into packs and gives them back checked.

Order of a put: records appended → pack synced → index committed → return. A crash in between leaves records that the next
open indexes. A read is always compared with its address: wrong bytes are never given out.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from core.digest import Digest
from core.durable import OS_FILES, FileLayer
from core.errors import Damaged
from snapshots.index_db import ChunkIndex
from snapshots.pack_format import Location, TrailerEntry, domain_key
from snapshots.packs import PackDirectory
from staging.changes import MAX_SIZE
from staging.chunk_format import ChunkDamaged, ChunkKind, PackedChunk, checked_bytes
from staging.receiver import ChunkMissing, Key
from staging.recipe_format import RecipeDamaged, decode_node


class ChunkLost(Damaged):
    """A chunk that something names is not in the store, or its bytes are wrong."""

    def __init__(self, message: str, digest: Digest) -> None:
        super().__init__(message, remedy="restore the pack from a copy, or let the branch send the file again")
        self.digest = digest


NodeSpan = tuple[int, int, int]
"""(level, bytes below, pieces below) of a recipe node; a data chunk stands one level below the lowest."""

DATA_LEVEL = -1
MAX_PIECES = 2**24  # a terabyte in average chunks; the fold holds the list of an edited file in memory
_REMEMBERED_SPANS = 50_000  # about 6 MB


class NodeSpans:
    """How much stands below stored recipe nodes, remembered. Any thread may ask."""

    def __init__(self, fetch_node: Callable[[Digest], bytes | memoryview]) -> None:
        self._fetch_node = fetch_node
        self._known: dict[Digest, NodeSpan] = {}

    def of(self, digest: Digest) -> NodeSpan:
        """Return a node's span; raise `ChunkLost`, or `RecipeDamaged` for a chunk that is no node."""
        found = self._known.get(digest)
        if found is None:
            level, pieces = decode_node(self._fetch_node(digest))
            below = {piece.digest: self.of(piece.digest)[2] for piece in pieces} if level else {}
            found = (level, sum(piece.length for piece in pieces), sum(below.get(piece.digest, 1) for piece in pieces))
            if len(self._known) >= _REMEMBERED_SPANS:
                self._known.clear()
            self._known[digest] = found
        return found


class ChunkStore:
    """One store, open. Any thread may call."""

    def __init__(self, packs: Path, index: Path, store_id: bytes, files: FileLayer = OS_FILES) -> None:
        """Open or make the store and index what a crash left unindexed."""
        self._lock = threading.Lock()
        self._packs = PackDirectory(packs, store_id, files)
        self._index = ChunkIndex(index)
        self._spans = NodeSpans(self.node)
        self._lost: set[Digest] = set()
        self._recover()

    @property
    def dropped_bytes(self) -> int:
        """Return how many bytes of a torn tail were cut at open."""
        return self._packs.dropped_bytes

    def missing(self, domain: str, keys: Iterable[Key]) -> list[Key]:
        """Return those keys that the domain does not hold or that are not stored; a foreign chunk looks like an unknown one."""
        asked = list(dict.fromkeys(keys))
        held: set[Key] = set()
        for kind in ChunkKind:
            digests = [digest for asked_kind, digest in asked if asked_kind is kind]
            held.update((kind, digest) for digest in self._index.held(domain_key(domain), kind, digests))
        present = self._sound({digest for _, digest in held})
        return [key for key in asked if key not in held or key[1] not in present]

    def put(self, domain: str, chunks: Iterable[PackedChunk]) -> None:
        """Check chunks against their addresses and keep them; durable on return.

        A recipe node is kept only when everything it names is held by the domain (or comes before it in `chunks`).
        Raises `ChunkDamaged` for wrong bytes and `ChunkMissing` for a node that names what was not put.
        """
        key = domain_key(domain)
        checked = {(chunk.kind, chunk.digest): chunk for chunk in self._checked(key, chunks)}
        if checked:
            self._keep(key, checked)

    def put_own(self, domain: str, chunks: list[PackedChunk]) -> None:
        """Keep chunks that this process cut and addressed itself; durable on return."""
        if chunks:
            self._keep(domain_key(domain), {(chunk.kind, chunk.digest): chunk for chunk in chunks})

    def sizes(self, keys: Iterable[Key]) -> dict[Key, int]:
        """Return the length of each data chunk, or of everything below a recipe node; raise `ChunkLost`."""
        asked = list(keys)
        lengths = self._index.known({digest for kind, digest in asked if kind is ChunkKind.DATA})
        found: dict[Key, int] = {}
        for kind, digest in asked:
            if kind is ChunkKind.NODE:
                found[kind, digest] = self._spans.of(digest)[1]
            elif digest in lengths:
                found[kind, digest] = lengths[digest]
            else:
                raise ChunkLost(f"chunk {digest.hex()} is not in the store", digest)
        return found

    @contextlib.contextmanager
    def gate(self) -> Iterator[None]:
        """Hold removal off while references are checked and journaled (nothing is removed in this release)."""
        yield

    def read(self, kind: ChunkKind, digest: Digest) -> bytes | memoryview:
        """Return a chunk's checked bytes; raise `ChunkLost`."""
        location = self._index.locations((digest,)).get(digest)
        if location is None:
            raise ChunkLost(f"chunk {digest.hex()} is not in the store", digest)
        return self._read_at(location, kind, digest)

    def readable_data(self, digests: Iterable[Digest]) -> dict[Digest, bytes | memoryview]:
        """Return the checked bytes of those data chunks that can be read, which are read in the order of the packs."""
        found: dict[Digest, bytes | memoryview] = {}
        located = self._index.locations(set(digests))
        for digest, location in sorted(located.items(), key=lambda item: (item[1].pack, item[1].offset)):
            with contextlib.suppress(ChunkLost):
                found[digest] = self._read_at(location, ChunkKind.DATA, digest)
        return found

    def node(self, digest: Digest) -> bytes | memoryview:
        """Return a recipe node's checked bytes; raise `ChunkLost`."""
        return self.read(ChunkKind.NODE, digest)

    def data(self, digest: Digest) -> bytes | memoryview:
        """Return a data chunk's checked bytes; raise `ChunkLost`."""
        return self.read(ChunkKind.DATA, digest)

    def counts(self) -> tuple[int, int]:
        """Return (chunks, packs)."""
        return self._index.counts()

    def _read_at(self, location: Location, kind: ChunkKind, digest: Digest) -> bytes | memoryview:
        try:
            record = self._packs.read(location)
            if record.chunk.digest != digest or record.chunk.kind != kind:
                raise ChunkLost(f"pack {location.pack} holds another chunk at {location.offset} than {digest.hex()}", digest)
            return checked_bytes(record.chunk)
        except (ChunkDamaged, Damaged) as error:
            self._lost.add(digest)  # from now on `missing` asks for it, and what comes takes the place of the bad record
            raise ChunkLost(
                f"chunk {digest.hex()} in pack {location.pack} at {location.offset}: {error.message}", digest
            ) from error

    def truncate_logs(self) -> None:
        """Write the index's WAL back and cut it."""
        with self._lock:
            self._index.truncate_log()

    def close(self) -> None:
        """Close all files; may be called twice."""
        self._packs.close()
        self._index.close()

    def _checked(self, key: bytes, chunks: Iterable[PackedChunk]) -> Iterator[PackedChunk]:
        earlier: dict[Digest, NodeSpan] = {}
        for chunk in chunks:
            data = checked_bytes(chunk)
            if chunk.kind is ChunkKind.NODE:
                earlier[chunk.digest] = self._checked_node(key, chunk.digest, data, earlier)
            else:
                earlier[chunk.digest] = (DATA_LEVEL, chunk.size, 1)
            yield chunk

    def _checked_node(self, key: bytes, digest: Digest, data: bytes | memoryview, earlier: dict[Digest, NodeSpan]) -> NodeSpan:
        """Return a new node's span once everything that it names is held, of its level, and as long as it says."""
        try:
            level, pieces = decode_node(data)
        except RecipeDamaged as error:
            raise ChunkDamaged(f"recipe node {digest.hex()}: {error.message}", remedy="send it again") from error
        named = {piece.digest: piece.length for piece in pieces if level or not piece.is_hole}
        elsewhere = [child for child in named if child not in earlier]
        child_kind = ChunkKind.NODE if level else ChunkKind.DATA
        stored = self._sound(self._index.held(key, child_kind, elsewhere))
        absent = [child for child in elsewhere if child not in stored]
        if absent:
            raise ChunkMissing(
                f"recipe node {digest.hex()} names {len(absent)} chunks that were not put",
                remedy="put them before the node",
                missing=[f"{child_kind.value}:{child.hex()}" for child in absent[:1000]],
            )
        below: dict[Digest, int] = {}
        for child, length in named.items():
            found = earlier.get(child) or ((DATA_LEVEL, stored[child], 1) if level == 0 else self._spans.of(child))
            if found[:2] != (level - 1, length):
                raise ChunkDamaged(
                    f"recipe node {digest.hex()} gives {child.hex()} a wrong length or level", remedy="send it again"
                )
            below[child] = found[2]
        span = (level, sum(piece.length for piece in pieces), sum(below.get(piece.digest, 1) for piece in pieces))
        if span[1] > MAX_SIZE or span[2] > MAX_PIECES:
            raise ChunkDamaged(f"recipe node {digest.hex()} names {span[2]} pieces of {span[1]} bytes", remedy="split the file")
        return span

    def _keep(self, key: bytes, chunks: dict[Key, PackedChunk]) -> None:
        with self._lock:
            known = self._sound({digest for _, digest in chunks})
            new = [chunk for (_, digest), chunk in chunks.items() if digest not in known]
            entries: list[TrailerEntry] = []
            if new:
                entries = self._packs.append(new, key)
                self._packs.sync()
            healed = {entry.digest for entry in entries} & self._lost
            self._index.add(entries, [(key, kind, digest) for kind, digest in chunks], _ends(entries), healed)
            self._lost -= healed

    def _sound(self, digests: set[Digest]) -> dict[Digest, int]:
        """Return those of the digests that are stored and not known to be damaged, with the length of each."""
        stored = self._index.known(digests)
        return {digest: size for digest, size in stored.items() if digest not in self._lost}

    def _recover(self) -> None:
        """Index what stands behind the last commit: in the newest pack that the index knows, and in those after it."""
        indexed = self._index.indexed_bytes()
        self._packs.recover(indexed.get(self._packs.number, 0))
        newest = max(indexed, default=0)
        for number in self._packs.numbers():
            if number < newest:
                continue
            entries = self._packs.entries_from(number, indexed.get(number, 0))
            if entries:
                held = [(entry.domain, entry.kind, entry.digest) for entry in entries]
                self._index.add(entries, held, _ends(entries), set())


def _ends(entries: list[TrailerEntry]) -> dict[int, int]:
    ends: dict[int, int] = {}
    for entry in entries:
        ends[entry.location.pack] = max(ends.get(entry.location.pack, 0), entry.location.end)
    return ends
