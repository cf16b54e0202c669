"""Zeros for holes, without making them anew each time."""

from collections.abc import Iterator
from typing import Protocol

ZEROS = memoryview(bytes(1024 * 1024))


class Hasher(Protocol):
    """A running hash."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more bytes."""


def zeros(length: int) -> Iterator[memoryview]:
    """Yield pieces that hold `length` zeros together."""
    while length > 0:
        yield ZEROS[:length]
        length -= len(ZEROS)


def hash_zeros(hasher: Hasher, length: int) -> None:
    """Add `length` zeros to a hash."""
    for piece in zeros(length):
        hasher.update(piece)
