"""An index that is wrong or old is not believed where believing it would lose data."""

import random
from pathlib import Path

import pytest

import snapshots.packs as packs_module
from core.digest import Digest
from snapshots import damage_db
from snapshots.chunk_reader import ChunkLost
from snapshots.scrub import DAY_NS, Pace, Scrubber
from staging.changes import Attributes, Create, Kind
from staging.chunk_format import ChunkKind, address_of
from tests.snapshots.collect_rig import CollectRig, stored

PLAIN = Attributes(0o644, 0, 0, 0)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CollectRig:
    """Eight chunks in four packs, the first named by a file."""
    monkeypatch.setattr(packs_module, "PACK_BYTES", 20_000)
    made = CollectRig(tmp_path)
    for data in DATA:
        made.put(data)
    made.send([b"kept"], [Create(0, Kind.FILE, PLAIN, made.put(DATA[0]))])
    made.fold.fold_all()
    return made


DATA = [random.Random(seed).randbytes(9_000) for seed in range(8)]
KEYS = [(ChunkKind.DATA, address_of(ChunkKind.DATA, data)) for data in DATA]
KEPT = KEYS[0][1]


def scrub(rig: CollectRig) -> list[str]:
    return Scrubber(rig.store, pace=Pace(10**9)).run(lambda: False, lambda done, total: None, True).findings


def is_readable(rig: CollectRig, digest: Digest) -> bool:
    try:
        rig.store.data(digest)
    except ChunkLost:
        return False
    return True


def lose_index(rig: CollectRig) -> None:
    rig.close()
    for path in rig.folder.glob("index.db*"):
        path.unlink()
    rig._open()


def test_a_pack_that_holds_a_chunk_which_the_index_looks_for_elsewhere_stays(rig: CollectRig) -> None:
    index = rig.store.parts.index
    before = index.locations([KEPT])[KEPT]
    index.connection.execute("UPDATE chunk SET pack=? WHERE digest=?", (before.pack + 2, KEPT))
    reports = rig.collect_all()
    assert sum(report.cleared_packs for report in reports) > 0, "others went"
    assert any(f"pack {before.pack} holds chunk {KEPT.hex()}" in told for report in reports for told in report.damaged)
    lose_index(rig)
    assert rig.store.data(KEPT) == DATA[0]


def test_an_older_index_promises_nothing_of_packs_that_are_gone(rig: CollectRig) -> None:
    rig.close()
    older = (rig.folder / "index.db").read_bytes()
    rig._open()
    assert rig.store.missing("branch", KEYS) == []
    rig.collect_all()
    assert len(stored(rig.store)) < len(KEYS)
    rig.close()
    (rig.folder / "index.db").write_bytes(older)
    rig._open()
    asked = {digest for _, digest in rig.store.missing("branch", KEYS)}
    assert asked == {digest for _, digest in KEYS if not is_readable(rig, digest)} and KEPT not in asked
    for data in DATA:
        rig.put(data)
    assert rig.store.missing("branch", KEYS) == [] and all(is_readable(rig, digest) for _, digest in KEYS)


def test_no_pack_takes_the_number_of_one_that_is_lost(rig: CollectRig) -> None:
    newest = rig.store.parts.packs.number
    rig.close()
    rig.store.parts.packs.path(newest).unlink()
    rig._open()
    assert rig.store.missing("branch", KEYS) != []
    for data in DATA:
        rig.put(data)
    assert rig.store.parts.packs.number > newest and all(is_readable(rig, digest) for _, digest in KEYS)


def test_a_pack_that_the_index_has_forgotten_is_read_at_the_next_start(rig: CollectRig) -> None:
    connection = rig.store.parts.index.connection
    connection.execute("DELETE FROM chunk WHERE pack=1")
    connection.execute("DELETE FROM pack WHERE number=1")
    rig.reopen()
    assert rig.store.missing("branch", KEYS) == [] and all(is_readable(rig, digest) for _, digest in KEYS)


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE chunk SET pack=99 WHERE digest=?", "pack 99"),
        ("UPDATE chunk SET size=size+1 WHERE digest=?", "other lengths"),
        ("UPDATE chunk SET stored_bytes=stored_bytes-1 WHERE digest=?", "other lengths"),
        ("UPDATE chunk SET offset=offset+1 WHERE digest=?", "pack 1"),
        ("UPDATE chunk SET base=zeroblob(32) WHERE digest=?", "other lengths"),
    ],
)
def test_scrub_finds_a_row_that_tells_of_a_chunk_what_its_record_does_not(rig: CollectRig, statement: str, told: str) -> None:
    assert scrub(rig) == []
    rig.store.parts.index.connection.execute(statement, (KEPT,))
    assert any(told in finding for finding in scrub(rig))
    rig.put(DATA[0])
    assert is_readable(rig, KEPT) and damage_db.damaged(rig.store.parts.index) == set()
    lose_index(rig)
    assert scrub(rig) == [] and is_readable(rig, KEPT)


@pytest.mark.parametrize("ahead_days", [1 / 24, 400])
def test_what_was_verified_under_a_clock_that_stood_ahead_is_read_within_the_period_all_the_same(
    rig: CollectRig, ahead_days: float
) -> None:
    rig.test_clock.pass_(int(ahead_days * 86_400))
    assert scrub(rig) == []
    rig.test_clock.pass_(-int(ahead_days * 86_400))
    scrubber = Scrubber(rig.store, pace=Pace(10**9))
    for _ in range(31):
        rig.test_clock.pass_(86_400)
        scrubber.run(lambda: False, lambda done, total: None)
        since = scrubber.oldest_verified_ns()
        assert 0 <= rig.test_clock.now_ns() - since <= 30 * DAY_NS
