"""The content-addressed store: puts chunks into packs and gives them back checked.

Order of a put: records appended → pack synced → index committed → return. A crash in between leaves records that the next
open indexes. A chunk that replaces another is kept as a delta when that is worth it. A read is always compared with its
address: wrong bytes are never given out.
"""

import contextlib
import functools
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from core.clock import Clock, SystemClock
from core.digest import ZERO_DIGEST, Digest
from core.durable import OS_FILES, FileLayer
from core.errors import StagekeeperError
from snapshots import damage_db
from snapshots.chunk_reader import ChunkLost, ChunkReader
from snapshots.delta import Base, pack_deltas
from snapshots.gate import Gate
from snapshots.index_db import ChunkIndex
from snapshots.node_spans import DATA_LEVEL, NodeSpan, NodeSpans
from snapshots.pack_format import Location, StoredChunk, TrailerEntry, domain_key, whole
from snapshots.packs import PackDirectory
from snapshots.presence import Presence
from snapshots.touched import Touched
from staging.changes import MAX_SIZE
from staging.chunk_format import ChunkDamaged, ChunkKind, PackedChunk, checked_bytes
from staging.chunking import MIN_CHUNK_BYTES
from staging.receiver import ChunkMissing, Key
from staging.recipe_format import RecipeDamaged, decode_node

FREE_PIECES = 2**16  # so many pieces may stand below a node whatever their length
LEAST_AVERAGE_BYTES = MIN_CHUNK_BYTES // 2  # of more pieces; what the cutter makes is longer, bytes one by one are a bomb


@dataclass(frozen=True, slots=True)
class StoreParts:
    """What collect and scrub work on. Packs and index are changed under the lock only."""

    lock: threading.Lock
    index: ChunkIndex
    packs: PackDirectory
    reader: ChunkReader
    presence: Presence
    touched: Touched
    gate: Gate
    clock: Clock
    lost: set[Digest]


class ChunkStore:
    """One store, open. Any thread may call."""

    def __init__(
        self, packs: Path, index: Path, store_id: bytes, files: FileLayer = OS_FILES, clock: Clock | None = None
    ) -> None:
        """Open or make the store and index what a crash left unindexed."""
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._packs = PackDirectory(packs, store_id, files)
        self._index = ChunkIndex(index, self._clock.now_ns())
        self._reader = ChunkReader(self._index, self._packs, self._found_damaged)
        self._lost = damage_db.damaged(self._index)
        self._touched = Touched(self._clock)
        self._presence = Presence(self._index, self._lost, self._touched, self._reader.node)
        self._gate = Gate()
        self._spans = NodeSpans(self._reader.node)
        self.read, self.node, self.data = self._reader.read, self._reader.node, self._reader.data
        self.readable_data = self._reader.readable_data
        self._recover()

    @property
    def parts(self) -> StoreParts:
        """Return what collect and scrub work on."""
        return StoreParts(
            self._lock, self._index, self._packs, self._reader, self._presence,
            self._touched, self._gate, self._clock, self._lost,
        )  # fmt: skip

    @property
    def dropped_bytes(self) -> int:
        """Return how many bytes of a torn tail were cut at open."""
        return self._packs.dropped_bytes

    def missing(self, domain: str, keys: Iterable[Key]) -> list[Key]:
        """Return those keys that the domain does not hold or that are not stored; a foreign chunk looks like an unknown one.

        What is condemned counts as not stored, and so does a recipe node with anything below it that is not.
        """
        asked = list(dict.fromkeys(keys))
        with self._gate.entered():
            held: set[Key] = set()
            for kind in ChunkKind:
                digests = [digest for asked_kind, digest in asked if asked_kind is kind]
                held.update((kind, digest) for digest in self._index.held(domain_key(domain), kind, digests))
            sound = self._presence.sound({digest for _, digest in held})
            whole_nodes = self._presence.whole(digest for kind, digest in held if kind is ChunkKind.NODE and digest in sound)
        return [
            (kind, digest)
            for kind, digest in asked
            if (kind, digest) not in held or digest not in sound or (kind is ChunkKind.NODE and digest not in whole_nodes)
        ]

    def are_whole(self, keys: Iterable[Key]) -> bool:
        """Tell whether chunks, and everything below those that are recipe nodes, are stored and not known to be damaged."""
        asked = set(keys)
        with self._gate.entered():
            sound = self._presence.sound({digest for _, digest in asked})
            nodes = {digest for kind, digest in asked if kind is ChunkKind.NODE}
            return all(digest in sound for _, digest in asked) and self._presence.whole(nodes) == nodes

    def put(self, domain: str, chunks: Iterable[PackedChunk]) -> None:
        """Check chunks against their addresses and keep them; durable on return.

        A recipe node is kept only when everything it names is held by the domain (or comes before it in `chunks`).
        Raises `ChunkDamaged` for wrong bytes and `ChunkMissing` for a node that names what was not put.
        """
        key = domain_key(domain)
        with self._gate.entered():
            remember = self._presence.whole_put()
            checked = {(chunk.kind, chunk.digest): chunk for chunk in self._checked(key, chunks)}
            if checked:
                self._keep(key, checked)
                remember(digest for kind, digest in checked if kind is ChunkKind.NODE)

    def put_own(self, domain: str, chunks: list[PackedChunk]) -> None:
        """Keep chunks that this process cut and addressed itself; durable on return."""
        if chunks:
            with self._gate.entered():
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

    def gate(self) -> AbstractContextManager[None]:
        """Be inside while references are checked and written down: a mark begins only when all that were inside have left."""
        return self._gate.entered()

    def locations(self, digests: Iterable[Digest]) -> dict[Digest, Location]:
        """Return where each of the digests that are stored stands, and how many bytes it takes."""
        return self._index.locations(digests)

    def deltas_on(self, bases: Iterable[Digest]) -> dict[Digest, set[Digest]]:
        """Return the deltas on each of the bases; a base without any is left out."""
        return self._index.deltas_on(bases)

    def stored_bytes(self, domain: str) -> int:
        """Return the bytes of the records in packs that a domain was the first to put."""
        return self._index.record_bytes(domain_key(domain))

    def counts(self) -> tuple[int, int]:
        """Return (chunks, packs)."""
        return self._index.counts()

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
        stored = self._presence.sound(self._index.held(key, child_kind, elsewhere))
        if level:
            whole_ones = self._presence.whole(stored)
            stored = {child: location for child, location in stored.items() if child in whole_ones}
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
        asked = {digest for _, digest in chunks}
        with self._lock:
            self._touched.add(asked)
            bases = {delta.base for delta in deltas.values() if delta.base is not None}
            located = self._located_with_bases(asked | bases)
            self._touched.add(located)
            stored = {digest: located[digest] for digest in asked & located.keys()}
            new = [chunk for (_, digest), chunk in chunks.items() if not self._is_kept(digest, located)]
            entries: list[TrailerEntry] = []
            if new:
                whole_ones = stored.keys() | self._index.delta_bytes(deltas)  # heals, or is a base: stored whole
                forms = [self._form(chunk, deltas, whole_ones, located) for chunk in new]
                entries = self._packs.append(forms, key)
                self._packs.sync()
            healed = {entry.digest for entry in entries} & stored.keys()
            back = self._index.condemned(
                asked | _bases_of(located, stored) | {e.location.base for e in entries if e.location.base}
            )
            held = [(key, kind, digest) for kind, digest in chunks]
            self._index.add(entries, held, _ends(entries), self._clock.now_ns(), healed=healed, resurrected=back)
            self._lost -= healed

    def _located_with_bases(self, digests: set[Digest]) -> dict[Digest, Location]:
        located = self._index.locations(digests)
        return located | self._index.locations(_bases_of(located, located) - located.keys())

    def _is_kept(self, digest: Digest, located: dict[Digest, Location]) -> bool:
        """Tell whether a chunk's own record will do, be it condemned or not: it comes back with its base."""
        location = located.get(digest)
        if location is None or digest in self._lost:
            return False
        return location.base is None or (location.base in located and location.base not in self._lost)

    def _form(
        self, chunk: PackedChunk, deltas: dict[Digest, StoredChunk], whole_ones: set[Digest], located: dict[Digest, Location]
    ) -> StoredChunk:
        """Return a chunk as a delta when its base still stands there, whole."""
        delta = deltas.get(chunk.digest)
        if delta is None or delta.base is None or chunk.digest in whole_ones or delta.base in self._lost:
            return whole(chunk)
        base = located.get(delta.base)
        return delta if base is not None and base.base is None else whole(chunk)

    def _deltas(self, key: bytes, chunks: dict[Key, PackedChunk]) -> dict[Digest, StoredChunk]:
        """Return those of the chunks that are much smaller as deltas on what the domain holds in their place."""
        found: dict[Digest, StoredChunk] = {}
        for kind in ChunkKind:
            wanted = [chunk for chunk in chunks.values() if chunk.kind is kind and chunk.replaces != ZERO_DIGEST]
            if wanted:
                stored = self._presence.sound(chunk.digest for chunk in wanted)
                new = [chunk for chunk in wanted if chunk.digest not in stored]
                bases = self._bases(self._index.held(key, kind, {chunk.replaces for chunk in new}))
                found |= pack_deltas(new, bases, functools.partial(self._base_or_none, kind))
        return found

    def _bases(self, replaced: set[Digest]) -> dict[Digest, Base]:
        """Return for replaced chunks what may be their successors' base: they themselves, or what they are deltas on."""
        located = self._presence.sound(replaced)
        bases = {location.base or digest for digest, location in located.items()}
        whole_ones = located | self._presence.sound(bases - located.keys())
        taken = self._index.delta_bytes(bases)
        known = {digest: Base(digest, whole_ones[digest].stored_bytes, taken.get(digest, 0)) for digest in bases}
        return {digest: known[location.base or digest] for digest, location in located.items()}

    def _base_or_none(self, kind: ChunkKind, digest: Digest) -> bytes | memoryview | None:
        try:
            return self.read(kind, digest)
        except ChunkLost:
            return None

    def _found_damaged(self, digest: Digest) -> None:
        """Note a record that turned out to be wrong, so that the branch is asked for the chunk; also after a restart."""
        self._lost.add(digest)
        with contextlib.suppress(StagekeeperError), self._lock:  # the disk may be full: then scrub finds it again
            damage_db.add_damaged(self._index, [digest], self._clock.now_ns())

    def _recover(self) -> None:
        """Index what stands behind the last commit: in the newest pack that the index knows, and in those that it does not.

        Nothing is believed to be there because the index says so when its pack is gone or too short: an older copy of the index
        that was put in the place of a lost one names packs that were cleared since.
        """
        for number, end in self._index.packs_not_counted().items():
            with contextlib.suppress(FileNotFoundError):  # a pack that is gone takes nothing
                self._index.count_again([e for e in self._packs.entries_from(number, 0) if e.location.end <= end])
        indexed = self._index.indexed_bytes()
        self._packs.recover(indexed.get(self._packs.number, 0))
        newest = max(indexed, default=0)
        for number in self._packs.numbers():
            if number < newest and number in indexed:
                continue
            entries = self._packs.entries_from(number, indexed.get(number, 0))
            if entries:
                held = ((entry.domain, entry.kind, entry.digest) for entry in entries)
                self._index.add_found(entries, held, _ends(entries), self._clock.now_ns())
        self._packs.pass_number(newest)
        self._lost |= damage_db.note_unreachable(self._index, self._packs.sizes(), self._clock.now_ns())


def _bases_of(located: dict[Digest, Location], digests: Iterable[Digest]) -> set[Digest]:
    return {base for digest in digests if (base := located[digest].base) is not None}


def _ends(entries: list[TrailerEntry]) -> dict[int, int]:
    ends: dict[int, int] = {}
    for entry in entries:
        ends[entry.location.pack] = max(ends.get(entry.location.pack, 0), entry.location.end)
    return ends
