"""New chunks on their way into the store: put together once they are enough, so that memory stays bounded and syncs few."""

from collections.abc import Callable

from staging.chunk_format import PackedChunk

BATCH_BYTES = 16 * 1024 * 1024  # a sync for each costs little beside writing it
BATCH_CHUNKS = (
    128  # looking for deltas of so many takes a twentieth of a second, which is how long others wait for what comes next
)


class PutBatch:
    """Gives chunks to `put` in the order in which they came."""

    def __init__(self, put: Callable[[list[PackedChunk]], None]) -> None:
        """Begin with none; `put` makes a list of chunks durable."""
        self._put = put
        self._chunks: list[PackedChunk] = []
        self._bytes = 0

    def add(self, chunk: PackedChunk) -> None:
        """Take a chunk; it is durable when `finish` returns, if not earlier."""
        self._chunks.append(chunk)
        self._bytes += len(chunk.data)
        if self._bytes >= BATCH_BYTES or len(self._chunks) >= BATCH_CHUNKS:
            self.finish()

    def finish(self) -> None:
        """Put what was taken so far."""
        if self._chunks:
            self._put(self._chunks)
            self._chunks, self._bytes = [], 0
