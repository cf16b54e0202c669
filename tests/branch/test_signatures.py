"""Signatures in the memory: they follow the outbox, are void for any other content, and go with their files."""

import os
import sqlite3
from pathlib import Path
from random import Random

import pytest

from branch.block_sums import SUM_BYTES, WINDOW_BYTES
from branch.known import MIRROR_OPEN, PutRows
from branch.known_db import KnownDb
from branch.node_reader import READ_AGAIN
from branch.ranges import MAX_RANGE_BYTES
from branch.signature import NewSignature, Signature
from core.digest import Digest
from staging.changes import Content, Create, SimpleChange, Truncate, Write
from staging.protocol import Position
from staging.references import simple_changes
from tests.branch.edits import Editor
from tests.branch.rig import Rig
from tests.branch.test_crashes import Children, check_ledger
from tests.branch.test_known_db import row

SIZE = 5_000_000
END = Position(1, 5, Digest(b"h" * 32))


def patch(rig: Rig, random: Random, count: int = 1, name: str = "big") -> None:
    size = os.stat(rig.path(name)).st_size
    with open(rig.path(name), "r+b") as file:
        for _ in range(count):
            file.seek(random.randrange(size - 150))
            file.write(random.randbytes(150))


def said_of_contents(rig: Rig, since: int) -> list[SimpleChange]:
    """Return the changes of contents sent behind a sequence."""
    frames = [frame for frame in rig.target.frames() if frame.header.first_sequence > since]
    changes = [change for frame in frames for change in simple_changes(frame.changes)]
    return [change for change in changes if isinstance(change, Write | Truncate | Content | Create)]


@pytest.fixture
def laid(rig: Rig) -> Rig:
    (rig.tree / "big").write_bytes(Random(1).randbytes(SIZE))
    rig.protect()
    rig.once()
    rig.check()
    return rig


def memory(rig: Rig) -> Path:
    (path,) = rig.state.path.rglob("known.db")
    return path


def kept(rig: Rig) -> tuple[int, int]:
    """Return how many signatures the memory holds, and how many pages."""
    database = sqlite3.connect(memory(rig))
    try:
        (signatures,), (pages,) = (
            database.execute(f"SELECT count(*) FROM {table}").fetchone() for table in ("signature", "signature_page")
        )
        return signatures, pages
    finally:
        database.close()


def test_a_small_write_into_a_large_file_travels_as_at_most_two_blocks(laid: Rig) -> None:
    random = Random(2)
    for _ in range(5):
        since, put = laid.target.durable(), laid.target.store.put_chunks
        patch(laid, random)
        laid.once()
        said = said_of_contents(laid, since)
        assert len(said) == 1 and isinstance(said[0], Write) and len(said[0].data) <= 1024
        assert laid.target.store.put_chunks == put
        laid.check()


def test_all_writes_of_one_file_stand_in_one_change(laid: Rig) -> None:
    since = laid.target.durable()
    patch(laid, Random(3), 600)
    os.truncate(laid.path("big"), SIZE - 100_000)
    laid.once()
    assert laid.target.durable() == since + 1 and len(said_of_contents(laid, since)) > 500
    laid.check()


def test_the_most_that_one_file_sends_as_ranges_fits_into_a_frame_beside_others(rig: Rig) -> None:
    size, random = 24_000_000, Random(3)
    (rig.tree / "big").write_bytes(random.randbytes(size))
    rig.protect()
    rig.once()
    since = rig.target.durable()
    for number in range(900):
        (rig.tree / f"a{number}").write_bytes(b"")
        os.setxattr(rig.path(f"a{number}"), b"user.long", random.randbytes(2000))
    with open(rig.path("big"), "r+b") as file:
        for number in range(MAX_RANGE_BYTES // 512):
            file.seek(number * size // (MAX_RANGE_BYTES // 512) // 512 * 512)
            file.write(random.randbytes(8))
    rig.once()
    rig.check()
    said = [change for change in said_of_contents(rig, since) if not isinstance(change, Create)]
    assert sum(len(change.data) for change in said if isinstance(change, Write)) == MAX_RANGE_BYTES
    assert all(isinstance(change, Write) for change in said)


def test_an_atomic_save_is_sent_as_ranges_and_takes_the_signature_over(laid: Rig) -> None:
    laid.replay.take_all(laid.target)
    node, since, before = laid.replay.find(b"big"), laid.target.durable(), kept(laid)
    for number in range(3):
        data = bytearray((laid.tree / "big").read_bytes())
        data[1_000_000 * number : 1_000_000 * number + 4] = b"edit"
        (laid.tree / "saving").write_bytes(data)
        os.rename(laid.path("saving"), laid.path("big"))
        laid.once()
    assert all(isinstance(change, Write) for change in said_of_contents(laid, since))
    assert laid.check().find(b"big") is node and kept(laid) == before


def test_a_content_by_chunks_behind_ranges_asks_for_what_was_never_put(laid: Rig, caplog: pytest.LogCaptureFixture) -> None:
    patch(laid, Random(4), 5)
    laid.once()
    since = laid.target.durable()
    data = (laid.tree / "big").read_bytes()
    (laid.tree / "big").write_bytes(b"inserted" + data)
    laid.once()
    assert [type(change) for change in said_of_contents(laid, since)] == [Content]
    laid.check()  # the target of these tests never makes chunks of writes, so all that were never put have come now
    assert "lacks chunks" not in caplog.text, "no second look was needed"


def test_signatures_go_with_their_files(laid: Rig) -> None:
    assert kept(laid) == (1, 2)
    (laid.tree / "saving").write_bytes(Random(9).randbytes(SIZE))
    os.rename(laid.path("saving"), laid.path("big"))
    laid.once()
    assert kept(laid) == (1, 2)
    os.truncate(laid.path("big"), 4_500_000)
    laid.once()
    assert kept(laid) == (1, 2)
    os.truncate(laid.path("big"), WINDOW_BYTES)
    laid.once()
    assert kept(laid) == (1, 1)
    os.unlink(laid.path("big"))
    laid.once()
    assert kept(laid) == (0, 0)


def test_a_memory_of_before_signatures_opens_and_gets_them_with_the_next_change(laid: Rig) -> None:
    database = sqlite3.connect(memory(laid))
    database.executescript(
        "DROP TABLE signature; DROP TABLE signature_page; DROP TABLE taken; ALTER TABLE progress DROP COLUMN mirror_end;"
        " PRAGMA user_version = 1;"
    )
    database.close()
    random = Random(5)
    for expected in (Content, Write):
        since = laid.target.durable()
        patch(laid, random)
        laid.once()
        assert [type(change) for change in said_of_contents(laid, since)] == [expected]
        laid.check()


def keep_moving(rig: Rig, monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """Change a file just before it is asked whether it stood still, each time that it is read in the next look."""
    real, readings, random = os.fstat, [], Random(6)
    inode = os.stat(rig.path(name)).st_ino

    def fstat(descriptor: int) -> os.stat_result:
        if real(descriptor).st_ino == inode and len(readings) <= READ_AGAIN:
            readings.append(1)
            patch(rig, random, name=name)
        return real(descriptor)

    monkeypatch.setattr(os, "fstat", fstat)
    return readings


def test_a_file_that_never_rests_is_sent_as_it_was_read_and_looked_at_again(laid: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    since = laid.target.durable()
    patch(laid, Random(5))
    readings = keep_moving(laid, monkeypatch, "big")
    laid.once()
    assert len(readings) == READ_AGAIN + 1
    assert all(isinstance(change, Write) for change in said_of_contents(laid, since))
    laid.check()


def test_readings_that_count_for_nothing_leave_no_pages(laid: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    (laid.tree / "fresh").write_bytes(Random(7).randbytes(SIZE))
    readings = keep_moving(laid, monkeypatch, "fresh")
    laid.once()
    assert len(readings) == READ_AGAIN + 1 and kept(laid) == (2, 4)
    laid.check()


def test_while_a_baseline_is_laid_contents_go_by_chunks(laid: Rig) -> None:
    database = sqlite3.connect(memory(laid))
    database.execute(f"UPDATE progress SET mirror = {MIRROR_OPEN}")
    database.commit()
    database.close()
    since = laid.target.durable()
    patch(laid, Random(8))
    laid.once()
    assert [type(change) for change in said_of_contents(laid, since)] == [Content]


@pytest.mark.parametrize("seed", range(4))
def test_random_edits_of_large_files_converge_and_send_little(rig: Rig, seed: int) -> None:
    random = Random(seed)
    for name in ("one", "two"):
        (rig.tree / name).write_bytes(random.randbytes(random.randrange(70_000, 3_000_000)))
    rig.protect()
    rig.once()
    for _ in range(12):
        since, name = rig.target.durable(), random.choice(["one", "two"])
        size, verb = os.stat(rig.path(name)).st_size, random.randrange(5)
        if verb == 0:
            data = (rig.tree / name).read_bytes()
            place = random.randrange(size)
            (rig.tree / name).write_bytes(data[:place] + random.randbytes(99) + data[place:])
        elif verb == 1:
            os.truncate(rig.path(name), max(size + random.randrange(-200_000, 200_000), 70_000))
        elif verb == 2:
            with open(rig.path(name), "ab") as file:
                file.write(random.randbytes(random.randrange(1, 3000)))
        else:
            patch(rig, random, random.randrange(1, 9), name)
        rig.once()
        rig.check()
        said = said_of_contents(rig, since)
        if verb > 2 and size > 1_000_000:
            assert sum(len(change.data) for change in said if isinstance(change, Write)) <= 8 * 1024
            assert not any(isinstance(change, Content) for change in said)


@pytest.mark.parametrize("fault", ["kill", "kill_after", "torn"])
def test_death_anywhere_leaves_no_signature_that_is_ahead_of_the_outbox(laid: Rig, fault: str) -> None:
    children, random, endings = Children(laid), Random(7), []
    try:
        for at in range(1, 16):  # one more than a run has
            patch(laid, random, 3)
            with open(laid.path("big"), "ab") as file:
                file.write(random.randbytes(700))
            endings.append(children.run(at, fault))
            check_ledger(laid)
            patch(laid, random, 2)
            laid.once()
            laid.check()
            patch(laid, random)
            laid.once()
            laid.check()
    finally:
        children.close()
    assert len(set(endings)) == 2, "some runs died, and the last did not"


def test_random_edits_of_a_tree_with_large_files_and_deaths_converge(rig: Rig) -> None:
    rig.protect()
    children, random = Children(rig), Random(8)
    editor = Editor(rig.tree, random)
    editor.edit(40)
    try:
        for at in range(1, 10):
            for _ in range(6):
                editor.edit(2)
                editor.patch_large()
            children.run(at, "kill_after")
            check_ledger(rig)
            editor.patch_large()
            rig.once()
            rig.check()
    finally:
        children.close()


def signature(number: int, size: int = SIZE) -> NewSignature:
    return NewSignature(Signature(number, size, 512))


def test_a_signature_is_of_one_content_of_one_file(tmp_path: Path) -> None:
    known = KnownDb(tmp_path / "known.db")
    signatures = known.signatures
    number = signatures.begin()
    signatures.add_page(number, 0, b"s" * SUM_BYTES)
    signatures.keep(7, b"content", signature(number))
    assert signatures.of(7, b"content") == Signature(number, SIZE, 512)
    assert signatures.of(7, b"other") is None and signatures.of(8, b"content") is None
    assert signatures.begin() > number
    known.close()


def test_a_roll_back_takes_signatures_back_with_the_rows(tmp_path: Path) -> None:
    known = KnownDb(tmp_path / "known.db")
    number = known.signatures.begin()
    known.signatures.add_page(number, 0, b"12345678" * 3)
    known.take(PutRows([row(b"file", 7)]))
    known.signatures.keep(7, b"content", signature(number, 1500))
    known.commit(END)
    patched = NewSignature(Signature(number, 2000, 512), ((0, 32, [(8, b"newnewne"), (24, b"last4444")]),))
    known.signatures.keep(7, b"newer", patched)
    assert known.signatures.page(number, 0) == b"12345678newnewne12345678last4444"
    known.roll_back()
    assert known.signatures.page(number, 0) == b"12345678" * 3
    assert known.signatures.of(7, b"content") == Signature(number, 1500, 512)
    known.clear()
    assert known.signatures.of(7, b"content") is None and known.signatures.page(number, 0) == b""
    known.close()
