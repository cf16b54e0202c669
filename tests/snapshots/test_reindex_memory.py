"""Making a lost index again holds one value for each chunk of one pack, and no table beside it."""

import tracemalloc
from pathlib import Path

import pytest

import snapshots.packs as packs_module
from core.clock import SystemClock
from core.durable import OS_FILES
from snapshots.chunk_store import ChunkStore
from staging.chunk_format import ChunkKind, address_of, pack_chunk
from tests.share_rig import STORE_ID

CHUNKS = 20_000
FILTERS_BYTES = 24 * 1024 * 1024  # `Touched`, of every open store
HELD_A_CHUNK = 400  # bytes: two values, the digest, the domain, offset and lengths, and their place in a list


def opened(folder: Path) -> ChunkStore:
    return ChunkStore(folder / "packs", folder / "index.db", STORE_ID, OS_FILES, SystemClock())


def test_a_pack_of_tiny_chunks_is_indexed_anew_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "MAX_ENTRIES", CHUNKS)
    store = opened(tmp_path)
    for first in range(0, CHUNKS + 1, 500):
        bodies = [b"chunk %d" % number for number in range(first, first + 500)]
        store.put("branch", [pack_chunk(ChunkKind.DATA, body, address_of(ChunkKind.DATA, body)) for body in bodies])
    counts = store.counts()
    store.close()
    assert counts == (CHUNKS + 500, 2)
    for path in tmp_path.glob("index.db*"):
        path.unlink()
    tracemalloc.start()
    try:
        store = opened(tmp_path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert store.counts() == counts
    assert peak < FILTERS_BYTES + CHUNKS * HELD_A_CHUNK + 500_000
    store.close()
