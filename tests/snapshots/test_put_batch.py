"""New chunks reach the store in batches that bound the memory of a fold."""

import random

from snapshots.put_batch import BATCH_BYTES, BATCH_CHUNKS, PutBatch
from staging.chunk_format import ChunkKind, PackedChunk, pack_chunk


def test_chunks_are_put_in_order_as_soon_as_they_are_enough() -> None:
    puts: list[list[PackedChunk]] = []
    batch = PutBatch(puts.append)
    chunks = [pack_chunk(ChunkKind.DATA, random.Random(number).randbytes(200_000)) for number in range(100)]
    for chunk in chunks:
        batch.add(chunk)
    assert len(puts) == 1 and BATCH_BYTES <= sum(len(chunk.data) for chunk in puts[0]) < BATCH_BYTES + 200_000
    batch.finish()
    batch.finish()
    assert [chunk for put in puts for chunk in put] == chunks and len(puts) == 2


def test_many_small_chunks_are_put_before_others_wait_long_for_the_store() -> None:
    puts: list[int] = []
    batch = PutBatch(lambda chunks: puts.append(len(chunks)))
    for number in range(2 * BATCH_CHUNKS + 1):
        batch.add(pack_chunk(ChunkKind.DATA, b"%d" % number))
    batch.finish()
    assert puts == [BATCH_CHUNKS, BATCH_CHUNKS, 1]
