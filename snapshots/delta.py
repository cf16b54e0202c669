"""Deltas: a chunk written as what differs from another one, its base, by zstd with the base as its dictionary.

A delta is worth it when it is much smaller than the packed chunk: reading one costs two look-ups and two reads. Its base is
always stored whole (depth 1). Deltas on one base grow with the edits since it was written, so their sum is bounded by the
base's own packed length: then the next chunk is stored whole and becomes the base of those that follow.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from core.digest import DIGEST_BYTES, Digest
from snapshots.pack_format import DELTA, StoredChunk
from staging.chunk_format import PackedChunk, pack_against, unpack_against, unpack_chunk

_WORTH = 2  # how many times smaller than the packed chunk a delta must be


@dataclass(slots=True)
class Base:
    """A chunk that deltas may be made on: its packed length, and how many bytes the deltas on it take."""

    digest: Digest
    stored_bytes: int
    delta_bytes: int

    def takes(self, length: int) -> bool:
        """Tell whether one more delta of this length is still less than storing the base anew."""
        return self.delta_bytes + length <= self.stored_bytes


ReadBase = Callable[[Digest], bytes | memoryview | None]


def pack_deltas(chunks: Iterable[PackedChunk], bases: Mapping[Digest, Base], read_base: ReadBase) -> dict[Digest, StoredChunk]:
    """Return those of the chunks that are worth being deltas on the base of what they replace."""
    found: dict[Digest, StoredChunk] = {}
    for chunk in chunks:
        base = bases.get(chunk.replaces)
        if base is None or base.digest == chunk.digest or not base.takes(DIGEST_BYTES):
            continue
        base_data = read_base(base.digest)
        if base_data is None:
            continue
        packed = base.digest + pack_against(unpack_chunk(chunk.form, chunk.size, chunk.data), base_data)
        if len(packed) * _WORTH <= len(chunk.data) and base.takes(len(packed)):
            base.delta_bytes += len(packed)
            found[chunk.digest] = StoredChunk(chunk.kind, chunk.digest, DELTA, chunk.size, packed)
    return found


def unpack_delta(chunk: StoredChunk, base_data: bytes | memoryview) -> bytes:
    """Return a delta's unpacked bytes, not yet compared with its digest; raise `ChunkDamaged`."""
    return unpack_against(chunk.delta, chunk.size, base_data)
