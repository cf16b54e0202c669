"""Appends members to a volume one by one, hashing each on its way and noting it in the index and the check sums.

Each byte of content is touched once; memory does not grow with the size of files nor with their number.
"""

import hashlib
from collections.abc import Callable, Iterable

from core.errors import Damaged
from tapeexport.cartridge_format import Label, Span, encode_line, entry_of, own_member, sums_line
from tapeexport.pax_format import pad
from tapeexport.spool import LineSpool
from tapeexport.volume import Volume
from tapeexport.zeros import hash_zeros

Progress = Callable[[int, int], None]
"""Called now and then with (members, bytes of content) so far."""


class SourceUnreadable(Damaged):
    """A file of the snapshot cannot be read from the store as it should be."""


class MemberWriter:
    """Writes members; after an error the archive is of no use."""

    def __init__(self, volume: Volume, index: LineSpool, sums: LineSpool, progress: Progress | None) -> None:
        self.members = 0
        self.content_bytes = 0
        self._volume = volume
        self._index = index
        self._sums = sums
        self._progress = progress

    def write_bare(self, path: bytes, name: bytes, type_name: str, header: bytes, target: bytes = b"") -> None:
        """Write a member without content."""
        begin = self._volume.offset
        self._append(header)
        self._note(path, name, type_name, header, begin, 0, "", target)

    def write_file(self, path: bytes, name: bytes, header: bytes, data: bytes | memoryview) -> None:
        """Write a file whose content is at hand."""
        begin = self._volume.offset
        padding = pad(len(data))
        self._append(header, data, padding)
        self.content_bytes += len(data)
        self._note(path, name, "file", header + padding, begin, len(data), hashlib.sha256(data).hexdigest())

    def write_long_file(
        self,
        path: bytes,
        name: bytes,
        header: bytes,
        size_bytes: int,
        stored_bytes: int,
        runs: Iterable[tuple[int, bytes | memoryview]],
    ) -> None:
        """Write a file run by run; between the (offset, data) of `runs` are holes. Raise `SourceUnreadable` when they do
        not add up to what the header says.
        """
        begin = self._volume.offset
        self._append(header)
        hasher = hashlib.sha256()
        position = stored = 0
        for offset, data in runs:
            hash_zeros(hasher, offset - position)
            hasher.update(data)
            position = offset + len(data)
            stored += len(data)
            self.content_bytes += len(data)
            self._append(data)
        if stored != stored_bytes or position > size_bytes:
            raise SourceUnreadable(f"its content has {stored} bytes, the catalogue says {stored_bytes}")
        hash_zeros(hasher, size_bytes - position)
        self.content_bytes += size_bytes - stored
        padding = pad(stored)
        self._append(padding)
        self._note(path, name, "file", header + padding, begin, size_bytes, hasher.hexdigest())

    def write_spool(self, label: Label, name: bytes, spool: LineSpool) -> str:
        """Write one of the cartridge's own files, which its index does not name, and return its sha256."""
        self._append(own_member(label, name, spool.size_bytes))
        hasher = hashlib.sha256()
        for block in spool.blocks():
            hasher.update(block)
            self._append(block)
        self._append(pad(spool.size_bytes))
        return hasher.hexdigest()

    def report(self) -> None:
        """Tell the caller how far the archive is."""
        if self._progress is not None:
            self._progress(self.members, self.content_bytes)

    def _append(self, *buffers: bytes | memoryview) -> None:
        if self._volume.append(*buffers):
            self.report()

    def _note(
        self,
        path: bytes,
        name: bytes,
        type_name: str,
        envelope: bytes,
        begin: int,
        size_bytes: int,
        sha256: str,
        target: bytes = b"",
    ) -> None:
        span = Span(self._volume.sequence, begin, self._volume.offset - begin)
        envelope_sha256 = hashlib.sha256(envelope).hexdigest()
        self._index.add(encode_line(entry_of(path, name, type_name, envelope_sha256, span, size_bytes, sha256, target)))
        if sha256:
            self._sums.add(sums_line(sha256, name))
