"""What a backup of the appliance's own files is made of, byte by byte (docs/formats/backup.md).

A backup is a head, a chunk of kind 3 with the magic "SKB1", and a body, an ordinary content of encrypted frames. Frames of
1 MiB are sealed with ChaCha20-Poly1305 under a data key of their own; a frame's number and whether it is the last one are
its nonce, so that frames cut off, left out or exchanged do not open. The log in ROOT/backup names the heads that are kept.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from msgspec import Meta, Struct

from core.errors import Damaged
from staging.changes import ContentRef, DigestBytes

HEAD_MAGIC = b"SKB1"
LOG_MAGIC = b"SKBL"
VERSION = 1
FRAME_BYTES = 1024 * 1024
TAG_BYTES = 16
LOG_HEAD, ADDED, DROPPED = 1, 2, 3

_NONCE = struct.Struct(">3xQ?")
_LOG_HEAD = struct.Struct("<4sHH16s")


class BackupDamaged(Damaged):
    """A backup, or the log of backups, holds bytes that do not check."""


class BackupHead(Struct, frozen=True, array_like=True):
    """Which backup this is, for which key, and where its body is."""

    version: int
    store_id: Annotated[bytes, Meta(min_length=16, max_length=16)]
    number: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    taken_ns: int
    key_id: Annotated[bytes, Meta(min_length=8, max_length=8)]
    ephemeral: Annotated[bytes, Meta(min_length=32, max_length=32)]
    wrapped: Annotated[bytes, Meta(min_length=48, max_length=48)]
    body: ContentRef


class Kept(Struct, frozen=True, array_like=True):
    """What the log says of a backup that is kept."""

    number: int
    head: DigestBytes
    taken_ns: int
    key_id: bytes
    body: ContentRef

    @property
    def size_bytes(self) -> int:
        """Return the length of the encrypted body."""
        return self.body.size if self.body is not None else 0


_encoder = msgspec.msgpack.Encoder()
_heads = msgspec.msgpack.Decoder(BackupHead)
_kept = msgspec.msgpack.Decoder(Kept)
_numbers = msgspec.msgpack.Decoder(int)


def about(store_id: bytes, number: int, taken_ns: int, key_id: bytes) -> bytes:
    """Return what is authenticated together with a wrapped data key."""
    return HEAD_MAGIC + _encoder.encode((VERSION, store_id, number, taken_ns, key_id))


def encode_head(head: BackupHead) -> bytes:
    """Return a head's bytes."""
    return HEAD_MAGIC + _encoder.encode(head)


def decode_head(data: bytes | memoryview) -> BackupHead:
    """Read a head; raise `BackupDamaged`."""
    view = memoryview(data)
    if view[:4] != HEAD_MAGIC:
        raise BackupDamaged("bytes that should be the head of a backup are none")
    try:
        head = _heads.decode(view[4:])
    except msgspec.MsgspecError as error:
        raise BackupDamaged(f"the head of a backup cannot be read: {error}") from error
    if head.version != VERSION:
        raise BackupDamaged(f"a backup has format {head.version}, newer than this release", remedy="upgrade the appliance")
    return head


def seal_frames(blocks: Iterable[bytes], data_key: bytes) -> Iterator[bytes]:
    """Encrypt a stream of at least one byte; the data key must be used for nothing else."""
    cipher = ChaCha20Poly1305(data_key)
    for number, (frame, is_last) in enumerate(_cut(blocks, FRAME_BYTES)):
        yield cipher.encrypt(_NONCE.pack(number, is_last), frame, HEAD_MAGIC)


def open_frames(blocks: Iterable[bytes], data_key: bytes) -> Iterator[bytes]:
    """Decrypt what `seal_frames` gave, however it is cut; raise `BackupDamaged` at the first frame that does not check."""
    cipher = ChaCha20Poly1305(data_key)
    for number, (frame, is_last) in enumerate(_cut(blocks, FRAME_BYTES + TAG_BYTES)):
        try:
            yield cipher.decrypt(_NONCE.pack(number, is_last), frame, HEAD_MAGIC)
        except InvalidTag as error:
            raise BackupDamaged(f"frame {number} of the backup does not check", remedy="restore an older backup") from error


def _cut(blocks: Iterable[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """Yield (piece, whether it is the last): all have the size but the last, which may be shorter."""
    pending = bytearray()
    for block in blocks:
        pending += block
        while len(pending) > size:
            yield bytes(pending[:size]), False
            del pending[:size]
    yield bytes(pending), True


def encode_log_head(store_id: bytes) -> bytes:
    """Return the payload of a log's first record."""
    return _LOG_HEAD.pack(LOG_MAGIC, VERSION, 0, store_id)


def check_log_head(payload: bytes, store_id: bytes) -> None:
    """Raise `BackupDamaged` when this is not the head of this store's log."""
    if len(payload) != _LOG_HEAD.size or payload[:4] != LOG_MAGIC:
        raise BackupDamaged("the log of backups has no head")
    _, version, _, found = _LOG_HEAD.unpack(payload)
    if version != VERSION:
        raise BackupDamaged(f"the log of backups has format {version}, newer than this release", remedy="upgrade the appliance")
    if found != store_id:
        raise BackupDamaged("the log of backups is another store's", remedy="put the right file back")


def encode_kept(kept: Kept) -> bytes:
    """Return the payload of an `ADDED` record."""
    return _encoder.encode(kept)


def decode_kept(payload: bytes) -> Kept:
    """Read an `ADDED` record; raise `BackupDamaged`."""
    try:
        return _kept.decode(payload)
    except msgspec.MsgspecError as error:
        raise BackupDamaged(f"an entry in the log of backups cannot be read: {error}") from error


def encode_number(number: int) -> bytes:
    """Return the payload of a `DROPPED` record."""
    return _encoder.encode(number)


def decode_number(payload: bytes) -> int:
    """Read a `DROPPED` record; raise `BackupDamaged`."""
    try:
        return _numbers.decode(payload)
    except msgspec.MsgspecError as error:
        raise BackupDamaged(f"an entry in the log of backups cannot be read: {error}") from error
