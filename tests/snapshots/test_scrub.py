"""Scrub finds every kind of damage, names the files and snapshots hit, and leaves everything else readable."""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import snapshots.packs as packs_module
from core.digest import Digest
from core.framing import read_records
from snapshots import damage_db
from snapshots import pack_format as fmt
from snapshots.chunk_reader import ChunkLost
from snapshots.damage_hits import Hit, hits
from snapshots.scrub import DAY_NS, Pace, Scrubber, ScrubReport
from staging.changes import Attributes, Create, Kind, Rename
from staging.chunk_format import ChunkKind, address_of, pack_chunk
from tests.snapshots.collect_rig import CollectRig
from tests.snapshots.test_delta import edited, text

PLAIN = Attributes(0o644, 0, 0, 0)
DATA = [random.Random(seed).randbytes(15_000) for seed in range(12)]
DAY = 24 * 3600


def filled(folder: Path) -> CollectRig:
    """Twelve files in four sealed packs and a growing one."""
    rig = CollectRig(folder)
    for number, data in enumerate(DATA):
        rig.send([b"f%02d" % number], [Create(0, Kind.FILE, PLAIN, rig.put(data))])
    rig.snapshot()
    rig.fold.fold_all()
    assert len(rig.store.parts.packs.numbers()) >= 4
    return rig


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", 40_000)


def scrub(rig: CollectRig, everything: bool = True) -> ScrubReport:
    waits: list[float] = []
    scrubber = Scrubber(rig.store, pace=Pace(1_000_000, waits.append))
    return scrubber.run(lambda: False, lambda done, total: None, everything)


def digest_of_file(number: int) -> Digest:
    return address_of(ChunkKind.DATA, DATA[number])


def place_of(rig: CollectRig, number: int) -> tuple[Path, int, int]:
    location = rig.store.parts.index.locations([digest_of_file(number)])[digest_of_file(number)]
    return rig.store.parts.packs.path(location.pack), location.offset, location.end


def alter(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(bytes(data))


def flip_bit(data: bytearray, at: int) -> None:
    data[at] ^= 1


def one_bit(rig: CollectRig) -> set[int]:
    path, offset, end = place_of(rig, 0)
    alter(path, lambda data: flip_bit(data, (offset + end) // 2))
    return {0}


def one_byte(rig: CollectRig) -> set[int]:
    path, offset, _ = place_of(rig, 1)
    alter(path, lambda data: data.__setitem__(offset + 100, data[offset + 100] ^ 0xFF))
    return {1}


def length_field(rig: CollectRig) -> set[int]:
    path, offset, _ = place_of(rig, 0)
    alter(path, lambda data: data.__setitem__(slice(offset, offset + 4), b"\xff\xff\xff\x7f"))
    return set()  # the payload still is what it was, and is found by its place


def four_kib(rig: CollectRig) -> set[int]:
    path, offset, _ = place_of(rig, 1)
    alter(path, lambda data: data.__setitem__(slice(offset + 4096, offset + 8192), bytes(4096)))
    return {1}


def truncation(rig: CollectRig) -> set[int]:
    path, offset, _ = place_of(rig, 1)
    alter(path, lambda data: data.__delitem__(slice(offset + 50, len(data))))
    return {number for number in range(12) if place_of(rig, number)[0] == path and place_of(rig, number)[1] >= offset}


def swap(rig: CollectRig) -> set[int]:
    path, first, end = place_of(rig, 0)
    other, second, second_end = place_of(rig, 1)
    assert path == other and end - first == second_end - second

    def change(data: bytearray) -> None:
        data[first:end], data[second:second_end] = data[second:second_end], data[first:end]

    alter(path, change)
    return {0, 1}


def missing_pack(rig: CollectRig) -> set[int]:
    path, _, _ = place_of(rig, 3)
    found = {number for number in range(12) if place_of(rig, number)[0] == path}
    path.unlink()
    rig.store.parts.packs.forget(int(path.stem, 16))
    return found


def right_name_wrong_content(rig: CollectRig) -> set[int]:
    path, _, _ = place_of(rig, 0)
    other = rig.store.parts.packs.path(int(path.stem, 16) + 1)
    found = {number for number in range(12) if place_of(rig, number)[0] == path}
    path.write_bytes(other.read_bytes())
    return found


def trailer(rig: CollectRig) -> set[int]:
    path, _, _ = place_of(rig, 0)
    with path.open("rb") as file:
        (record,) = [record for record in read_records(file, 0) if record.type == fmt.TRAILER]
    alter(path, lambda data: flip_bit(data, record.offset + 30))
    return set()


def footer(rig: CollectRig) -> set[int]:
    path, _, _ = place_of(rig, 0)
    alter(path, lambda data: flip_bit(data, len(data) - 3))
    return set()


def head(rig: CollectRig) -> set[int]:
    path, _, _ = place_of(rig, 0)
    alter(path, lambda data: flip_bit(data, 20))
    return set()


def index_row_elsewhere(rig: CollectRig) -> set[int]:
    first, second = (rig.store.parts.index.locations([digest_of_file(n)])[digest_of_file(n)] for n in (0, 4))
    connection = rig.store.parts.index.connection
    statement = "UPDATE chunk SET pack=?, offset=? WHERE digest=?"
    connection.execute(statement, (second.pack, second.offset, digest_of_file(0)))
    connection.execute(statement, (first.pack, first.offset, digest_of_file(4)))
    return {0, 4}


MATRIX = [
    one_bit, one_byte, length_field, four_kib, truncation, swap, missing_pack, right_name_wrong_content, trailer, footer, head,
    index_row_elsewhere,
]  # fmt: skip


@pytest.mark.parametrize("damage", MATRIX, ids=lambda damage: damage.__name__)
def test_every_damage_is_found_and_named_and_everything_else_stays_readable(
    tmp_path: Path, damage: Callable[[CollectRig], set[int]]
) -> None:
    rig = filled(tmp_path)
    assert scrub(rig).findings == []
    lost = damage(rig)
    report = scrub(rig)
    assert report.findings and report.finished
    known = damage_db.damaged(rig.store.parts.index)
    assert known == {digest_of_file(number) for number in lost} and report.damaged_chunks == len(lost)
    found = sorted(hits([rig.reader], rig.store, known), key=lambda hit: hit.path)
    (shot,) = rig.reader.ledger.snapshots()
    assert found == [Hit("branch/share", f"f{number:02}", [shot.id], True) for number in sorted(lost)]
    for number, data in enumerate(DATA):
        if number in lost:
            with pytest.raises(ChunkLost):
                rig.store.data(digest_of_file(number))
        else:
            assert rig.store.data(digest_of_file(number)) == data
    rig.reopen()
    keys = [(ChunkKind.DATA, digest_of_file(number)) for number in range(12)]
    assert {digest for _, digest in rig.store.missing("branch", keys)} == known, "withdrawn, also after a restart"
    for number in lost:
        rig.put(DATA[number])
    assert rig.store.missing("branch", keys) == [] and damage_db.damaged(rig.store.parts.index) == set()
    assert all(rig.store.data(digest_of_file(number)) == data for number, data in enumerate(DATA))


def test_a_pack_that_was_put_back_heals_what_it_holds(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    path, _, _ = place_of(rig, 3)
    data = path.read_bytes()
    missing_pack(rig)
    assert scrub(rig).damaged_chunks > 0
    path.write_bytes(data)
    report = scrub(rig)
    assert (report.damaged_chunks, report.findings) == (0, []) and report.healed > 0


def test_what_a_reader_finds_is_remembered_over_a_restart(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    one_bit(rig)
    with pytest.raises(ChunkLost):
        rig.store.data(digest_of_file(0))
    rig.reopen()
    assert rig.store.missing("branch", [(ChunkKind.DATA, digest_of_file(0))]) != []


def test_a_damaged_base_hits_the_files_of_its_deltas_too(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    base = pack_chunk(ChunkKind.DATA, text(30_000))
    rig.store.put("branch", [base])
    rig.store.put("branch", [pack_chunk(ChunkKind.DATA, edited(text(30_000), 1), None, base.digest)])
    rig.send([b"base", b"delta"], [Create(0, Kind.FILE, PLAIN, rig.put(text(30_000)))])
    rig.send([b"base", b"delta"], [Create(1, Kind.FILE, PLAIN, rig.put(edited(text(30_000), 1)))])
    rig.fold.fold_all()
    location = rig.store.parts.index.locations([base.digest])[base.digest]
    alter(rig.store.parts.packs.path(location.pack), lambda data: flip_bit(data, location.end - 9))
    scrub(rig)
    known = damage_db.damaged(rig.store.parts.index)
    assert known == {base.digest}
    assert {hit.path for hit in hits([rig.reader], rig.store, known)} == {"base", "delta"}


def test_hits_follow_recipes_renames_and_snapshots(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    big = random.Random(5).randbytes(400_000)
    rig.send([b"d", b"d/f"], [Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FILE, PLAIN, rig.put(big))])
    first = rig.snapshot()
    rig.send([b"d", b"e"], [Rename(0, 1)])
    second = rig.snapshot()
    rig.fold.fold_all()
    content = rig.live().node_at(b"e/f").content  # type: ignore[arg-type]
    last = [extent.digest for extent in rig.live().extents(content)][-1]
    assert last is not None
    found = sorted(hits([rig.reader], rig.store, {last}), key=lambda hit: hit.path)
    assert found == [Hit("branch/share", "d/f", [first.id], False), Hit("branch/share", "e/f", [second.id], True)]


def test_slices_of_a_day_read_every_pack_exactly_once_in_a_period(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = filled(tmp_path)
    scrub(rig)
    read: Counter[int] = Counter()
    pack = Scrubber._pack

    def counting(self: Scrubber, number: int, *rest: object) -> None:
        read[number] += 1
        pack(self, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(Scrubber, "_pack", counting)
    scrubber = Scrubber(rig.store)
    for _ in range(30):
        rig.test_clock.pass_(DAY)
        scrubber.run(lambda: False, lambda done, total: None)
        assert rig.test_clock.now_ns() - scrubber.oldest_verified_ns() <= 30 * DAY_NS
    assert read == Counter(dict.fromkeys(rig.store.parts.packs.numbers(), 1))


def test_a_run_that_is_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    rig.test_clock.pass_(40 * DAY)
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    scrubber = Scrubber(rig.store)
    first = scrubber.run(stopping, lambda done, total: None)
    assert first.packs == 2 and not first.finished
    second = scrubber.run(lambda: False, lambda done, total: None)
    assert second.finished and first.packs + second.packs == len(rig.store.parts.packs.numbers())
    assert scrubber.run(lambda: False, lambda done, total: None).packs == 0


def test_the_budget_makes_it_wait(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    rig.put(random.Random(1).randbytes(9_000_000))
    waits: list[float] = []
    Scrubber(rig.store, pace=Pace(1_000_000, waits.append)).run(lambda: False, lambda done, total: None, True)
    assert 8 <= sum(waits) <= 10


def test_bases_that_are_read_for_deltas_count_in_the_budget(tmp_path: Path) -> None:
    rig, chance = CollectRig(tmp_path), random.Random(2)
    for _ in range(40):
        data = chance.randbytes(250_000)
        base = pack_chunk(ChunkKind.DATA, data)
        rig.store.put("b", [base])
        rig.store.put("b", [pack_chunk(ChunkKind.DATA, data[:-1] + b"!", None, base.digest)])
    waits: list[float] = []
    report = Scrubber(rig.store, pace=Pace(1_000_000, waits.append)).run(lambda: False, lambda done, total: None, True)
    assert report.read_bytes < 10_200_000 and report.chunks == 80
    assert 11.6 <= sum(waits) <= 20.4  # 10 MB of bases twice, less what was not waited for yet


def test_a_healed_chunk_is_not_taken_from_an_older_bad_record(tmp_path: Path) -> None:
    rig = filled(tmp_path)
    one_bit(rig)
    scrub(rig)
    rig.put(DATA[0])
    report = scrub(rig)
    assert report.damaged_chunks == 0, "the bad record is garbage now; its pack is still told"
