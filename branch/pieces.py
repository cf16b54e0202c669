"""The chunks of a file's last sent content: what need not be sent, and what a new chunk stands in for.

They are kept as a plain list of u64 length and 32 bytes digest, little endian. The length's highest bit marks a chunk that was
never put: the appliance makes it of the ranges that were written, in its own time, so it has to be asked about.
"""

import struct
from collections.abc import Container, Iterable

from core.digest import ZERO_DIGEST, Digest
from staging.recipe_format import Piece

_PIECE = struct.Struct("<Q32s")
_NEVER_PUT = 2**63
NO_PIECES = b""


def encode_pieces(pieces: Iterable[Piece], never_put: Container[Digest] = ()) -> bytes:
    """Return a list of chunks as it is kept."""
    return b"".join([_PIECE.pack(p.length | (_NEVER_PUT if p.digest in never_put else 0), p.digest) for p in pieces])


class OldPieces:
    """The earlier content of a file while its new content is cut, chunk by chunk in order."""

    def __init__(self, encoded: bytes) -> None:
        """Read a list kept by `encode_pieces`."""
        self.pieces: list[Piece] = []
        self.never_put: set[Digest] = set()
        for length, digest in _PIECE.iter_unpack(encoded):
            self.pieces.append(Piece(length & ~_NEVER_PUT, Digest(digest)))
            if length & _NEVER_PUT:
                self.never_put.add(Digest(digest))
        self._places = {piece.digest: place for place, piece in enumerate(self.pieces)}
        self._next = 0

    def __contains__(self, digest: Digest) -> bool:
        return digest in self._places

    def holds(self, digest: Digest) -> bool:
        """Tell whether the new content's next chunk was in the old one, and go on behind it."""
        if self._next < len(self.pieces) and self.pieces[self._next].digest == digest:  # it may stand elsewhere as well
            self._next += 1
            return True
        place = self._places.get(digest)
        if place is None:
            return False
        self._next = place + 1
        return True

    def replaced(self) -> Digest:
        """Return the old chunk in whose place the new content's next, unknown one stands; zeros when there is none."""
        if self._next >= len(self.pieces):
            return ZERO_DIGEST
        self._next += 1
        return self.pieces[self._next - 1].digest
