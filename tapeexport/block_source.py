"""Reads an archive from front to back in large blocks, hashing all of it beside the reader. Never writes."""

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from core.errors import Damaged
from tapeexport.background import InOrder

_READ_BYTES = 1024 * 1024
_BLOCKS_AHEAD = 4


class ArchiveDamaged(Damaged):
    """The archive is not what a writer wrote: `offset` tells where it was noticed."""

    def __init__(self, what: str, offset: int) -> None:
        super().__init__(f"{what} (at offset {offset})", remedy="restore from another cartridge, or export again")
        self.what = what
        self.offset = offset


class BlockSource:
    """A file read once. Pieces are views of the blocks read: keep a copy, not the view."""

    def __init__(self, file: BinaryIO, *, hashed: bool = True) -> None:
        """Read `file` (unbuffered is best) from where it stands; with `hashed`, `sha256` of all is to be had at its end."""
        self.offset = 0
        self._file = file
        self._block = memoryview(b"")
        self._hasher = hashlib.sha256()
        self._background = InOrder(_BLOCKS_AHEAD) if hashed else None

    def take(self, length: int) -> bytes:
        """Return exactly `length` bytes; raise `ArchiveDamaged` when the file ends before."""
        if len(self._block) >= length:
            piece = bytes(self._block[:length])
            self._block = self._block[length:]
            self.offset += length
            return piece
        return b"".join(self.pieces(length))

    def pieces(self, length: int) -> Iterator[memoryview]:
        """Yield `length` bytes in pieces; raise `ArchiveDamaged` when the file ends before."""
        while length > 0:
            if not self._block and not self._read():
                raise ArchiveDamaged(f"the archive ends {length} bytes too early", self.offset)
            piece = self._block[:length]
            self._block = self._block[len(piece) :]
            self.offset += len(piece)
            length -= len(piece)
            yield piece

    def at_end(self) -> bool:
        """Tell whether nothing is left."""
        return not self._block and not self._read()

    def sha256(self) -> str:
        """Return the hash of everything read so far."""
        if self._background is not None:
            self._background.drain()
        return self._hasher.hexdigest()

    def close(self) -> None:
        """End the hashing thread; may be called twice. The file belongs to the caller."""
        if self._background is not None:
            self._background.close()

    def _read(self) -> bool:
        try:
            block = self._file.read(_READ_BYTES)
        except OSError as error:
            raise ArchiveDamaged(f"the medium cannot be read: {error.strerror}", self.offset) from error
        if self._background is not None and block:
            self._background.submit(self._hasher.update, block)
        self._block = memoryview(block)
        return bool(block)
