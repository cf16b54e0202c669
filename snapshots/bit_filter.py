"""A set of digests in few bits: it never forgets one, and may take a few for members that are none.

Used where a false member only keeps garbage for another while. The bits of a digest depend on a salt, so what is taken
for a member by chance in one run is not in the next.
"""

import struct
from collections.abc import Iterable

from core.digest import Digest

_WORDS = struct.Struct("<QQQ8x")
_SALT_BYTES = 8
_MASK = 2**64 - 1
_SMALLEST = 2**16


class BitFilter:
    """Three bits a digest, of a power of two of bits. One thread at a time."""

    def __init__(self, bits: int, salt: bytes) -> None:
        """Make an empty set of at least `bits` bits (rounded up to a power of two); its memory is taken as it fills."""
        width = max(bits, _SMALLEST) - 1
        self._shift = 64 - width.bit_length()
        self._bits = bytearray(1 << (61 - self._shift))
        self._factor = int.from_bytes(salt[:_SALT_BYTES], "little") | 1  # odd: then multiplying loses nothing

    @property
    def size_bytes(self) -> int:
        """Return what the bits take."""
        return len(self._bits)

    def add(self, digests: Iterable[Digest]) -> None:
        """Make digests members."""
        bits, factor, shift = self._bits, self._factor, self._shift
        for word in _words(digests):
            place = (word * factor & _MASK) >> shift
            bits[place >> 3] |= 1 << (place & 7)

    def among(self, digests: list[Digest]) -> set[Digest]:
        """Return those of the digests that are members, or are taken for such."""
        bits, factor, shift = self._bits, self._factor, self._shift
        found: set[Digest] = set()
        for digest in digests:
            for word in _WORDS.unpack(digest):
                place = (word * factor & _MASK) >> shift
                if not bits[place >> 3] & 1 << (place & 7):
                    break
            else:
                found.add(digest)
        return found


def _words(digests: Iterable[Digest]) -> Iterable[int]:
    for digest in digests:
        yield from _WORDS.unpack(digest)
