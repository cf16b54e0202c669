"""The inside of a backup: a list of files, then their bytes one after another, as one zlib stream (docs/formats/backup.md).

Writing and reading are streams: one block of a file is in memory at a time, whatever the files' sizes. A reader checks each
file against the size and digest that the list says.
"""

import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from appliance.backup_format import BackupDamaged
from core.digest import Hasher, digest_of
from core.errors import TryLater
from staging.changes import DigestBytes

VERSION = 1
BLOCK_BYTES = 1024 * 1024

_LENGTH_BYTES = 4
_MAX_LIST_BYTES = 4 * 1024 * 1024  # some 30 000 files; an audit log of a century has fewer segments
_LEVEL = 6
NAMES = re.compile(
    r"db/appliance\.db|db/inventory\.db|tls/[A-Za-z0-9][A-Za-z0-9._-]{0,63}|audit/\d{16}\.audit|stagekeeper\.toml|recovery-key\.pub"
)


class FileChanged(TryLater):
    """A file changed between two looks at it; the next backup finds it at rest."""


class Member(Struct, frozen=True, array_like=True):
    """One file: where it stands below the appliance's folder, how long it is, and the digest of its bytes."""

    name: str
    size: Annotated[int, Meta(ge=0)]
    digest: DigestBytes


class Contents(Struct, frozen=True, array_like=True):
    """What a backup holds, in the order of its bytes."""

    version: int
    store_id: bytes
    taken_ns: int
    members: list[Member]


@dataclass(frozen=True, slots=True)
class Source:
    """A file to take in: only its first `size` bytes, because a log may grow meanwhile."""

    name: str
    path: Path
    size: int


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Contents)


def list_members(sources: Iterable[Source]) -> list[Member]:
    """Return what stands in the files now, each read once."""
    members = []
    for source in sources:
        hasher = Hasher()
        for block in _blocks_of(source):
            hasher.update(block)
        members.append(Member(source.name, source.size, hasher.digest()))
    return members


def write_archive(contents: Contents, sources: Iterable[Source], report: Callable[[int], None]) -> Iterator[bytes]:
    """Yield the archive in blocks; raise `FileChanged` for a file that is not what was listed. `report` hears bytes done."""
    packer = zlib.compressobj(_LEVEL)
    listed = _encoder.encode(contents)
    done = 0
    yield packer.compress(len(listed).to_bytes(_LENGTH_BYTES, "little") + listed)
    for member, source in zip(contents.members, sources, strict=True):
        hasher = Hasher()
        for block in _blocks_of(source):
            hasher.update(block)
            yield packer.compress(block)
            done += len(block)
            report(done)
        if hasher.digest() != member.digest:
            raise FileChanged(f"{source.path} changed while it was backed up", remedy="run the backup again")
    yield packer.flush()


class ArchiveReader:
    """Reads an archive from its beginning to its end. Nothing that it gives may be used before its digest was right."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        """Read the list of files; raise `BackupDamaged`."""
        self._plain = _unpacked(blocks)
        self._pending = bytearray()
        length = int.from_bytes(self._take(_LENGTH_BYTES), "little")
        if length > _MAX_LIST_BYTES:
            raise BackupDamaged("a backup's list of files is too long")
        try:
            self.contents = _decoder.decode(self._take(length))
        except msgspec.MsgspecError as error:
            raise BackupDamaged(f"a backup's list of files cannot be read: {error}") from error
        if self.contents.version != VERSION:
            raise BackupDamaged("a backup's archive is of a newer release", remedy="upgrade the appliance")
        for member in self.contents.members:
            if not NAMES.fullmatch(member.name):
                raise BackupDamaged(f"a backup holds {member.name[:80]!r}, which is no file of an appliance")

    def files(self) -> Iterator[tuple[Member, Iterator[bytes]]]:
        """Yield each file with its bytes, which must be read before the next one; the last block is given after the check."""
        for member in self.contents.members:
            yield member, self._bytes_of(member)
        if self._pending or next(self._plain, None) is not None:
            raise BackupDamaged("a backup is longer than its list of files says")

    def _bytes_of(self, member: Member) -> Iterator[bytes]:
        hasher = Hasher()
        left = member.size
        while left:
            block = self._take(min(left, BLOCK_BYTES))
            left -= len(block)
            hasher.update(block)
            if not left and hasher.digest() != member.digest:
                raise BackupDamaged(f"{member.name} in the backup is not what its digest says")
            yield block
        if not member.size and member.digest != digest_of(b""):
            raise BackupDamaged(f"{member.name} in the backup is not what its digest says")

    def _take(self, size: int) -> bytes:
        while len(self._pending) < size:
            block = next(self._plain, None)
            if block is None:
                raise BackupDamaged("a backup ends before its last file does")
            self._pending += block
        taken = bytes(self._pending[:size])
        del self._pending[:size]
        return taken


def _unpacked(blocks: Iterable[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj()
    try:
        for block in blocks:
            rest = block
            while rest:
                plain = unpacker.decompress(rest, BLOCK_BYTES)
                rest = unpacker.unconsumed_tail
                if plain:
                    yield plain
        rest = unpacker.flush()
    except zlib.error as error:
        raise BackupDamaged(f"a backup cannot be unpacked: {error}") from error
    if rest:
        yield rest
    if not unpacker.eof or unpacker.unused_data:
        raise BackupDamaged("a backup's archive does not end where it should")


def _blocks_of(source: Source) -> Iterator[bytes]:
    left = source.size
    with source.path.open("rb") as file:
        while left:
            block = file.read(min(left, BLOCK_BYTES))
            if not block:
                raise FileChanged(f"{source.path} became shorter while it was backed up", remedy="run the backup again")
            left -= len(block)
            yield block
