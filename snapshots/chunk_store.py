"""The content-addressed store: puts chunks into packs and gives them back checked.

Order of a put: records appended → pack synced → index committed → return. A crash in between leaves records that the next
open indexes. A chunk that replaces another is kept as a delta when that is worth it. A read is always compared with its
address: wrong bytes are never given out.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from core.digest import ZERO_DIGEST, Digest
from core.durable import OS_FILES, FileLayer
from core.errors import Damaged
from snapshots.delta import Base, pack_deltas, unpack_delta
from snapshots.index_db import ChunkIndex
from snapshots.pack_format import Location, PackDamaged, StoredChunk, TrailerEntry, domain_key, whole
from snapshots.packs import PackDirectory
from staging.changes import MAX_SIZE
from staging.chunk_format import ChunkDamaged, ChunkKind, PackedChunk, address_of, checked_bytes, unpack_chunk
from staging.chunking import MIN_CHUNK_BYTES
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
FREE_PIECES = 2**16  # so many pieces may stand below a node whatever their length
LEAST_AVERAGE_BYTES = MIN_CHUNK_BYTES // 2  # of more pieces; what the cutter makes is longer, bytes one by one are a bomb
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
        located = self._index.locations({digest for kind, digest in asked if kind is ChunkKind.DATA})
        found: dict[Key, int] = {}
        for kind, digest in asked:
            if kind is ChunkKind.NODE:
                found[kind, digest] = self._spans.of(digest)[1]
            elif digest in located:
                found[kind, digest] = located[digest].size
            else:
                raise ChunkLost(f"chunk {digest.hex()} is not in the store", digest)
        return found

    def own_heads(self, domain: str) -> list[Digest]:
        """Return the chunks of the appliance's own that a domain holds, found again from the packs when all else is lost."""
        return self._index.all_held(domain_key(domain), ChunkKind.SEAL)

    @contextlib.contextmanager
    def gate(self) -> Iterator[None]:
        """Hold removal off while references are checked and journaled (nothing is removed in this release)."""
        yield

    def read(self, kind: ChunkKind, digest: Digest) -> bytes | memoryview:
        """Return a chunk's checked bytes; raise `ChunkLost`."""
        return self._read(kind, digest, {})

    def readable_data(self, digests: Iterable[Digest]) -> dict[Digest, bytes | memoryview]:
        """Return the checked bytes of those data chunks that can be read, which are read in the order of the packs."""
        found: dict[Digest, bytes | memoryview] = {}
        asked = self._index.locations(set(digests))
        bases = {location.base for location in asked.values() if location.base is not None}
        located = asked | self._index.locations(bases - asked.keys())
        for digest, location in sorted(asked.items(), key=lambda item: (item[1].pack, item[1].offset)):
            with contextlib.suppress(ChunkLost):
                found[digest] = self._read_at(location, ChunkKind.DATA, digest, located)
        return found

    def node(self, digest: Digest) -> bytes | memoryview:
        """Return a recipe node's checked bytes; raise `ChunkLost`."""
        return self.read(ChunkKind.NODE, digest)

    def data(self, digest: Digest) -> bytes | memoryview:
        """Return a data chunk's checked bytes; raise `ChunkLost`."""
        return self.read(ChunkKind.DATA, digest)

    def locations(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        """Return where each of the digests that are stored stands, and how many bytes it takes."""
        return self._index.locations(digests)

    def deltas_on(self, bases: Iterable[Digest]) -> dict[Digest, set[Digest]]:
        """Return the deltas on each of the bases; a base without any is left out."""
        return self._index.deltas_on(bases)

    def counts(self) -> tuple[int, int]:
        """Return (chunks, packs)."""
        return self._index.counts()

    def _read(self, kind: ChunkKind, digest: Digest, located: dict[Digest, Location]) -> bytes | memoryview:
        location = located.get(digest) or self._index.locations((digest,)).get(digest)
        if location is None:
            raise ChunkLost(f"chunk {digest.hex()} is not in the store", digest)
        return self._read_at(location, kind, digest, located)

    def _read_at(
        self, location: Location, kind: ChunkKind, digest: Digest, located: dict[Digest, Location]
    ) -> bytes | memoryview:
        """Return the checked bytes of the record at a location; `located` spares looking its base up."""
        base = self._read_base(location.base, kind, digest, located) if location.base is not None else None
        try:
            chunk = self._packs.read(location).chunk
            if (chunk.digest, chunk.kind, chunk.base) != (digest, kind, location.base):
                raise PackDamaged(f"another chunk stands there than {digest.hex()}")
            if base is not None:
                data: bytes | memoryview = unpack_delta(chunk, base)
            else:
                data = unpack_chunk(chunk.form, chunk.size, chunk.packed)
            if address_of(kind, data) != digest:
                raise PackDamaged("its bytes do not have its digest")
            return data
        except (ChunkDamaged, Damaged) as error:
            self._lost.add(digest)  # from now on `missing` asks for it, and what comes takes the place of the bad record
            raise ChunkLost(
                f"chunk {digest.hex()} in pack {location.pack} at {location.offset}: {error.message}", digest
            ) from error

    def _read_base(self, base: Digest, kind: ChunkKind, digest: Digest, located: dict[Digest, Location]) -> bytes | memoryview:
        try:
            return self._read(kind, base, located)
        except ChunkLost as error:
            raise ChunkLost(f"chunk {digest.hex()} is a delta on another: {error.message}", digest) from error

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
        named = {(piece.digest, piece.length) for piece in pieces if level or not piece.is_hole}
        elsewhere = list({child for child, _ in named if child not in earlier})
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
        for child, length in named:
            found = earlier.get(child) or ((DATA_LEVEL, stored[child].size, 1) if level == 0 else self._spans.of(child))
            if found[:2] != (level - 1, length):
                raise ChunkDamaged(
                    f"recipe node {digest.hex()} gives {child.hex()} a wrong length or level", remedy="send it again"
                )
            below[child] = found[2]
        span = (level, sum(piece.length for piece in pieces), sum(below.get(piece.digest, 1) for piece in pieces))
        if span[1] > MAX_SIZE or span[2] > max(FREE_PIECES, span[1] // LEAST_AVERAGE_BYTES):
            raise ChunkDamaged(f"recipe node {digest.hex()} names {span[2]} pieces of {span[1]} bytes", remedy="split the file")
        return span

    def _keep(self, key: bytes, chunks: dict[Key, PackedChunk]) -> None:
        deltas = self._deltas(key, chunks)
        with self._lock:
            stored = self._index.locations({digest for _, digest in chunks})
            new = [chunk for (_, digest), chunk in chunks.items() if not self._is_sound(digest, stored.get(digest))]
            entries: list[TrailerEntry] = []
            if new:
                whole_ones = stored.keys() | self._index.delta_bytes(deltas)  # heals, or is a base: stored whole
                entries = self._packs.append([self._form(chunk, deltas, whole_ones) for chunk in new], key)
                self._packs.sync()
            healed = {entry.digest for entry in entries} & stored.keys()
            self._index.add(entries, [(key, kind, digest) for kind, digest in chunks], _ends(entries), healed)
            self._lost -= healed

    def _form(self, chunk: PackedChunk, deltas: dict[Digest, StoredChunk], whole_ones: set[Digest]) -> StoredChunk:
        delta = deltas.get(chunk.digest)
        if delta is None or chunk.digest in whole_ones or delta.base in self._lost:
            return whole(chunk)
        return delta

    def _deltas(self, key: bytes, chunks: dict[Key, PackedChunk]) -> dict[Digest, StoredChunk]:
        """Return those of the chunks that are much smaller as deltas on what the domain holds in their place."""
        found: dict[Digest, StoredChunk] = {}
        for kind in ChunkKind:
            wanted = [chunk for chunk in chunks.values() if chunk.kind is kind and chunk.replaces != ZERO_DIGEST]
            if wanted:
                stored = self._sound(chunk.digest for chunk in wanted)
                new = [chunk for chunk in wanted if chunk.digest not in stored]
                bases = self._bases(self._index.held(key, kind, {chunk.replaces for chunk in new}))
                found |= pack_deltas(new, bases, functools.partial(self._base_or_none, kind))
        return found

    def _bases(self, replaced: set[Digest]) -> dict[Digest, Base]:
        """Return for replaced chunks what may be their successors' base: they themselves, or what they are deltas on."""
        located = self._sound(replaced)
        bases = {location.base or digest for digest, location in located.items()}
        whole_ones = located | self._sound(bases - located.keys())
        taken = self._index.delta_bytes(bases)
        known = {digest: Base(digest, whole_ones[digest].stored_bytes, taken.get(digest, 0)) for digest in bases}
        return {digest: known[location.base or digest] for digest, location in located.items()}

    def _base_or_none(self, kind: ChunkKind, digest: Digest) -> bytes | memoryview | None:
        try:
            return self.read(kind, digest)
        except ChunkLost:
            return None

    def _sound(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        """Return where those of the digests stand that are stored and not known to be damaged."""
        located = self._index.locations(set(digests))
        return {digest: location for digest, location in located.items() if self._is_sound(digest, location)}

    def _is_sound(self, digest: Digest, location: Location | None) -> bool:
        return location is not None and digest not in self._lost and location.base not in self._lost

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
                self._index.add_found(entries, held, _ends(entries))


def _ends(entries: list[TrailerEntry]) -> dict[int, int]:
    ends: dict[int, int] = {}
    for entry in entries:
        ends[entry.location.pack] = max(ends.get(entry.location.pack, 0), entry.location.end)
    return ends
