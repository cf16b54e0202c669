"""Collect removes what nothing names, after two marks, and nothing else."""

import contextlib
import random
from pathlib import Path

import pytest

import snapshots.packs as packs_module
import staging.journal as journal_module
from core.digest import digest_of
from core.errors import StagekeeperError
from snapshots import garbage_db
from snapshots.collect import CollectBusy, Collector
from snapshots.control_format import SnapshotDeleted, SnapshotDropped
from snapshots.garbage_db import RunFenced
from snapshots.mark import JournalPart, MarkAborted, Roots
from snapshots.mark_child import MarkStopped, mark_here, run_mark
from staging.changes import Attributes, Chunk, Content, Create, Kind, Unlink, Write
from staging.chunk_format import ChunkKind, pack_chunk
from staging.receiver import ChunkMissing
from tests.share_rig import ShareRig, listing
from tests.snapshots.collect_rig import HOUR, CollectRig, condemned, drain, ignore, pack_bytes, place, roots_of, stored
from tests.snapshots.test_delta import edited, text

PLAIN = Attributes(0o644, 0, 0, 0)


def put_data(rig: ShareRig, data: bytes) -> bytes:
    chunk = pack_chunk(ChunkKind.DATA, data)
    rig.store.put("branch", [chunk])
    return chunk.digest


def noise(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def test_what_nothing_names_goes_after_two_marks_and_its_margins(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, rig.put(noise(100_000, 1)))])
    kept = stored(rig.store)
    garbage = put_data(rig, noise(50_000, 2))
    assert rig.collect().condemned == 1
    assert condemned(rig.store) == {garbage}
    second = rig.collect()
    assert (second.removed_chunks, second.resurrected) == (1, 0) and second.removed_bytes > 50_000
    assert stored(rig.store) == kept
    assert listing(rig.live())[b"f"][2] == noise(100_000, 1)


def test_young_chunks_are_not_condemned(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    put_data(rig, noise(50_000, 2))
    rig.test_clock.pass_(47 * HOUR)
    round_ = rig.begin()
    round_.mark(roots_of(rig), lambda: False, lambda seen: None)
    drain(round_.steps())
    assert round_.end().condemned == 0


def test_what_was_told_to_be_there_within_48_hours_is_not_condemned(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    garbage = put_data(rig, noise(50_000, 2))
    rig.test_clock.pass_(40 * HOUR)
    assert rig.store.missing("branch", [(ChunkKind.DATA, garbage)]) == []
    rig.test_clock.pass_(40 * HOUR)
    round_ = rig.begin()
    round_.mark(roots_of(rig), lambda: False, lambda seen: None)
    drain(round_.steps())
    assert round_.end().condemned == 0


def test_a_condemned_chunk_is_missing_but_readable_and_comes_back_when_it_is_put(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    data = noise(50_000, 2)
    garbage = put_data(rig, data)
    rig.collect()
    keys = [(ChunkKind.DATA, garbage)]
    assert rig.store.missing("branch", keys) == keys
    assert rig.store.data(garbage) == data
    size = pack_bytes(tmp_path)
    put_data(rig, data)
    assert rig.store.missing("branch", keys) == [] and pack_bytes(tmp_path) == size
    assert condemned(rig.store) == set()
    rig.collect()
    assert rig.store.data(garbage) == data


def test_a_frame_that_names_a_condemned_chunk_is_refused_by_name_until_it_is_sent(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    content = rig.put(noise(600_000, 2))
    rig.collect()
    with pytest.raises(ChunkMissing):
        rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, content)])
    rig.put(noise(600_000, 2))
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, content)])
    rig.collect_all()
    assert listing(rig.live())[b"f"][2] == noise(600_000, 2)


def test_a_node_with_a_condemned_chunk_below_it_is_missing_and_cannot_be_put_before_the_chunk(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    content = rig.put(noise(600_000, 2))
    assert content is not None
    root = (ChunkKind.NODE, content.digest)
    assert rig.store.missing("branch", [root]) == []  # type: ignore[list-item]
    (chunk,) = [digest for digest in stored(rig.store) if digest != content.digest][:1]
    rig.store.parts.presence.forget()  # as the begin of a mark does
    with rig.store.parts.lock:
        run = garbage_db.begin_run(rig.store.parts.index, 0)
        garbage_db.condemn(rig.store.parts.index, run, [chunk], 0)
    assert rig.store.missing("branch", [root]) == [root]  # type: ignore[list-item]
    node = pack_chunk(ChunkKind.NODE, bytes(rig.store.node(content.digest)))
    with pytest.raises(ChunkMissing) as refused:
        rig.store.put("branch", [node])
    assert chunk.hex() in str(vars(refused.value))


def test_snapshots_closed_rows_and_the_journal_keep_what_they_name(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    first, second = noise(300_000, 1), noise(300_000, 2)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, rig.put(first))])
    shot = rig.snapshot()
    rig.fold.fold_all()
    rig.send([b"f"], [Content(0, rig.put(second), PLAIN), Write(0, 10, b"inside")])
    rig.send([b"g", b"f"], [Create(0, Kind.FILE, PLAIN, rig.put(noise(300_000, 3))), Unlink(0)])  # only the journal names it
    before = stored(rig.store)
    assert sum(report.removed_chunks for report in rig.collect_all()) == 0
    assert before <= stored(rig.store)
    assert listing(rig.reader.view(shot.sequence))[b"f"][2] == first
    assert listing(rig.live())[b"f"][2] == second[:10] + b"inside" + second[16:]
    rig.lose_catalogue()
    assert listing(rig.live())[b"f"][2] == second[:10] + b"inside" + second[16:]


def test_a_named_delta_keeps_its_base_and_an_unnamed_pair_goes_together(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    data = text(80_000)
    base = put_data(rig, data)
    chunk = pack_chunk(ChunkKind.DATA, edited(data, 1), None, base)  # type: ignore[arg-type]
    rig.store.put("branch", [chunk])
    assert rig.store.parts.index.locations([chunk.digest])[chunk.digest].base == base
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, Chunk(chunk.digest, len(data)))])
    rig.collect_all()
    assert listing(rig.live())[b"f"][2] == edited(data, 1)
    assert {base, chunk.digest} <= stored(rig.store)


def test_an_unnamed_delta_and_its_base_are_removed_in_one_run(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    data = text(80_000)
    base = put_data(rig, data)
    rig.store.put("branch", [pack_chunk(ChunkKind.DATA, edited(data, 1), None, base)])  # type: ignore[arg-type]
    rig.collect()
    assert rig.collect().removed_chunks == 2 and stored(rig.store) == set()


def test_putting_a_condemned_delta_again_brings_its_base_back_too(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    data = text(80_000)
    base = put_data(rig, data)
    chunk = pack_chunk(ChunkKind.DATA, edited(data, 1), None, base)  # type: ignore[arg-type]
    rig.store.put("branch", [chunk])
    rig.collect()
    assert condemned(rig.store) == {base, chunk.digest}
    put_data(rig, edited(data, 1))
    assert condemned(rig.store) == set()
    assert rig.store.missing("branch", [(ChunkKind.DATA, chunk.digest)]) == []


def test_a_root_that_is_not_in_the_index_aborts_and_removes_nothing(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    content = rig.put(noise(10_000, 1))
    assert content is not None
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, content)])
    garbage = put_data(rig, noise(50_000, 2))
    rig.collect()
    rig.store.parts.index.connection.execute("DELETE FROM chunk WHERE digest=?", (content.digest,))
    with pytest.raises(MarkAborted, match=content.digest.hex()):
        rig.collect()
    assert garbage in stored(rig.store)


def test_an_unreadable_node_or_journal_aborts(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    content = rig.put(noise(600_000, 1))
    assert content is not None
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, content)])
    segment = rig.journal.extents()[-1][0]
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-5] + b"\0" + whole[-4:])
    with pytest.raises(MarkAborted, match="cannot be read behind"):
        rig.collect()
    segment.write_bytes(whole)
    location = rig.store.parts.index.locations([content.digest])[content.digest]  # type: ignore[list-item, index]
    pack = rig.store.parts.packs.path(location.pack)
    damaged = bytearray(pack.read_bytes())
    damaged[location.end - 1] ^= 1
    pack.write_bytes(bytes(damaged))
    with pytest.raises(MarkAborted, match=content.digest.hex()):
        rig.collect()


def test_a_missing_catalogue_aborts(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    garbage = put_data(rig, noise(50_000, 2))
    with pytest.raises(StagekeeperError, match=r"none\.db"):
        Collector(rig.store, rig.place()).run(lambda: Roots([], [str(tmp_path / "none.db")]), lambda: False, ignore)
    assert garbage in stored(rig.store) and condemned(rig.store) == set()


def test_only_one_run_at_a_time_and_an_older_one_is_fenced(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    put_data(rig, noise(50_000, 2))
    rig.test_clock.pass_(80 * HOUR)
    old = rig.begin()
    old.mark(roots_of(rig), lambda: False, lambda seen: None)
    rig.begin()
    with pytest.raises(RunFenced):
        drain(old.steps())
    assert condemned(rig.store) == set()
    collector = Collector(rig.store, rig.place())

    def again() -> Roots:
        with pytest.raises(CollectBusy):
            collector.run(lambda: roots_of(rig), lambda: False, ignore)
        return roots_of(rig)

    collector.run(again, lambda: False, ignore)


def test_a_run_that_is_stopped_anywhere_leaves_nothing_wrong(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, rig.put(noise(600_000, 1)))])
    for seed in range(5):
        put_data(rig, noise(50_000, 10 + seed))
    rig.test_clock.pass_(80 * HOUR)
    for stop_at in range(1, 12):
        asked = 0

        def stopping(stop_at: int = stop_at) -> bool:
            nonlocal asked
            asked += 1
            return asked >= stop_at

        rig.test_clock.pass_(80 * HOUR)
        with contextlib.suppress(MarkStopped):
            Collector(rig.store, rig.place()).run(lambda: roots_of(rig), stopping, ignore)
        assert listing(rig.live())[b"f"][2] == noise(600_000, 1)
    rig.collect_all()
    assert listing(rig.live())[b"f"][2] == noise(600_000, 1)


def test_dead_packs_go_through_the_trash_and_half_dead_ones_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", 200_000)
    rig = CollectRig(tmp_path)
    kept = []
    for number in range(30):
        data = noise(20_000, number)
        if number % 5 == 0 and number >= 10:
            kept.append((number, data))
            rig.send([b"f%d" % number], [Create(0, Kind.FILE, PLAIN, rig.put(data))])
        else:
            put_data(rig, data)
    packs = set(rig.store.parts.packs.numbers())
    assert rig.store.stored_bytes("branch") > 600_000
    reports = rig.collect_all()
    assert 80_000 < rig.store.stored_bytes("branch") < 81_000, "it takes what its chunks take where they stand now"
    assert sum(report.removed_chunks for report in reports) == 26
    assert sum(report.moved_chunks for report in reports) >= 3 and sum(report.cleared_packs for report in reports) >= 3
    assert sum(report.freed_bytes for report in reports) > 400_000
    assert not packs & set(rig.store.parts.packs.numbers())
    live = listing(rig.live())
    assert all(live[b"f%d" % number][2] == data for number, data in kept)
    assert pack_bytes(tmp_path) < 150_000
    rig.reopen()
    live = listing(rig.live())
    assert all(live[b"f%d" % number][2] == data for number, data in kept)


def test_who_looked_a_place_up_before_a_repack_still_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", 100_000)
    rig = CollectRig(tmp_path)
    data = noise(20_000, 1)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, rig.put(data))])
    for seed in range(10, 20):
        put_data(rig, noise(20_000, seed))
    digest = digest_of(data)
    before = rig.store.parts.index.locations([digest])
    rig.collect_all()
    assert rig.store.parts.index.locations([digest]) != before
    assert rig.store.parts.reader._read(ChunkKind.DATA, digest, before) == data
    assert rig.store.parts.lost == set()


def test_an_index_made_again_after_a_collect_brings_back_garbage_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", 300_000)
    rig = CollectRig(tmp_path)
    data = noise(600_000, 1)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, rig.put(data))])
    lone = text(80_000)
    base = put_data(rig, lone)
    delta = pack_chunk(ChunkKind.DATA, edited(lone, 1), None, base)  # type: ignore[arg-type]
    rig.store.put("branch", [delta])
    garbage = rig.put(noise(600_000, 2))
    assert garbage is not None
    rig.collect_all()
    left = stored(rig.store)
    assert base not in left and garbage.digest not in left
    rig.close()
    for path in tmp_path.glob("index.db*"):
        path.unlink()
    rig._open()
    assert left <= stored(rig.store)
    assert listing(rig.live())[b"f"][2] == data
    for kind, digest in [(ChunkKind.NODE, garbage.digest), (ChunkKind.DATA, delta.digest)]:
        if rig.store.missing("branch", [(kind, digest)]) == []:  # type: ignore[list-item]
            rig.store.read(kind, digest)  # type: ignore[arg-type]
    rig.put(noise(600_000, 2))
    rig.send([b"g"], [Create(0, Kind.FILE, PLAIN, garbage)])
    rig.collect_all()
    assert listing(rig.live())[b"g"][2] == noise(600_000, 2)


def test_the_mark_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, rig.put(noise(600_000, 1)))])
    garbage = put_data(rig, noise(50_000, 2))
    rig.test_clock.pass_(80 * HOUR)
    own = place(tmp_path)
    collector = Collector(rig.store, type(own)(own.folder, own.salt, run_mark))
    assert collector.run(lambda: roots_of(rig), lambda: False, ignore).condemned == 1
    assert condemned(rig.store) == {garbage}
    with pytest.raises(MarkAborted, match="nope"):
        collector.run(lambda: Roots([[JournalPart(str(tmp_path / "journal" / "nope.skj"), 5)]], []), lambda: False, ignore)


def test_times_written_under_a_wrong_clock_do_not_keep_garbage_for_years(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    put_data(rig, noise(50_000, 2))
    rig.test_clock.pass_(400 * 24 * HOUR)
    rig.collect()
    rig.test_clock.pass_(-400 * 24 * HOUR)
    assert sum(report.removed_chunks for report in rig.collect_all()) == 1


def test_a_base_that_is_named_by_a_young_delta_is_not_condemned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", 20_000)
    rig = CollectRig(tmp_path)
    data = text(80_000)
    base = put_data(rig, data)
    rig.test_clock.pass_(200 * HOUR)
    rig.store.put("branch", [pack_chunk(ChunkKind.DATA, edited(data, 1), None, base)])  # type: ignore[arg-type]
    rig.reopen()  # nothing counts as touched
    round_ = rig.begin()
    round_.mark(roots_of(rig), lambda: False, lambda seen: None)
    drain(round_.steps())
    assert condemned(rig.store) == set()


def test_what_only_a_dropped_snapshot_saw_goes_and_a_rebuild_from_seals_still_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: drop, seal, sweep, trim the journal, collect; then lose the catalogue."""
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1)  # a segment for each frame
    rig = CollectRig(tmp_path)
    first, second = noise(100_000, 1), noise(100_000, 2)
    old, new = rig.put(first), rig.put(second)
    assert old is not None and new is not None
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, old)])
    shot = rig.snapshot()
    rig.fold.fold_all()
    rig.send([b"f"], [Content(0, new, PLAIN)])
    kept = rig.snapshot()
    rig.send([b"g"], [Create(0, Kind.FILE, PLAIN, rig.put(b"more"))])
    rig.snapshot()
    rig.fold.fold_all()
    rig.sealer.seal()
    assert sum(report.removed_chunks for report in rig.collect_all()) == 0
    rig.fold.order(lambda number, _: SnapshotDeleted(number, shot.id, 1, 1, ""))
    rig.fold.order(lambda number, _: SnapshotDropped(number, shot.id))
    rig.send([b"h"], [Create(0, Kind.FILE, PLAIN, rig.put(b"last"))])
    rig.snapshot()
    rig.fold.fold_all()
    rig.sealer.seal(full=True)
    while rig.fold.sweep():
        pass
    assert sum(report.removed_chunks for report in rig.collect_all()) == 2, "head and body of the seal before the full one"
    assert old.digest in stored(rig.store), "the journal still names it"
    rig.fold.trim_journal(kept.sequence)
    rig.collect_all()
    assert old.digest not in stored(rig.store) and new.digest in stored(rig.store)
    rig.lose_catalogue()
    live = listing(rig.live())
    assert live[b"f"][2] == second and live[b"h"][2] == b"last"
    assert listing(rig.reader.view(kept.sequence))[b"f"][2] == second


def test_a_segment_that_is_trimmed_while_the_mark_runs_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1)
    rig = CollectRig(tmp_path)
    for number in range(3):
        rig.send([b"f%d" % number], [Create(0, Kind.FILE, PLAIN, rig.put(noise(50_000, number)))])
    rig.snapshot()
    rig.fold.fold_all()
    rig.sealer.seal()
    rig.test_clock.pass_(80 * HOUR)
    round_ = rig.begin()
    roots = roots_of(rig)
    assert len(roots.journals[0]) > 2
    rig.fold.trim_journal(2)
    assert not Path(roots.journals[0][0].path).exists()
    round_.mark(roots, lambda: False, lambda seen: None)
    drain(round_.steps())
    assert round_.end().condemned == 0
    assert listing(rig.live())[b"f0"][2] == noise(50_000, 0)


def test_all_segments_may_be_trimmed_while_the_mark_runs_also_when_only_old_seals_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1)
    rig = CollectRig(tmp_path)
    for number in range(3):
        rig.send([b"f%d" % number], [Create(0, Kind.FILE, PLAIN, rig.put(noise(50_000, number)))])
        rig.snapshot()
        rig.fold.fold_all()
        rig.sealer.seal(full=True)
    rig.collect_all()  # the seals before the newest are gone, their records are not
    rig.test_clock.pass_(80 * HOUR)
    round_ = rig.begin()
    roots = roots_of(rig)
    trimmed = False

    def report(seen: int) -> None:
        nonlocal trimmed
        if not trimmed:
            trimmed = True
            rig.send([b"last"], [Create(0, Kind.FILE, PLAIN, rig.put(b"last"))])
            rig.journal.begin_segment()
            rig.snapshot()
            rig.fold.fold_all()
            rig.sealer.seal(full=True)
            rig.fold.trim_journal(rig.fold.sequence, last_too=True)

    own = rig.place()
    round_ = type(round_)(rig.store.parts, type(own)(own.folder, own.salt, lambda plan, *_: mark_here(plan, report)), rig.margins)
    round_.begin(lambda: False)
    round_.mark(roots, lambda: False, lambda seen: None)
    assert trimmed and not any(Path(part.path).exists() for part in roots.journals[0])
    drain(round_.steps())
    assert round_.end().condemned == 0


def test_a_newest_segment_that_is_missing_aborts(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, rig.put(noise(50_000, 1)))])
    round_ = rig.begin()
    roots = roots_of(rig)
    Path(roots.journals[0][-1].path).unlink()
    with pytest.raises(FileNotFoundError):
        round_.mark(roots, lambda: False, lambda seen: None)
