"""BLAKE3 digests: the addresses of all content."""

from typing import NewType

from blake3 import blake3

Digest = NewType("Digest", bytes)

DIGEST_BYTES = 32
ZERO_DIGEST = Digest(bytes(DIGEST_BYTES))


def digest_of(data: bytes | memoryview | bytearray) -> Digest:
    """Return the plain BLAKE3-256 digest of `data`."""
    return Digest(blake3(data).digest())


class Hasher:
    """The plain digest of bytes that come piece by piece."""

    def __init__(self) -> None:
        self._hasher = blake3()

    def update(self, data: bytes | memoryview | bytearray) -> None:
        """Add bytes behind those before."""
        self._hasher.update(data)

    def digest(self) -> Digest:
        """Return the digest of all bytes so far."""
        return Digest(self._hasher.digest())


def derived_digest(context: str, *parts: bytes | memoryview) -> Digest:
    """Return the digest of the joined `parts` in a domain of its own (BLAKE3 `derive_key` with `context`)."""
    hasher = blake3(derive_key_context=context)
    for part in parts:
        hasher.update(part)
    return Digest(hasher.digest())


def format_digest(digest: bytes) -> str:
    """Return `blake3:<hex>`, as shown to people and in JSON."""
    return "blake3:" + digest.hex()
