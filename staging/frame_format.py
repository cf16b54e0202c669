"""Frames: consecutive changes encoded together. The same bytes travel, stand in the journal and in the outbox.

Layout (little endian), see docs/formats/frame.md:
magic "SKF1", u16 format version, u16 flags (0), u64 epoch, u64 first sequence, u32 count of changes,
u32 length of the body, u32 length of the body unpacked, 32 bytes frame hash; body = one zstd frame of the
msgpack array [paths, changes]. The hash covers share id, header, the previous frame's hash and the body.
"""

import struct
import threading
from dataclasses import dataclass
from typing import Annotated

import msgspec
import zstandard
from msgspec import Meta, Struct

from core.digest import DIGEST_BYTES, Digest, derived_digest
from core.errors import Refused
from core.relpath import MAX_PATH_BYTES, RelPath, parse_path
from staging.changes import Change

MAGIC = b"SKF1"
VERSION = 1
MAX_CHANGES = 65_536  # keeps the fold's unit of work and a frame's path table small
MAX_UNPACKED_BYTES = 8 * 1024 * 1024  # bounds memory per session; a frame is sealed long before
MAX_BODY_BYTES = MAX_UNPACKED_BYTES + 64 * 1024  # zstd may add a little to what does not shrink
MAX_SEQUENCE = 2**62
HASH_CONTEXT = "stagekeeper 2026 frame v1"

_HEADER = struct.Struct("<4sHHQQIII")
HEADER_BYTES = _HEADER.size + DIGEST_BYTES


class FrameDamaged(Refused):
    """Bytes that claim to be a frame are none, or do not match their hash."""


class FrameTooNew(Refused):
    """The frame was written by a newer release."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """What a frame says about itself before its body is unpacked."""

    epoch: int
    first_sequence: int
    count: int
    body_bytes: int
    unpacked_bytes: int
    hash: Digest

    @property
    def last_sequence(self) -> int:
        """Return the number of the frame's last change."""
        return self.first_sequence + self.count - 1

    @property
    def frame_bytes(self) -> int:
        """Return the length of header and body together."""
        return HEADER_BYTES + self.body_bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame unpacked: numbered changes and the paths that they name by index."""

    header: FrameHeader
    paths: tuple[RelPath, ...]
    changes: tuple[Change, ...]


class _Body(Struct, array_like=True, forbid_unknown_fields=True):
    paths: Annotated[tuple[Annotated[bytes, Meta(max_length=MAX_PATH_BYTES)], ...], Meta(max_length=2 * MAX_CHANGES)]
    changes: Annotated[tuple[Change, ...], Meta(min_length=1, max_length=MAX_CHANGES)]


class _Codecs(threading.local):
    """One of each per thread: zstandard contexts shared between threads crash the process."""

    def __init__(self) -> None:
        self.encoder = msgspec.msgpack.Encoder()
        self.decoder = msgspec.msgpack.Decoder(_Body)
        self.compressor = zstandard.ZstdCompressor(level=3, write_checksum=False, write_content_size=True)
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_UNPACKED_BYTES)


_codecs = _Codecs()


def encode_body(paths: list[bytes], changes: list[Change]) -> tuple[bytes, int]:
    """Return (packed body, unpacked length)."""
    unpacked = _codecs.encoder.encode(_Body(tuple(paths), tuple(changes)))
    if len(unpacked) > MAX_UNPACKED_BYTES:
        raise ValueError(f"frame body of {len(unpacked)} bytes is over {MAX_UNPACKED_BYTES}")
    return _codecs.compressor.compress(unpacked), len(unpacked)


def seal_frame(
    share_id: bytes, epoch: int, first_sequence: int, previous: Digest, paths: list[bytes], changes: list[Change]
) -> bytes:
    """Encode one frame that follows the frame with hash `previous`."""
    body, unpacked_bytes = encode_body(paths, changes)
    fixed = _HEADER.pack(MAGIC, VERSION, 0, epoch, first_sequence, len(changes), len(body), unpacked_bytes)
    return b"".join((fixed, frame_hash(share_id, fixed, previous, body), body))


def frame_hash(share_id: bytes, fixed_header: bytes | memoryview, previous: Digest, body: bytes | memoryview) -> Digest:
    """Return the hash that chains a frame to its share and its predecessor."""
    return derived_digest(HASH_CONTEXT, share_id, fixed_header, previous, body)


def read_header(data: bytes | memoryview, offset: int = 0) -> FrameHeader:
    """Read and bound-check the header at `offset`; raise `FrameDamaged` or `FrameTooNew`."""
    if len(data) - offset < HEADER_BYTES:
        raise FrameDamaged(f"frame header cut short: {len(data) - offset} of {HEADER_BYTES} bytes", remedy="send it again")
    magic, version, flags, epoch, first, count, body_bytes, unpacked_bytes = _HEADER.unpack_from(data, offset)
    if magic != MAGIC:
        raise FrameDamaged("not a frame: wrong magic", remedy="send it again")
    if version != VERSION or flags:
        raise FrameTooNew(f"frame format {version} (flags {flags}) is not known here", remedy="upgrade this side")
    if not (1 <= count <= MAX_CHANGES and 1 <= first <= MAX_SEQUENCE and 1 <= epoch <= MAX_SEQUENCE):
        raise FrameDamaged(f"frame numbers out of bounds: epoch {epoch}, first {first}, count {count}", remedy="send it again")
    if not (1 <= body_bytes <= MAX_BODY_BYTES and 1 <= unpacked_bytes <= MAX_UNPACKED_BYTES):
        raise FrameDamaged(f"frame lengths out of bounds: {body_bytes} packed, {unpacked_bytes} unpacked", remedy="send it again")
    hash_offset = offset + _HEADER.size
    hash_bytes = Digest(bytes(data[hash_offset : hash_offset + DIGEST_BYTES]))
    return FrameHeader(epoch, first, count, body_bytes, unpacked_bytes, hash_bytes)


def check_frame(data: bytes | memoryview, share_id: bytes, previous: Digest) -> FrameHeader:
    """Check that `data` is exactly one frame that follows `previous`; raise `FrameDamaged` otherwise."""
    header = read_header(data)
    if len(data) != header.frame_bytes:
        raise FrameDamaged(f"frame has {len(data)} bytes instead of {header.frame_bytes}", remedy="send it again")
    view = memoryview(data)
    if frame_hash(share_id, view[: _HEADER.size], previous, view[HEADER_BYTES:]) != header.hash:
        raise FrameDamaged(
            f"frame {header.first_sequence} does not match its hash, or follows another frame than the one held here",
            remedy="open the session again, which names a fork, then send it again",
        )
    return header


def unpack_frame(data: bytes | memoryview, header: FrameHeader | None = None) -> Frame:
    """Unpack a frame (whose hash is checked elsewhere) into checked paths and changes; raise `FrameDamaged`."""
    header = header or read_header(data)
    body = memoryview(data)[HEADER_BYTES : header.frame_bytes]
    try:
        if zstandard.frame_content_size(body) != header.unpacked_bytes:
            raise FrameDamaged("frame body does not have the length it claims", remedy="send it again")
        unpacked = _codecs.decompressor.decompress(body, max_output_size=header.unpacked_bytes, allow_extra_data=False)
        content = _codecs.decoder.decode(unpacked)
    except (zstandard.ZstdError, msgspec.DecodeError, UnicodeDecodeError) as error:  # the last: a label that is no UTF-8
        raise FrameDamaged(f"frame body cannot be read: {error}", remedy="send it again") from error
    if len(content.changes) != header.count:
        raise FrameDamaged(f"frame holds {len(content.changes)} changes instead of {header.count}", remedy="send it again")
    paths = tuple(parse_path(path) for path in content.paths)
    return Frame(header, paths, content.changes)
