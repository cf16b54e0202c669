"""What stands in a pack, byte by byte (docs/formats/pack.md).

A pack is a list of records of core.framing: first its head (magic "SKP1", u16 version, u16 zero, 16 bytes store id, u64 pack
number), then chunks, and when the pack is sealed a trailer with the index of all chunks and a footer that tells where the
trailer stands. A chunk record: u8 kind, u8 form, u8 cipher (0), u8 zero, u32 unpacked size, 8 bytes of the owner's domain,
32 bytes digest, packed bytes. Version 2 knows a third form, the delta, whose packed bytes begin with its base's digest.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from core.digest import DIGEST_BYTES, Digest, digest_of
from core.errors import Damaged
from core.framing import HEADER_BYTES, record_parts
from staging.chunk_format import ChunkKind, Form, PackedChunk

MAGIC = b"SKP1"
VERSION = 2
_WITHOUT_DELTAS = 1
HEAD, CHUNK, TRAILER, FOOTER = 1, 2, 3, 4
DOMAIN_BYTES = 8
DELTA = 2  # the form that only packs know, beside staging's raw and zstd

_HEAD = struct.Struct("<4sHH16sQ")
_CHUNK = struct.Struct("<BBBBI8s32s")
_TRAILER_ENTRY = struct.Struct("<QIIBBBB8s32s")
_COUNT = struct.Struct("<Q")
_FOOTER = struct.Struct("<QQ")
CHUNK_HEADER_BYTES = _CHUNK.size
FOOTER_RECORD_BYTES = HEADER_BYTES + _FOOTER.size


class PackDamaged(Damaged):
    """A pack holds bytes that do not check."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where a chunk's record stands: pack number, offset of the record, length of its packed bytes; a delta names its base."""

    pack: int
    offset: int
    stored_bytes: int
    size: int
    base: Digest | None = None

    @property
    def record_bytes(self) -> int:
        """Return the length of the whole record."""
        return HEADER_BYTES + CHUNK_HEADER_BYTES + self.stored_bytes

    @property
    def end(self) -> int:
        """Return the offset behind the record."""
        return self.offset + self.record_bytes


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk as a pack holds it. `packed` begins with the base's digest when it is a delta."""

    kind: ChunkKind
    digest: Digest
    form: int
    size: int
    packed: bytes | memoryview

    @property
    def base(self) -> Digest | None:
        """Return the chunk that a delta differs from."""
        return Digest(bytes(self.packed[:DIGEST_BYTES])) if self.form == DELTA else None

    @property
    def delta(self) -> bytes | memoryview:
        """Return a delta's bytes behind its base."""
        return self.packed[DIGEST_BYTES:]


def whole(chunk: PackedChunk) -> StoredChunk:
    """Return a chunk as it came, to be stored so."""
    return StoredChunk(chunk.kind, chunk.digest, chunk.form, chunk.size, chunk.data)


@dataclass(frozen=True, slots=True)
class PackedRecord:
    """A chunk record read back."""

    chunk: StoredChunk
    domain: bytes


def domain_key(domain: str) -> bytes:
    """Return the eight bytes that stand for a dedup domain in packs and in the index."""
    return digest_of(domain.encode())[:DOMAIN_BYTES]


def encode_head(store_id: bytes, number: int) -> bytes:
    """Return a pack's head."""
    return _HEAD.pack(MAGIC, VERSION, 0, store_id, number)


def check_head(payload: bytes, store_id: bytes, number: int) -> int:
    """Return the version of that pack of this store; raise `PackDamaged` when this is not its head."""
    if payload[:4] != MAGIC or len(payload) != _HEAD.size:
        raise PackDamaged(f"pack {number} has no pack head")
    _, version, _, found_store, found_number = _HEAD.unpack(payload)
    if not _WITHOUT_DELTAS <= version <= VERSION:
        raise PackDamaged(f"pack {number} has format {version}, newer than this release", remedy="upgrade the appliance")
    if found_store != store_id or found_number != number:
        raise PackDamaged(f"pack {number} is another store's or pack's file", remedy="put the right file back")
    return int(version)


def chunk_record(chunk: StoredChunk, domain: bytes) -> list[bytes | memoryview]:
    """Encode a chunk record as buffers."""
    head = _CHUNK.pack(chunk.kind, chunk.form, 0, 0, chunk.size, domain, chunk.digest)
    return record_parts(CHUNK, head, chunk.packed)


def decode_chunk(payload: bytes | memoryview) -> PackedRecord:
    """Decode a chunk record's payload; raise `PackDamaged`."""
    if len(payload) < _CHUNK.size:
        raise PackDamaged("a chunk record is shorter than its header")
    kind, form, cipher, zero, size, domain, digest = _CHUNK.unpack_from(payload)
    packed = memoryview(payload)[_CHUNK.size :]
    if cipher or zero or kind not in _KINDS or form not in _FORMS:
        raise PackDamaged("a chunk record has a kind, form or cipher that this release does not know")
    if form == DELTA and len(packed) <= DIGEST_BYTES:
        raise PackDamaged("a delta record is shorter than its base's digest")
    return PackedRecord(StoredChunk(_KINDS[kind], Digest(digest), form, size, packed), domain)


@dataclass(frozen=True, slots=True)
class TrailerEntry:
    """One chunk of a sealed pack."""

    location: Location
    kind: int
    domain: bytes
    digest: Digest


def encode_trailer(entries: list[TrailerEntry]) -> bytes:
    """Return the index of a sealed pack: count, entries, the bases of the deltas among them."""
    parts = [_COUNT.pack(len(entries))]
    for e in entries:
        place, form = e.location, DELTA if e.location.base else 0
        parts.append(_TRAILER_ENTRY.pack(place.offset, place.stored_bytes, place.size, e.kind, form, 0, 0, e.domain, e.digest))
    return b"".join([*parts, *(e.location.base for e in entries if e.location.base)])


def decode_trailer(payload: bytes, number: int, version: int) -> list[TrailerEntry]:
    """Return the entries of a sealed pack's index."""
    return list(trailer_entries(payload, number, version))


def trailer_entries(payload: bytes, number: int, version: int) -> Iterator[TrailerEntry]:
    """Yield the entries of a sealed pack's index, checked as a whole before the first: a pack may hold half a million."""
    start, count = (0, len(payload) // _TRAILER_ENTRY.size) if version == _WITHOUT_DELTAS else (_COUNT.size, _count_in(payload))
    bases_start = start + count * _TRAILER_ENTRY.size
    if len(payload) < bases_start:
        raise PackDamaged(f"the trailer of pack {number} has a wrong length")
    rows = memoryview(payload)[start:bases_start]
    bases = (Digest(payload[at : at + DIGEST_BYTES]) for at in range(bases_start, len(payload), DIGEST_BYTES))
    if len(payload) - bases_start != DIGEST_BYTES * sum(row[4] == DELTA for row in _TRAILER_ENTRY.iter_unpack(rows)):
        raise PackDamaged(f"the trailer of pack {number} has a wrong length")
    for offset, stored, size, kind, form, _, _, domain, d in _TRAILER_ENTRY.iter_unpack(rows):
        yield TrailerEntry(
            Location(number, offset, stored, size, next(bases) if form == DELTA else None), kind, domain, Digest(d)
        )


def _count_in(payload: bytes) -> int:
    return int(_COUNT.unpack_from(payload)[0]) if len(payload) >= _COUNT.size else 0


def encode_footer(trailer_offset: int, count: int) -> bytes:
    """Return the last record's payload."""
    return _FOOTER.pack(trailer_offset, count)


def decode_footer(payload: bytes) -> tuple[int, int]:
    """Return (offset of the trailer, count of chunks)."""
    trailer_offset, count = _FOOTER.unpack(payload)
    return trailer_offset, count


_KINDS = {int(kind): kind for kind in ChunkKind}
_FORMS = frozenset((*Form, DELTA))
