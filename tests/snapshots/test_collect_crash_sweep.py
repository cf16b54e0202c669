"""Collect killed at every durable operation, in every way, and at every write of the index: old or new, never half.

After recovery everything that is named can be read, what is garbage is collected by later runs, and the store takes data.
"""

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import snapshots.packs as packs_module
from core.digest import digest_of
from core.errors import StagekeeperError
from snapshots import garbage_db
from snapshots.chunk_reader import ChunkReader
from snapshots.garbage_db import begin_run, condemn  # by name: a test that puts others in their place means collect's
from snapshots.index_db import ChunkIndex
from snapshots.pack_format import Location, PackedRecord
from staging.changes import Attributes, Create, Kind
from staging.chunk_format import ChunkKind, pack_chunk
from tests.faulty_files import FaultyFiles, Killed
from tests.share_rig import listing
from tests.snapshots.collect_rig import CollectRig, pack_bytes
from tests.snapshots.test_delta import edited, text

pytestmark = pytest.mark.in_memory

PLAIN = Attributes(0o644, 0, 0, 0)
NOISE = [random.Random(seed).randbytes(9_000) for seed in range(24)]
NAMED = range(0, 24, 5)
TEXT = text(30_000)


def fill(rig: CollectRig) -> None:
    """Several packs, most of them garbage; a named delta whose base is not named; named chunks that an older run condemned."""
    base = pack_chunk(ChunkKind.DATA, TEXT)
    rig.store.put("branch", [base])
    for number, data in enumerate(NOISE):
        chunk = pack_chunk(ChunkKind.DATA, data)
        rig.store.put("branch", [chunk])
        if number in NAMED:
            rig.send([b"f%d" % number], [Create(0, Kind.FILE, PLAIN, rig.put(data))])
    rig.store.put("branch", [pack_chunk(ChunkKind.DATA, edited(TEXT, 1), None, base.digest)])
    rig.send([b"d"], [Create(0, Kind.FILE, PLAIN, rig.put(edited(TEXT, 1)))])
    rig.snapshot()
    rig.fold.fold_all()
    index = rig.store.parts.index
    named = [digest_of(NOISE[number]) for number in NAMED] + [digest_of(edited(TEXT, 1))]
    condemn(index, begin_run(index, 0), named, 0)


def expected() -> dict[bytes, bytes]:
    return {**{b"f%d" % number: NOISE[number] for number in NAMED}, b"d": edited(TEXT, 1)}


def scenario(folder: Path, files: "Armed") -> None:
    """Fill soundly, then collect until the fault ends it."""
    rig = CollectRig(folder, files)
    fill(rig)
    files.armed = True
    try:
        rig.collect_all()
        rig.close()
    except (Killed, StagekeeperError, OSError):
        pass


class Armed(FaultyFiles):
    """Counts only what happens once `armed` is set."""

    armed = False

    def _before(self, verb: str, path: Path) -> None:
        if self.armed:
            super()._before(verb, path)

    def _is_due(self) -> bool:
        return self.armed and super()._is_due()

    def _after(self) -> None:
        if self.armed:
            super()._after()


def check(folder: Path) -> None:
    rig = CollectRig(folder)
    live = {path: row[2] for path, row in listing(rig.live()).items() if path}
    assert live == expected()
    rig.collect_all()
    assert {path: row[2] for path, row in listing(rig.live()).items() if path} == expected()
    assert rig.store.parts.lost == set()
    assert pack_bytes(folder) < 130_000, "garbage must go in the end"
    content = rig.put(b"still taking data")
    rig.send([b"new"], [Create(0, Kind.FILE, PLAIN, content)])
    rig.close()
    for path in folder.glob("index.db*"):
        path.unlink()
    rig._open()
    assert {path: row[2] for path, row in listing(rig.live()).items() if path} == {**expected(), b"new": b"still taking data"}
    rig.close()


def operations(folder: Path) -> int:
    folder.mkdir()
    files = Armed()
    scenario(folder, files)
    assert {entry.split()[0] for entry in files.log} >= {"rename", "unlink", "write", "sync", "sync_directory"}
    return files.count


LONG = [pytest.param(fault, marks=pytest.mark.long) for fault in ("kill_after", "EIO", "ENOSPC")]


@pytest.mark.parametrize("fault", ["kill", "torn", *LONG])
@pytest.mark.parametrize("power_cut", [False, True], ids=["process-killed", "power-cut"])
def test_every_durable_operation_of_collect_can_be_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, power_cut: bool
) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", 40_000)
    total = operations(tmp_path / "whole")
    fired = 0
    for at in range(1, total + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        files = Armed(at, fault)
        scenario(folder, files)
        if power_cut:
            files.lose_unsynced()
        fired += files.fired
        check(folder)
    assert total > 15 and fired >= total - 3


WRITES = ["begin_run", "end_run", "condemn", "resurrect", "remove", "forget_held", "move", "forget_pack"]


@pytest.mark.parametrize("verb", WRITES)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_every_write_of_the_index_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, after: bool
) -> None:
    real: Callable[..., object] = getattr(garbage_db, verb)
    kills = 0
    for at in range(1, 200):
        folder = tmp_path / str(at)
        folder.mkdir()
        files = Armed()
        calls = 0

        def killed(*arguments: object, at: int = at) -> object:
            nonlocal calls
            calls += 1
            if calls == at and not after:
                raise Killed
            answer = real(*arguments)
            if calls == at:
                raise Killed
            return answer

        with monkeypatch.context() as patch:
            patch.setattr(packs_module, "PACK_BYTES", 40_000)
            patch.setattr(garbage_db, verb, killed)
            patch.setattr(garbage_db, "BATCH", 5)
            scenario(folder, files)
        with monkeypatch.context() as patch:
            patch.setattr(packs_module, "PACK_BYTES", 40_000)
            check(folder)
        if calls < at:
            break
        kills += 1
        if at >= 4:
            break
    assert kills, f"{verb} was never called: nothing was tried"


def test_the_index_is_durable_before_a_pack_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant-proof order: rows moved, index durable, then the pack into the trash."""
    monkeypatch.setattr(packs_module, "PACK_BYTES", 40_000)
    rig = CollectRig(tmp_path)
    fill(rig)
    order: list[str] = []
    durable, discard, move = ChunkIndex.make_durable, packs_module.PackDirectory.discard, garbage_db.move
    monkeypatch.setattr(ChunkIndex, "make_durable", lambda self: (order.append("durable"), durable(self))[1])
    monkeypatch.setattr(
        packs_module.PackDirectory, "discard", lambda self, n, t: (order.append("discard"), discard(self, n, t))[1]
    )
    monkeypatch.setattr(garbage_db, "move", lambda *given: (order.append("move"), move(*given))[1])
    rig.collect_all()
    assert "move" in order and "discard" in order
    for place, what in enumerate(order):
        if what == "discard":
            assert order[place - 1] == "durable"


def test_making_the_index_durable_really_syncs_its_log(tmp_path: Path) -> None:
    """Seen from outside: what is asked of SQLite may be nothing to it."""
    assert shutil.which("strace"), "strace is missing: apt-get install strace"
    script = (
        "import sys; from pathlib import Path; from snapshots import garbage_db; from snapshots.index_db import ChunkIndex;"
        "index = ChunkIndex(Path('index.db'), 1); garbage_db.begin_run(index, 1);"
        "print('before', flush=True); index.make_durable(); print('after', flush=True)"
    )
    done = subprocess.run(
        ["strace", "-f", "-qq", "-y", "-o", "calls", "-e", "trace=write,fsync,fdatasync", sys.executable, "-c", script],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text()
    between = calls[calls.index('"before') : calls.index('"after')]
    assert "index.db-wal" in between and "sync(" in between, between


def test_index_commits_that_a_power_cut_loses_lose_no_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index as it was before the moves, the packs as they are after them, short of what only a durable index allows."""
    monkeypatch.setattr(packs_module, "PACK_BYTES", 40_000)
    rig = CollectRig(tmp_path)
    fill(rig)
    rig.collect()
    rig.store.truncate_logs()
    before = (tmp_path / "index.db").read_bytes()

    def killed(self: ChunkIndex) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ChunkIndex, "make_durable", killed)
        patch.setattr("snapshots.repack.PackClearing._discard", lambda self, number, copied: None)
        rig.collect()
    assert rig.store.counts()[0] > 0
    rig.close()
    for path in tmp_path.glob("index.db*"):
        path.unlink()
    (tmp_path / "index.db").write_bytes(before)
    check(tmp_path)


class _Unchecked:
    """Mutant `skip_digest_check`: a repack copies what stands there without looking at it."""

    @staticmethod
    def record(self: ChunkReader, location: Location, kind: ChunkKind, digest: object) -> PackedRecord:
        return self._packs.read(location)


def damaged_repack(folder: Path) -> tuple[bool, bool]:
    """Return (is the damage told, did the pack with the bad record stay) of a repack over a bad record."""
    rig = CollectRig(folder)
    fill(rig)
    digest = pack_chunk(ChunkKind.DATA, NOISE[5]).digest
    location = rig.store.parts.index.locations([digest])[digest]
    path = rig.store.parts.packs.path(location.pack)
    data = bytearray(path.read_bytes())
    data[location.end - 9] ^= 1
    path.write_bytes(bytes(data))
    reports = rig.collect_all()
    told = any(digest.hex() in message for report in reports for message in report.damaged)
    stays = rig.store.parts.index.locations([digest])[digest] == location and path.exists()
    others = [number for number in NAMED if number != 5]
    assert all(rig.store.data(pack_chunk(ChunkKind.DATA, NOISE[number]).digest) == NOISE[number] for number in others)
    return told, stays


def test_a_repack_never_copies_wrong_bytes_and_tells_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", 40_000)
    (tmp_path / "right").mkdir()
    assert damaged_repack(tmp_path / "right") == (True, True)
    monkeypatch.setattr(ChunkReader, "checked_record", _Unchecked.record)
    (tmp_path / "mutant").mkdir()
    assert damaged_repack(tmp_path / "mutant") != (True, True)
