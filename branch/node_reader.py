"""Reading one node from the disk as it stands at one instant: kind, attributes, content.

A file that changes while it is read is read again a few times, then taken as it was read last and marked unsettled, so
that the next look reads it once more. The same holds for a file changed within the clock's coarseness of being read: a
second change could leave the same times behind.
"""

import contextlib
import os
import stat
from dataclasses import dataclass

from branch.attributes import AttributeReader, AttributesTooLarge, attributes_mark, mtime_of
from branch.contents import ChunkSink, ReadContent, Written, encode_content, read_content, whole_windows
from branch.folders import is_absence
from branch.known import UNSETTLED, KnownRow
from branch.pieces import NO_PIECES
from branch.ranges import read_ranges
from branch.signature import NOTHING_EARLIER, Earlier, NewSignature, SignatureWriter, Signing
from core.clock import Clock
from staging.changes import Attributes, ContentRef, Kind

READ_AGAIN = 2  # a file that changes during three readings changes all the time
_COARSE_NS = 20_000_000  # kernels stamp files by a clock that ticks every 1-10 ms
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_INODE_MASK = 2**63 - 1

KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.FOLDER,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFSOCK: Kind.SOCKET,
}


class Vanished(Exception):
    """What was seen at a name is no longer there, or another thing stands there now."""


class Unreadable(Exception):
    """A node cannot be read; the text says why. It is not treated as gone."""


@dataclass(slots=True)
class Reading:
    """A node as it was read; `row_content`, `pieces` and `signature` are for the memory.

    A file with `written` differs from its last content by just that; otherwise its content was handed on.
    """

    kind: Kind
    found: os.stat_result
    attributes: Attributes
    content: ContentRef
    target: bytes
    device: int
    row_content: bytes
    pieces: bytes
    is_settled: bool
    signature: NewSignature | None = None
    written: Written | None = None

    def row(self, folder: bytes, name: bytes) -> KnownRow:
        """Return the memory of this node at a path."""
        found = self.found
        ctime = found.st_ctime_ns if self.is_settled else UNSETTLED
        return KnownRow(
            folder, name, int(self.kind), inode_of(found), found.st_nlink, found.st_size, mtime_of(found), ctime,
            attributes_mark(self.attributes), self.row_content,
        )  # fmt: skip


def inode_of(found: os.stat_result) -> int:
    """Return the inode number, folded into what SQLite can hold."""
    return found.st_ino & _INODE_MASK


def kind_of(found: os.stat_result) -> Kind:
    """Return what kind of node a state is of."""
    return KINDS[stat.S_IFMT(found.st_mode)]


class NodeReader:
    """Reads nodes by name in an open folder."""

    def __init__(self, attributes: AttributeReader, sink: ChunkSink, clock: Clock, signing: Signing | None) -> None:
        """Hand contents to `sink`, and sign them if `signing` is given."""
        self._attributes, self._sink, self._clock, self._signing = attributes, sink, clock, signing
        self._signer = SignatureWriter(signing) if signing is not None else None
        self._flags = _FLAGS | os.O_NOATIME

    def read(self, folder: int, name: bytes, found: os.stat_result, earlier: Earlier = NOTHING_EARLIER) -> Reading:
        """Read the node seen as `found`; raise `Vanished` or `Unreadable`."""
        try:
            kind = kind_of(found)
            if kind is Kind.FILE:
                return self._file(folder, name, found, earlier)
            attributes = self._attributes.of_name(folder, name, found)
            target, device, row_content = b"", 0, b""
            if kind is Kind.SYMLINK:
                row_content = target = os.readlink(name, dir_fd=folder)
            elif kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
                device = found.st_rdev
                row_content = b"%d" % device
            settled = self._is_old(found)
            return Reading(kind, found, attributes, None, target, device, row_content, NO_PIECES, settled)
        except OSError as error:
            if is_absence(error):
                raise Vanished from error
            raise Unreadable(error.strerror or str(error)) from error
        except AttributesTooLarge as error:
            raise Unreadable(str(error)) from error

    def read_soon(self, folder: int, name: bytes) -> None:
        """Ask the kernel to bring a regular file's bytes into memory; it is read soon."""
        with contextlib.suppress(OSError):  # whoever reads it says what is wrong
            descriptor = self._open(folder, name)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(descriptor)

    def folder(self, descriptor: int, found: os.stat_result) -> Reading:
        """Read the attributes of an open folder; raise `Unreadable`."""
        try:
            attributes = self._attributes.of_descriptor(descriptor, found)
        except AttributesTooLarge as error:
            raise Unreadable(str(error)) from error
        return Reading(Kind.FOLDER, found, attributes, None, b"", 0, b"", NO_PIECES, self._is_old(found))

    def _file(self, folder: int, name: bytes, found: os.stat_result, earlier: Earlier) -> Reading:
        descriptor = self._open(folder, name)
        read = None
        try:
            before = found
            for _ in range(READ_AGAIN + 1):
                self._forget(read)
                read = self._content(descriptor, before, earlier)
                after = os.fstat(descriptor)
                if after.st_ino != found.st_ino:
                    raise Vanished
                stood_still = _same_state(before, after)
                if stood_still:
                    break
                before = after
            attributes = self._attributes.of_descriptor(descriptor, after)
        except (OSError, Vanished, AttributesTooLarge):
            self._forget(read)
            raise
        finally:
            os.close(descriptor)
        assert read is not None  # the loop runs at least once
        settled, content = stood_still and self._is_old(after), read.content
        return Reading(
            Kind.FILE, after, attributes, content, b"", 0, encode_content(content), read.pieces, settled,
            read.signature, read.written,
        )  # fmt: skip

    def _content(self, descriptor: int, found: os.stat_result, earlier: Earlier) -> ReadContent:
        """Read a file as ranges if it was signed and little has changed, by chunks otherwise."""
        if self._signing is not None and earlier.signature is not None and earlier.signature.serves(found.st_size):
            ranges = read_ranges(whole_windows(descriptor, found, self._sink), earlier, self._signing)
            if ranges is not None:
                return ranges
        return read_content(descriptor, found, self._sink, earlier, self._signer)

    def _forget(self, read: ReadContent | None) -> None:
        """Forget the pages of a reading that counts for nothing; those of ranges are the old ones, and stay."""
        if self._signer is None or self._signing is None:
            return
        self._signer.forget()
        if read is not None and read.signature is not None and read.written is None:
            self._signing.pages.drop(read.signature.signature.number)

    def _open(self, folder: int, name: bytes) -> int:
        try:
            return os.open(name, self._flags, dir_fd=folder)
        except PermissionError:
            if self._flags == _FLAGS:
                raise
            descriptor = os.open(name, _FLAGS, dir_fd=folder)  # only owners may leave the access time alone
            self._flags = _FLAGS
            return descriptor

    def _is_old(self, found: os.stat_result) -> bool:
        """Tell whether a later change would show: a time ahead of the clock differs from any that comes now."""
        return abs(self._clock.now_ns() - found.st_ctime_ns) > _COARSE_NS


def _same_state(one: os.stat_result, other: os.stat_result) -> bool:
    return one.st_size == other.st_size and one.st_mtime_ns == other.st_mtime_ns and one.st_ctime_ns == other.st_ctime_ns
