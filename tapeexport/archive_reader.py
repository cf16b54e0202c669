"""Reads cartridges back: what is on one, and whether every byte of it is what was written. Never writes.

A sound cartridge is proven in one pass: the reader makes the index and the check sums anew from the members that it
meets and compares their hashes with the files at the end, whose own headers follow from the label. Only when that
fails, further passes compare entry by entry and name what is harmed.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.errors import NotFound
from tapeexport.block_source import ArchiveDamaged, BlockSource
from tapeexport.cartridge_damage import Problem, name_damage
from tapeexport.cartridge_format import (
    INDEX_NAME,
    SUMS_NAME,
    IndexEnd,
    Label,
    encode_line,
    head_of,
    own_envelope_sha256,
    sums_line,
)
from tapeexport.cartridge_scan import NoCartridge, PathFinder, ScannedMember, read_label, scan_member
from tapeexport.pax_format import BLOCK_BYTES, RECORD_BYTES
from tapeexport.pax_reader import Member, PaxReader


class CartridgeMissing(NotFound):
    """There is no such cartridge file."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What re-reading a cartridge showed. Counts are those of a sound one, else 0 as far as they are not known."""

    label: Label | None
    members: int
    content_bytes: int
    size_bytes: int
    sha256: str
    problems: tuple[Problem, ...]

    @property
    def is_sound(self) -> bool:
        """Tell whether every byte is what was written."""
        return not self.problems

    def is_of(self, set_id: str) -> bool:
        """Tell whether this is a sound cartridge of the media set."""
        return self.is_sound and self.label is not None and self.label.set == set_id


class CartridgeReader:
    """A cartridge opened by `open_cartridge`: its label, then its members once, from front to back."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._reader = PaxReader(source)
        self._finder = PathFinder()
        self.label, self.label_bytes = read_label(self._reader)

    def members(self) -> Iterator[tuple[bytes, Member]]:
        """Yield (path, member); content that was not read is skipped."""
        while (member := self._reader.next_member()) is not None:
            path, _ = self._finder.find(member)
            yield path, member
            content_end = member.offset + len(member.envelope) + member.stored_bytes
            for _ in self._source.pieces(content_end - self._source.offset):
                pass
            self._reader.padding(member)

    def content(self, member: Member) -> Iterator[memoryview]:
        """Yield the content of the member that `members` yielded last, holes as zeros."""
        return self._reader.content(member)

    def scan(self) -> Iterator[ScannedMember]:
        """Yield every member with its content hashed; instead of `members`."""
        while (member := self._reader.next_member()) is not None:
            yield scan_member(self._source, self._reader, self._finder, member, self.label.sequence)


@contextmanager
def open_cartridge(path: Path) -> Iterator[CartridgeReader]:
    """Open a cartridge file for reading; raise `CartridgeMissing`, `NoCartridge` or `ArchiveDamaged`.

    The way in for whoever wants members and contents; in this release these are the tests, `verify_cartridge` reads all at once.
    """
    with _open_source(path, hashed=False) as source:
        yield CartridgeReader(source)


def verify_cartridge(path: Path) -> Verification:
    """Read all of a cartridge and compare every byte with its index; problems are returned, not raised.

    Raises `CartridgeMissing` and `CartridgeTooNew` only. The file is read from the medium, as far as the kernel lets go
    of cached pages.
    """
    with _open_source(path, hashed=True) as source:
        try:
            return _prove(source)
        except ArchiveDamaged as damage:
            first = Problem("", damage.what, damage.offset)
        except NoCartridge as error:
            first = Problem("", error.message, 0)
    return Verification(None, 0, 0, path.stat().st_size, "", (first, *name_damage(path)))


@contextmanager
def _open_source(path: Path, *, hashed: bool) -> Iterator[BlockSource]:
    if not path.is_file():
        raise CartridgeMissing(f"there is no cartridge file {path}", remedy="mount the medium, or name another file")
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        source = BlockSource(file, hashed=hashed)
        try:
            yield source
        finally:
            source.close()


def _prove(source: BlockSource) -> Verification:
    cartridge = CartridgeReader(source)
    label = cartridge.label
    index, sums = hashlib.sha256(), hashlib.sha256()
    index.update(encode_line(head_of(label, cartridge.label_bytes)))
    members = content_bytes = 0
    scanned = cartridge.scan()
    for found in scanned:
        if found.member.name == INDEX_NAME:
            break
        index.update(encode_line(found.entry))
        if found.entry.sha256:
            sums.update(sums_line(found.entry.sha256, found.member.name))
        if found.is_counted:
            members += 1
            content_bytes += found.entry.size_bytes
    else:
        raise ArchiveDamaged("the index is missing", source.offset)
    index.update(encode_line(IndexEnd(True, members, content_bytes)))
    _expect_own(label, found, INDEX_NAME, index.hexdigest())
    sums.update(sums_line(index.hexdigest(), INDEX_NAME))
    _expect_own(label, next(scanned, None), SUMS_NAME, sums.hexdigest())
    _expect_end(source, next(scanned, None))
    return Verification(label, members, content_bytes, source.offset, source.sha256(), ())


def _expect_own(label: Label, found: ScannedMember | None, name: bytes, sha256: str) -> None:
    shown = name.decode()
    if found is None or found.member.name != name:
        raise ArchiveDamaged(f"{shown} is missing", found.member.offset if found else 0)
    if found.entry.sha256 != sha256:
        raise ArchiveDamaged(f"{shown} and the members do not agree", found.member.offset)
    if found.entry.envelope_sha256 != own_envelope_sha256(label, name, found.entry.size_bytes):
        raise ArchiveDamaged(f"the header of {shown} is changed", found.member.offset)


def _expect_end(source: BlockSource, surplus: ScannedMember | None) -> None:
    # The scan ended with the first of two zero blocks; zeros up to a whole record follow, and nothing else.
    if surplus is not None:
        raise ArchiveDamaged("a member stands behind the check sums", surplus.member.offset)
    start = source.offset
    rest = source.take(BLOCK_BYTES)
    rest += source.take(-source.offset % RECORD_BYTES)
    if any(rest):
        raise ArchiveDamaged("the end of the archive is not zeros", start)
    if not source.at_end():
        raise ArchiveDamaged("something stands behind the end of the archive", source.offset)
