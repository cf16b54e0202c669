"""Reading chunks by their addresses: wrong bytes are never given out. Nothing here changes a file.

A location that was looked up may be old when it is read: the record was repacked and its pack is gone. So what cannot be
read is looked up once more, and is lost only when it stands there too.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping

from core.digest import Digest
from core.errors import Damaged
from snapshots.delta import unpack_delta
from snapshots.index_db import ChunkLookup
from snapshots.pack_format import Location, PackDamaged, PackedRecord
from snapshots.pack_reader import PackReader
from staging.chunk_format import ChunkDamaged, ChunkKind, address_of, unpack_chunk

_DEEPEST = 4
"""Bases are stored whole, so one is below a delta; more are read as long as they end, less deep than this."""


class ChunkLost(Damaged):
    """A chunk that something names is not in the store, or its bytes are wrong."""

    def __init__(self, message: str, digest: Digest) -> None:
        super().__init__(message, remedy="restore the pack from a copy, or let the branch send the file again")
        self.digest = digest


class ChunkReader:
    """Index and packs of a store. Any thread may call."""

    def __init__(self, index: ChunkLookup, packs: PackReader, on_damage: Callable[[Digest], None]) -> None:
        """Bind index and packs; `on_damage` hears of every record that turns out to be wrong."""
        self._index, self._packs, self._on_damage = index, packs, on_damage

    def read(self, kind: ChunkKind, digest: Digest) -> bytes | memoryview:
        """Return a chunk's checked bytes; raise `ChunkLost`."""
        return self._read(kind, digest, {})

    def node(self, digest: Digest) -> bytes | memoryview:
        """Return a recipe node's checked bytes; raise `ChunkLost`."""
        return self.read(ChunkKind.NODE, digest)

    def data(self, digest: Digest) -> bytes | memoryview:
        """Return a data chunk's checked bytes; raise `ChunkLost`."""
        return self.read(ChunkKind.DATA, digest)

    def readable_data(self, digests: Iterable[Digest]) -> dict[Digest, bytes | memoryview]:
        """Return the checked bytes of those data chunks that can be read, which are read in the order of the packs."""
        found: dict[Digest, bytes | memoryview] = {}
        asked = self._index.locations(set(digests))
        bases = {location.base for location in asked.values() if location.base is not None}
        located = asked | self._index.locations(bases - asked.keys())
        for digest, _ in sorted(asked.items(), key=lambda item: (item[1].pack, item[1].offset)):
            with contextlib.suppress(ChunkLost):
                found[digest] = self._read(ChunkKind.DATA, digest, located)
        return found

    def checked_record(self, location: Location, kind: ChunkKind, digest: Digest) -> PackedRecord:
        """Return the record at this very location once its bytes were compared with its address; raise `ChunkLost`."""
        return self._record_at(location, kind, digest, {})[0]

    def _read(self, kind: ChunkKind, digest: Digest, located: Mapping[Digest, Location], depth: int = 0) -> bytes | memoryview:
        """Return a chunk's checked bytes; `located` spares looking it and its base up, `depth` counts the deltas above it."""
        location = located.get(digest) or self._locate(digest)
        try:
            return self._record_at(location, kind, digest, located, depth)[1]
        except ChunkLost as error:
            there = self._locate(digest)
            if there != location:
                return self._record_at(there, kind, digest, {}, depth)[1]
            if error.digest == digest:  # not when it is its base that is lost
                self._on_damage(digest)  # from now on `missing` asks for it, and what comes takes the bad record's place
            raise

    def _locate(self, digest: Digest) -> Location:
        location = self._index.locations((digest,)).get(digest)
        if location is None:
            raise ChunkLost(f"chunk {digest.hex()} is not in the store", digest)
        return location

    def _record_at(
        self, location: Location, kind: ChunkKind, digest: Digest, located: Mapping[Digest, Location], depth: int = 0
    ) -> tuple[PackedRecord, bytes | memoryview]:
        """Return the record at a location and its checked bytes."""
        base = self._read_base(location.base, kind, digest, located, depth) if location.base is not None else None
        try:
            record = self._packs.read(location)
            chunk = record.chunk
            if (chunk.digest, chunk.kind, chunk.base) != (digest, kind, location.base):
                raise PackDamaged(f"another chunk stands there than {digest.hex()}")
            if base is not None:
                data: bytes | memoryview = unpack_delta(chunk, base)
            else:
                data = unpack_chunk(chunk.form, chunk.size, chunk.packed)
            if address_of(kind, data) != digest:
                raise PackDamaged("its bytes do not have its digest")
            return record, data
        except (ChunkDamaged, Damaged) as error:
            raise ChunkLost(
                f"chunk {digest.hex()} in pack {location.pack} at {location.offset}: {error.message}", digest
            ) from error

    def _read_base(
        self, base: Digest, kind: ChunkKind, digest: Digest, located: Mapping[Digest, Location], depth: int
    ) -> bytes | memoryview:
        if depth == _DEEPEST:
            raise ChunkLost(f"chunk {digest.hex()} is one of many deltas that stand on each other", digest)
        try:
            return self._read(kind, base, located, depth + 1)
        except ChunkLost as error:
            raise ChunkLost(f"chunk {digest.hex()} is a delta on another: {error.message}", base) from error
