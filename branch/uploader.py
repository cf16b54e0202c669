"""Bringing chunks to the appliance: ask what is missing, pack that, put it.

Whoever calls waits; several threads may call, each with a group of its own.
"""

from collections.abc import Callable, Iterator, Sequence

from branch.outbox_format import MAX_CHUNKS_BYTES
from branch.share_line import Key, ShareLine
from core.digest import Digest
from staging.chunk_format import DEFAULT_LEVEL, ITEM_HEADER_BYTES, ChunkKind, PackedChunk, item_parts, pack_chunk, read_items

LooseChunk = tuple[Digest, bytes | memoryview, Digest]
"""A chunk's digest, its bytes, and the digest of the chunk in whose place it stands."""

_UNASKED_CHUNKS = 8  # so few and small chunks are put at once: a question costs a round trip and 33 bytes a chunk
_UNASKED_BYTES = 64 * 1024


def pack_loose(chunks: Sequence[LooseChunk], level: int = DEFAULT_LEVEL) -> list[PackedChunk]:
    """Pack chunks of data."""
    return [pack_chunk(ChunkKind.DATA, data, digest, replaces, level) for digest, data, replaces in chunks]


def split_bodies(
    chunks: Sequence[PackedChunk], body_bytes: Callable[[int], int] = lambda most: most
) -> Iterator[list[PackedChunk]]:
    """Share chunks out to put bodies, keeping their order; `body_bytes` is asked how long each is to be, of so much at most."""
    body: list[PackedChunk] = []
    room = 0
    for chunk in chunks:
        needed = ITEM_HEADER_BYTES + len(chunk.data)
        if body and needed > room:
            yield body
            body = []
        if not body:
            room = body_bytes(MAX_CHUNKS_BYTES)
        body.append(chunk)
        room -= needed
    if body:
        yield body


class Uploader:
    """Puts chunks of one share."""

    def __init__(self, line: ShareLine) -> None:
        """Talk over `line`, packing with the effort that it is worth."""
        self._line = line

    def upload(self, chunks: Sequence[LooseChunk]) -> None:
        """Put those of the chunks that the appliance lacks; durable there on return."""
        wanted = chunks
        if len(chunks) > _UNASKED_CHUNKS or sum(len(data) for _, data, _ in chunks) > _UNASKED_BYTES:
            missing = self._line.missing([(ChunkKind.DATA, digest) for digest, _, _ in chunks])
            wanted = [chunk for chunk in chunks if (ChunkKind.DATA, chunk[0]) in missing]
        self.put(pack_loose(wanted, self._line.effort.level()))

    def put_missing(self, chunks: Sequence[PackedChunk]) -> None:
        """Put those of the packed chunks that the appliance lacks."""
        if len(chunks) > _UNASKED_CHUNKS:
            missing = self._line.missing([key_of(chunk) for chunk in chunks])
            chunks = [chunk for chunk in chunks if key_of(chunk) in missing]
        self.put(chunks)

    def put(self, chunks: Sequence[PackedChunk]) -> None:
        """Put chunks without asking."""
        for body in split_bodies(chunks, self._line.pacer.body_bytes):
            data = b"".join([part for chunk in body for part in item_parts(chunk)])
            self._line.chunks(data, sum(chunk.size for chunk in body), sum(len(chunk.data) for chunk in body))

    def put_record(self, body: bytes) -> None:
        """Put a put body that waited in the outbox."""
        self.put_missing(list(read_items(body)))


def key_of(chunk: PackedChunk) -> Key:
    """Return a chunk's address with its kind."""
    return chunk.kind, chunk.digest
