"""A file's signature: the sums of the blocks of its content as it was sent last, in pages of one window each.

Pages belong to a number. A content that is sent by chunks gets a new number and its pages are kept while it is read; one that
is sent as ranges keeps the number, and the pages are patched once the ranges are recorded. Nothing is valid before `keep`,
which stands in the same transaction of the memory as the row of the file.
"""

from dataclasses import dataclass
from typing import Protocol

from branch.block_sums import SIGNED_BYTES, SUM_BYTES, WINDOW_BYTES, BlockSums, block_bytes_for
from branch.pieces import NO_PIECES

Patch = tuple[int, int, list[tuple[int, bytes]]]
"""(number of a page, its new length, [(place, sums)])."""


class SignaturePages(Protocol):
    """Where pages are kept."""

    def begin(self) -> int:
        """Return a number that has no pages."""

    def add_page(self, number: int, page: int, sums: bytes) -> None:
        """Keep a page."""

    def page(self, number: int, page: int) -> bytes:
        """Return a page; empty when there is none."""

    def drop(self, number: int) -> None:
        """Forget the pages of a number."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a content's pages belong to."""

    number: int
    size: int
    block_bytes: int

    def serves(self, size: int) -> bool:
        """Tell whether the blocks are of about the length that a file of `size` bytes should have."""
        wanted = block_bytes_for(size)
        return wanted < 4 * self.block_bytes and self.block_bytes < 4 * wanted

    def page_bytes(self, page: int) -> int:
        """Return how long a page is."""
        covered = min(max(self.size - page * WINDOW_BYTES, 0), WINDOW_BYTES)
        return -(-covered // self.block_bytes) * SUM_BYTES


@dataclass(frozen=True, slots=True)
class NewSignature:
    """The signature of a content that was read: pages that are there already, or patches of the old ones."""

    signature: Signature
    patches: tuple[Patch, ...] = ()


@dataclass(frozen=True, slots=True)
class Earlier:
    """What is kept of a file's last content: its chunks, its encoded reference, and the signature if there is one."""

    pieces: bytes = NO_PIECES
    content: bytes = b""
    signature: Signature | None = None


NOTHING_EARLIER = Earlier()


@dataclass(frozen=True, slots=True)
class Signing:
    """What it takes to sign the files of a share."""

    sums: BlockSums
    pages: SignaturePages


class SignatureWriter:
    """Signs one content while it is read from its beginning in whole windows; `begin` again for another reading."""

    def __init__(self, signing: Signing) -> None:
        """Begin nothing yet."""
        self._sums, self._pages = signing.sums, signing.pages
        self._number = self._page = self._size = self._block_bytes = 0
        self._zeros = (0, b"")  # the sums of the last window of zeros: long holes are many of them

    def begin(self, size: int) -> None:
        """Sign a content of about `size` bytes; what was begun before is forgotten."""
        self.forget()
        if size > SIGNED_BYTES:
            self._number = self._pages.begin()
            self._page = self._size = 0
            self._zeros = (0, b"")
            self._block_bytes = block_bytes_for(size)

    def add(self, window: bytes, is_hole: bool = False) -> None:
        """Take the next window; only the last may be shorter than a whole one."""
        if not self._number or not window:
            return
        if is_hole and self._zeros[0] == len(window):
            sums = self._zeros[1]
        else:
            sums = self._sums.of(window, self._block_bytes)
            if is_hole:
                self._zeros = (len(window), sums)
        self._pages.add_page(self._number, self._page, sums)
        self._page += 1
        self._size += len(window)

    def finish(self) -> NewSignature | None:
        """Return the signature of what was taken; None for a short content."""
        if self._size <= SIGNED_BYTES:
            self.forget()
        if not self._number:
            return None
        made = NewSignature(Signature(self._number, self._size, self._block_bytes))
        self._number = 0
        return made

    def forget(self) -> None:
        """Forget what was begun and not finished."""
        if self._number:
            self._pages.drop(self._number)
        self._number = 0
