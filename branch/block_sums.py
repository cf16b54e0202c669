"""Sums of a file's blocks: short marks by which a block that was sent is told from one that changed.

A sum is XXH3-64 with a seed that only this agent and its appliance know. Two different blocks have the same sum once in 2**64
pairs; a block is compared with one other only, the one that stood in its place. All blocks of a window are summed in one
pass through C: Python never sees a single block (docs/decisions/0014).
"""

import struct
from collections.abc import Iterator
from itertools import chain, repeat

from xxhash import xxh3_64_digest

from core.digest import derived_digest
from staging.chunking import BLOCK_BYTES, MIN_CHUNK_BYTES

SUM_BYTES = 8
WINDOW_BYTES = BLOCK_BYTES  # of a file's bytes are summed at once; a page of a signature holds the sums of one window
SIGNED_BYTES = MIN_CHUNK_BYTES  # what is shorter is one chunk, and travels whole
_LEAST_BLOCK_BYTES = 512
_MOST_BLOCK_BYTES = 16 * 1024  # as the least chunk: beyond it the chunks do as well
_FINE_BYTES = 1024**3  # up to here blocks are the least: signatures of at most 16 MiB
_COMPARED_SUMS = 64
_CONTEXT = "stagekeeper 2026 block sums v1"


def block_bytes_for(size: int) -> int:
    """Return how long the blocks of a file should be: they double when the file is four times as long."""
    block_bytes, limit = _LEAST_BLOCK_BYTES, _FINE_BYTES
    while size > limit and block_bytes < _MOST_BLOCK_BYTES:
        block_bytes, limit = block_bytes * 2, limit * 4
    return block_bytes


class BlockSums:
    """Sums blocks with one share's seed. Used by any thread."""

    def __init__(self, share_id: bytes) -> None:
        """Derive the seed from the share's id, which is random and known to no other user of the branch."""
        self._seed = int.from_bytes(derived_digest(_CONTEXT, share_id)[:8], "little")

    def of(self, window: bytes, block_bytes: int) -> bytes:
        """Return the sums of a window's blocks; the last block may be shorter."""
        whole = len(window) - len(window) % block_bytes
        blocks = struct.iter_unpack(f"{block_bytes}s", memoryview(window)[:whole])
        sums = b"".join(map(xxh3_64_digest, chain.from_iterable(blocks), repeat(self._seed)))
        return sums + self.one(memoryview(window)[whole:]) if whole < len(window) else sums

    def one(self, block: bytes | memoryview) -> bytes:
        """Return the sum of one block."""
        return xxh3_64_digest(block, self._seed)


def differing(old: bytes, new: bytes) -> Iterator[int]:
    """Yield the numbers of those sums in `new` that are not the same in `old`, which may be shorter."""
    step = SUM_BYTES * _COMPARED_SUMS
    for start in range(0, len(new), step):
        if old[start : start + step] == new[start : start + step]:
            continue
        for place in range(start, min(start + step, len(new)), SUM_BYTES):
            if old[place : place + SUM_BYTES] != new[place : place + SUM_BYTES]:
                yield place // SUM_BYTES
