"""Chunks on their way: how put, missing and the outbox spell kind, digest and packed bytes.

A piece of content travels and rests packed: form 0 = as it is, form 1 = one zstd frame. Layout of one put item (little
endian), see docs/formats/chunks.md: u8 kind, u8 form, u16 zero, u32 length unpacked, u32 length packed, 32 bytes digest,
32 bytes digest of the chunk that it replaces (zeros: none), packed bytes. A `missing` question and its answer are lists
of u8 kind + 32 bytes digest.
"""

import struct
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import zstandard

from core.digest import DIGEST_BYTES, ZERO_DIGEST, Digest, derived_digest, digest_of
from core.errors import Refused

MAX_CHUNK_BYTES = 256 * 1024  # the cutter's maximum; recipe nodes stay below it by their entry limit
NODE_CONTEXT = "stagekeeper 2026 recipe node v1"
SEAL_CONTEXT = "stagekeeper 2026 seal v1"

_ITEM = struct.Struct("<BBHII32s32s")
ITEM_HEADER_BYTES = _ITEM.size
KEY_BYTES = 1 + DIGEST_BYTES
_MIN_GAIN = 64  # packing that saves less is not worth unpacking later


class ChunkDamaged(Refused):
    """The bytes of a chunk do not match its digest or length."""


class ChunkKind(IntEnum):
    """Which address space a digest belongs to."""

    DATA = 1
    NODE = 2
    SEAL = 3  # the appliance's own; never on the wire


class Form(IntEnum):
    """How the bytes of a chunk are packed."""

    RAW = 0
    ZSTD = 1


@dataclass(frozen=True, slots=True)
class PackedChunk:
    """A chunk with its packed bytes, checked or not as the producer says."""

    kind: ChunkKind
    digest: Digest
    form: Form
    size: int
    data: bytes | memoryview
    replaces: Digest = ZERO_DIGEST


DEFAULT_LEVEL = (
    3  # the lowest at which a change of 150 bytes in 80 KiB, packed against the old bytes, takes 180 bytes and not 5000
)


class _Packers(threading.local):
    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=8 * 1024 * 1024)

    def compressor(self, level: int) -> zstandard.ZstdCompressor:
        """Return this thread's compressor of a level."""
        found = self.compressors.get(level)
        if found is None:
            found = zstandard.ZstdCompressor(level=level, write_checksum=False, write_content_size=True)
            self.compressors[level] = found
        return found


_packers = _Packers()


def address_of(kind: ChunkKind, data: bytes | memoryview) -> Digest:
    """Return the address of a chunk's unpacked bytes."""
    return digest_of(data) if kind is ChunkKind.DATA else derived_digest(_CONTEXTS[kind], data)


def pack_chunk(
    kind: ChunkKind,
    data: bytes | memoryview,
    digest: Digest | None = None,
    replaces: Digest = ZERO_DIGEST,
    level: int = DEFAULT_LEVEL,
) -> PackedChunk:
    """Pack a chunk's bytes with a zstd level, raw when zstd does not help."""
    address = digest or address_of(kind, data)
    packed = bytes(memoryview(_packers.compressor(level).compress(data)))  # a copy: zstandard's keeps room for the worst case
    if len(packed) + _MIN_GAIN > len(data):
        return PackedChunk(kind, address, Form.RAW, len(data), data, replaces)
    return PackedChunk(kind, address, Form.ZSTD, len(data), packed, replaces)


def unpack_chunk(form: int, size: int, data: bytes | memoryview) -> bytes | memoryview:
    """Return the unpacked bytes; raise `ChunkDamaged` when they do not have the length promised."""
    if form == Form.RAW:
        unpacked: bytes | memoryview = data
    elif form == Form.ZSTD and 0 < size <= MAX_CHUNK_BYTES:
        try:
            if zstandard.frame_content_size(data) != size:
                raise ChunkDamaged("a chunk does not have the length it claims", remedy="send it again")
            unpacked = _packers.decompressor.decompress(data, max_output_size=size, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise ChunkDamaged(f"a chunk cannot be unpacked: {error}", remedy="send it again") from error
    else:
        raise ChunkDamaged(f"a chunk of unknown form {form} or size {size}", remedy="upgrade this side or send it again")
    if len(unpacked) != size:
        raise ChunkDamaged(f"a chunk has {len(unpacked)} bytes instead of {size}", remedy="send it again")
    return unpacked


def pack_against(data: bytes | memoryview, base: bytes | memoryview) -> bytes:
    """Return `data` as one zstd frame with other bytes as its dictionary."""
    packer = zstandard.ZstdCompressor(level=DEFAULT_LEVEL, dict_data=_dictionary(base), write_checksum=False)
    return packer.compress(data)


def unpack_against(packed: bytes | memoryview, size: int, base: bytes | memoryview) -> bytes:
    """Return what `pack_against` packed; raise `ChunkDamaged` when it is not `size` bytes."""
    try:
        if not 0 < size <= MAX_CHUNK_BYTES or zstandard.frame_content_size(packed) != size:
            raise ChunkDamaged("a chunk does not have the length it claims", remedy="send it again")
        unpacker = zstandard.ZstdDecompressor(dict_data=_dictionary(base))
        return unpacker.decompress(packed, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ChunkDamaged(f"a chunk cannot be unpacked: {error}", remedy="send it again") from error


def _dictionary(base: bytes | memoryview) -> zstandard.ZstdCompressionDict:
    return zstandard.ZstdCompressionDict(bytes(base), dict_type=zstandard.DICT_TYPE_RAWCONTENT)


def checked_bytes(chunk: PackedChunk) -> bytes | memoryview:
    """Return the unpacked bytes of a chunk after comparing them with its address; raise `ChunkDamaged`."""
    data = unpack_chunk(chunk.form, chunk.size, chunk.data)
    if address_of(chunk.kind, data) != chunk.digest:
        raise ChunkDamaged(f"a chunk does not match its digest {chunk.digest.hex()}", remedy="send it again")
    return data


def item_parts(chunk: PackedChunk) -> tuple[bytes, bytes | memoryview]:
    """Return (header, packed bytes) of one put item."""
    head = _ITEM.pack(chunk.kind, chunk.form, 0, chunk.size, len(chunk.data), chunk.digest, chunk.replaces)
    return head, chunk.data


def read_items(body: bytes | memoryview) -> Iterator[PackedChunk]:
    """Yield the items of a put body (contents unchecked); raise `ChunkDamaged` when the body is cut short."""
    view = memoryview(body)
    offset = 0
    while offset < len(view):
        if len(view) - offset < ITEM_HEADER_BYTES:
            raise ChunkDamaged("the list of chunks is cut short", remedy="send it again")
        kind, form, _, size, packed_bytes, digest, replaces = _ITEM.unpack_from(view, offset)
        offset += ITEM_HEADER_BYTES
        if kind not in _KINDS or form not in _FORMS or not 0 < size <= MAX_CHUNK_BYTES or packed_bytes > len(view) - offset:
            raise ChunkDamaged("a chunk's header is out of bounds", remedy="send it again")
        data = view[offset : offset + packed_bytes]
        offset += packed_bytes
        yield PackedChunk(_KINDS[kind], Digest(digest), _FORMS[form], size, data, Digest(replaces))


def encode_keys(keys: Iterable[tuple[ChunkKind, Digest]]) -> bytes:
    """Encode the question or the answer of `missing`."""
    return b"".join(bytes((kind,)) + digest for kind, digest in keys)


def decode_keys(body: bytes) -> list[tuple[ChunkKind, Digest]]:
    """Decode the question or the answer of `missing`; raise `ChunkDamaged`."""
    if len(body) % KEY_BYTES or not set(body[::KEY_BYTES]) <= _KINDS.keys():
        raise ChunkDamaged("not a list of chunk addresses", remedy="send kind and digest of each, 33 bytes")
    return [(_KINDS[body[i]], Digest(body[i + 1 : i + KEY_BYTES])) for i in range(0, len(body), KEY_BYTES)]


_CONTEXTS = {ChunkKind.NODE: NODE_CONTEXT, ChunkKind.SEAL: SEAL_CONTEXT}
_KINDS = {int(kind): kind for kind in (ChunkKind.DATA, ChunkKind.NODE)}
_FORMS = {int(form): form for form in Form}
