"""Deltas: a changed chunk takes about what changed; base and delta are lost, healed and found again together."""

import random
from pathlib import Path

import pytest

import snapshots.packs as packs_module
from core.digest import ZERO_DIGEST, Digest, digest_of
from snapshots import pack_format as fmt
from snapshots.chunk_reader import ChunkLost
from snapshots.chunk_store import ChunkStore
from snapshots.index_db import ChunkIndex
from snapshots.pack_format import Location, StoredChunk, TrailerEntry, whole
from staging.changes import Attributes, Create, Kind, Write
from staging.chunk_format import ChunkKind, PackedChunk, pack_chunk
from tests.share_rig import ShareRig
from tests.snapshots.test_store import lose_index, open_store

WORDS = b"the quick brown fox jumps over a lazy dog while it rains in leeds and york".split()


def text(size: int, seed: int = 1) -> bytes:
    """Return bytes that pack to about a third, as texts do."""
    chance = random.Random(seed)
    return b" ".join(chance.choice(WORDS) + b"%d" % chance.randrange(1000) for _ in range(size))[:size]


def edited(data: bytes, seed: int) -> bytes:
    chance = random.Random(seed)
    place = chance.randrange(len(data) - 150)
    return data[:place] + chance.randbytes(150) + data[place + 150 :]


def put(store: ChunkStore, data: bytes, replaces: Digest = ZERO_DIGEST, domain: str = "b") -> Digest:
    chunk = pack_chunk(ChunkKind.DATA, data, None, replaces)
    store.put(domain, [chunk])
    assert store.data(chunk.digest) == data
    return chunk.digest


def at(store: ChunkStore, digest: Digest) -> Location:
    return store._index.locations([digest])[digest]


def damage(store: ChunkStore, digest: Digest) -> None:
    location = at(store, digest)
    path = store._packs.path(location.pack)
    data = bytearray(path.read_bytes())
    data[location.end - 3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ChunkLost):
        store.data(digest)


def test_a_change_of_150_bytes_in_80_kib_takes_300_bytes(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    before = text(80 * 1024)
    base = put(store, before)
    delta = put(store, edited(before, 1), base)
    assert at(store, delta).base == base
    assert at(store, delta).record_bytes <= 300 < at(store, base).record_bytes / 50


def test_kept_versions_of_one_hot_chunk_cost_what_they_may(tmp_path: Path) -> None:
    """The figures of docs/benchmarks.md: bytes in packs for each of 200 edits that are all kept."""
    store = open_store(tmp_path)
    data = text(80 * 1000)
    replaced = put(store, data)
    taken = []
    for number in range(200):
        data = edited(data, number)
        replaced = put(store, data, replaced)
        taken.append(at(store, replaced).record_bytes)
    assert taken[0] <= 300
    assert sum(taken[:10]) / 10 <= 1100
    assert sum(taken) / 200 <= 5000


def test_a_base_is_always_whole_and_deltas_on_it_never_add_up_to_more_than_it(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    data = text(20_000)
    replaced = put(store, data)
    bases: dict[Digest, int] = {}
    whole_ones = 0
    for number in range(120):
        data = edited(data, number)
        replaced = put(store, data, replaced)
        location = at(store, replaced)
        if location.base is None:
            whole_ones += 1
            continue
        assert at(store, location.base).base is None
        bases[location.base] = bases.get(location.base, 0) + location.stored_bytes
    assert whole_ones > 2 and all(taken <= at(store, base).stored_bytes for base, taken in bases.items())


def test_what_is_not_much_smaller_as_a_delta_is_stored_whole(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    base = put(store, text(50_000, 1))
    assert at(store, put(store, random.Random(1).randbytes(50_000), base)).base is None
    half = text(50_000, 1)[:20_000] + text(30_000, 2)
    assert at(store, put(store, half, base)).base is None


def test_another_domains_chunk_is_no_base(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    theirs = put(store, text(50_000), domain="theirs")
    mine = put(store, edited(text(50_000), 1), theirs, domain="mine")
    assert at(store, mine).base is None


def test_an_equal_chunk_is_stored_once_in_the_form_that_came_first(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    base = put(store, text(50_000))
    changed = edited(text(50_000), 1)
    delta = put(store, changed, base)
    first = at(store, delta)
    put(store, changed)
    put(store, changed, base, domain="another")
    assert at(store, delta) == first


def test_a_chunk_that_a_delta_stands_on_is_stored_whole_when_it_comes_back(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    older = put(store, text(50_000))
    base = put(store, text(50_000, 2))
    put(store, edited(text(50_000, 2), 1), base)
    store._index._database.conn.execute("DELETE FROM chunk WHERE digest=?", (base,))
    chunk = pack_chunk(ChunkKind.DATA, text(50_000, 2), None, older)
    near = pack_chunk(ChunkKind.DATA, edited(text(50_000), 3), None, older)
    store.put("b", [chunk, near])
    assert at(store, near.digest).base == older
    assert at(store, base).base is None


def test_a_lost_base_takes_its_deltas_with_it_and_brings_them_back(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    data = text(50_000)
    base = put(store, data)
    delta = put(store, edited(data, 1), base)
    other = put(store, text(50_000, 5))
    damage(store, base)
    with pytest.raises(ChunkLost, match=f"{delta.hex()} is a delta on another: chunk {base.hex()}"):
        store.data(delta)
    keys = [(ChunkKind.DATA, digest) for digest in (base, delta, other)]
    assert store.missing("b", keys) == keys[:2]
    put(store, data)
    assert store.missing("b", keys) == []
    assert store.data(delta) == edited(data, 1)


def test_a_delta_whose_base_is_lost_heals_whole_by_itself(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    data = text(50_000)
    base = put(store, data)
    delta = put(store, edited(data, 1), base)
    damage(store, base)
    put(store, edited(data, 1), base)
    assert at(store, delta).base is None


@pytest.mark.parametrize("index_is_lost", [False, True])
def test_a_damaged_delta_is_stored_whole_when_it_is_sent_again(tmp_path: Path, index_is_lost: bool) -> None:
    store = open_store(tmp_path)
    data = text(50_000)
    base = put(store, data)
    delta = put(store, edited(data, 1), base)
    damage(store, delta)
    assert store.data(base) == data
    put(store, edited(data, 1), base)
    store.close()
    if index_is_lost:
        lose_index(tmp_path)
    again = open_store(tmp_path)
    assert at(again, delta).base is None and again.data(delta) == edited(data, 1)


def test_deltas_are_found_again_from_records_and_from_trailers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", 60_000)
    store = open_store(tmp_path)
    datas = [text(50_000)]
    replaced = put(store, datas[0])
    for number in range(40):
        datas.append(edited(datas[-1], number))
        replaced = put(store, datas[-1], replaced)
    kept = {digest_of(data): at(store, digest_of(data)) for data in datas}
    assert store.counts()[1] > 1 and sum(location.base is not None for location in kept.values()) > 20
    store.close()
    lose_index(tmp_path)
    again = open_store(tmp_path)
    assert {digest: at(again, digest) for digest in kept} == kept
    assert [again.data(digest_of(data)) for data in datas] == datas


def stand_on(store: ChunkStore, digests: list[Digest], bases: list[Digest]) -> None:
    """Write records that say of each chunk that it is a delta on the base beside it, and let the index tell the same."""
    deltas = [
        StoredChunk(ChunkKind.DATA, digest, fmt.DELTA, 3_000, bytes(base) + b"not a delta")
        for digest, base in zip(digests, bases, strict=True)
    ]
    entries = store._packs.append(deltas, fmt.domain_key("b"))
    store._packs.sync()
    store._index.add(entries, [], {}, 1, healed=set(digests))


@pytest.mark.parametrize("count", [1, 2, 3, 1000])
def test_deltas_that_stand_on_each_other_are_lost_and_named_and_heal(tmp_path: Path, count: int) -> None:
    store = open_store(tmp_path)
    datas = [text(3_000, seed) for seed in range(count)]
    digests = [put(store, data) for data in datas]
    stand_on(store, digests, digests[1:] + digests[:1])
    with pytest.raises(ChunkLost, match=f"chunk {digests[0].hex()} is .*deltas that stand on each other"):
        store.data(digests[0])
    keys = [(ChunkKind.DATA, digest) for digest in digests]
    for _ in range(9):
        asked = {digest for _, digest in store.missing("b", keys)}
        if not asked and readable(store, digests[0]):
            break
        for data in datas:
            if digest_of(data) in asked:
                store.put("b", [pack_chunk(ChunkKind.DATA, data)])
    assert not asked, "the agent is asked for what is lost until nothing is"


def readable(store: ChunkStore, digest: Digest) -> bool:
    try:
        return bool(store.data(digest))
    except ChunkLost:
        return False


def test_a_rebuild_prefers_the_whole_record_whatever_came_first(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    data = text(50_000)
    base = put(store, data)
    delta = put(store, edited(data, 1), base)
    place = at(store, delta)
    packed = whole(pack_chunk(ChunkKind.DATA, edited(data, 1)))
    key = fmt.domain_key("b")
    (second,) = store._packs.append([packed], key)
    (third,) = store._packs.append([store._packs.read(place).chunk], key)
    store._packs.sync()
    store.close()
    lose_index(tmp_path)
    again = open_store(tmp_path)
    assert at(again, delta) == second.location != third.location
    assert again.data(delta) == edited(data, 1)


def test_every_altered_byte_of_a_delta_is_found_and_its_base_does_not_suffer(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    data = text(3_000)
    base = put(store, data)
    delta = put(store, data + b"one more line", base)
    location = at(store, delta)
    assert location.base == base
    path = store._packs.path(location.pack)
    whole_pack = path.read_bytes()
    for position in range(location.offset + 12, location.end):
        if location.offset + 20 <= position < location.offset + 28:
            continue  # the owner's domain
        damaged = bytearray(whole_pack)
        damaged[position] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(ChunkLost, match=delta.hex()):
            store.data(delta)
        assert store.data(base) == data


def test_a_read_takes_two_look_ups_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path)
    data = text(50_000)
    base = put(store, data)
    deltas = [put(store, edited(data, number), base) for number in range(5)]
    asked: list[int] = []
    locations = ChunkIndex.locations

    def counting(self: ChunkIndex, digests: list[Digest]) -> dict[Digest, Location]:
        asked.append(1)
        return locations(self, digests)

    monkeypatch.setattr(ChunkIndex, "locations", counting)
    store.data(deltas[0])
    assert len(asked) == 2
    asked.clear()
    assert len(store.readable_data(deltas)) == 5
    assert len(asked) == 2


def test_a_write_inside_a_large_file_takes_a_delta_of_a_chunk_and_one_of_each_node_above(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    content = rig.put(random.Random(1).randbytes(40_000_000))
    plain = Attributes(0o644, 0, 0, 0)
    rig.send([b"large"], [Create(0, Kind.FILE, plain, content)])
    rig.snapshot()
    rig.fold.fold_all()
    before = sum(path.stat().st_size for path in tmp_path.glob("packs/*/*"))
    rig.send([b"large"], [Write(0, 20_000_000, b"x" * 150)])
    rig.fold.fold_all()
    taken = sum(path.stat().st_size for path in tmp_path.glob("packs/*/*")) - before
    deltas = rig.store._index._database.conn.execute("SELECT count(*) FROM chunk WHERE base IS NOT NULL").fetchone()
    assert deltas == (2,) and taken < 1200
    rig.close()


def test_the_trailers_of_both_versions_are_read() -> None:
    places = [Location(1, 44, 100, 300), Location(1, 200, 90, 300, Digest(bytes(range(32))))]
    entries = [TrailerEntry(place, 1, b"12345678", Digest(bytes([number]) * 32)) for number, place in enumerate(places)]
    trailer = fmt.encode_trailer(entries)
    assert fmt.decode_trailer(trailer, 1, fmt.VERSION) == entries
    assert fmt.decode_trailer(trailer[8:68], 1, 1) == entries[:1]
    for damaged in (trailer[:-1], trailer[:-32], trailer + bytes(32), trailer[8:]):
        with pytest.raises(fmt.PackDamaged):
            fmt.decode_trailer(damaged, 1, fmt.VERSION)


def test_a_delta_record_that_is_none_is_refused() -> None:
    record = StoredChunk(ChunkKind.DATA, ZERO_DIGEST, fmt.DELTA, 100, bytes(32))
    payload = b"".join(fmt.chunk_record(record, bytes(8)))[12:]
    with pytest.raises(fmt.PackDamaged, match="shorter"):
        fmt.decode_chunk(payload)


def test_a_pack_of_the_version_before_is_read_and_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fmt, "VERSION", 1)
    old = open_store(tmp_path)
    data = text(50_000)
    base = put(old, data)
    old.close()
    monkeypatch.undo()
    size = next(tmp_path.glob("packs/*/*")).stat().st_size
    store = open_store(tmp_path)
    delta = put(store, edited(data, 1), base)
    assert (at(store, base).pack, at(store, delta).pack) == (1, 2)
    assert next(tmp_path.glob("packs/01/*")).stat().st_size == size
    store.close()
    lose_index(tmp_path)
    again = open_store(tmp_path)
    assert again.data(delta) == edited(data, 1) and again.data(base) == data


def test_one_put_may_replace_chunk_after_chunk(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    datas = [text(50_000)]
    chunks: list[PackedChunk] = [pack_chunk(ChunkKind.DATA, datas[0])]
    for number in range(3):
        datas.append(edited(datas[-1], number))
        chunks.append(pack_chunk(ChunkKind.DATA, datas[-1], None, chunks[-1].digest))
    store.put("b", chunks)
    assert [store.data(chunk.digest) for chunk in chunks] == datas
