"""The journal: order, group commit, rolling, torn tails cut and reported, damage told from a torn tail."""

import os
import threading
from itertools import pairwise
from pathlib import Path

import pytest

import staging.journal as journal_module
from core.clock import SystemClock
from core.digest import Digest
from core.framing import read_records
from staging.changes import Change, Write
from staging.frame_format import read_header, seal_frame
from staging.journal import Cursor, Journal
from staging.journal_format import JournalDamaged
from staging.protocol import Position
from tests.faulty_files import FaultyFiles

SHARE = bytes(16)


def append(journal: Journal, changes: int = 1, size: int = 100) -> int:
    position = journal.position
    writes: list[Change] = [Write(0, n, os.urandom(size)) for n in range(changes)]
    frame = seal_frame(SHARE, 1, position.sequence + 1, position.hash, [b"f"], writes)
    return journal.append_frame(frame, read_header(frame))


def opened(folder: Path, files: FaultyFiles | None = None) -> Journal:
    return Journal(folder, SHARE, SystemClock(), files or FaultyFiles())


def sequences(journal: Journal) -> list[int]:
    return [record.header.last_sequence if record.header else -1 for record in journal.read(Cursor())]


def test_only_what_was_synced_is_read_and_durable(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    ticket = append(journal)
    append(journal)
    assert sequences(journal) == [] and journal.durable == Position()
    journal.sync(ticket)
    assert sequences(journal) == [1, 2] and journal.durable.sequence == 2


def test_concurrent_syncs_share_one_fdatasync(tmp_path: Path) -> None:
    files = FaultyFiles()
    journal = opened(tmp_path, files)
    tickets = [append(journal) for _ in range(20)]
    syncs_before = sum(entry.startswith("sync ") for entry in files.log)
    threads = [threading.Thread(target=journal.sync, args=(ticket,)) for ticket in tickets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(entry.startswith("sync ") for entry in files.log) - syncs_before == 1
    assert journal.durable.sequence == 20


def test_a_control_record_stands_at_the_position_it_was_made_for(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    append(journal, 3)
    seen: list[Position] = []

    def build(position: Position) -> bytes:
        seen.append(position)
        return b"control"

    journal.sync(journal.append_control(build))
    assert seen == [journal.position]
    assert sequences(journal) == [3, -1]


def test_times_never_go_back(tmp_path: Path) -> None:
    class Backwards(SystemClock):
        now = 1000

        def now_ns(self) -> int:
            self.now -= 100
            return self.now

    journal = Journal(tmp_path, SHARE, Backwards())
    for _ in range(3):
        journal.sync(append(journal))
    times = [record.time_ns for record in journal.read(Cursor())]
    assert times == sorted(times) and len(times) == 3


def test_segments_roll_and_are_read_across(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1000)
    journal = opened(tmp_path)
    for _ in range(10):
        journal.sync(append(journal, size=400))
    assert len(list(tmp_path.glob("*.skj"))) > 3
    journal.close()
    again = opened(tmp_path)
    assert sequences(again) == list(range(1, 11)) and again.position == journal.position
    cursor = again.seek(6)
    tail = [record.header.last_sequence for record in again.read(cursor) if record.header]
    assert tail[-1] == 10 and tail[0] <= 7


@pytest.mark.parametrize("cut", [1, 11, 40])
def test_a_torn_tail_is_cut_and_reported(tmp_path: Path, cut: int) -> None:
    journal = opened(tmp_path)
    journal.sync(append(journal))
    size = next(tmp_path.glob("*.skj")).stat().st_size
    append(journal)
    path = next(tmp_path.glob("*.skj"))
    os.truncate(path, size + cut)
    again = opened(tmp_path)
    assert again.dropped_bytes == cut and again.position.sequence == 1
    again.sync(append(again))
    assert sequences(again) == [1, 2]


def test_one_flipped_bit_in_what_was_durable_is_damage_not_a_torn_tail(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    for _ in range(3):
        journal.sync(append(journal))
    journal.close()
    path = next(tmp_path.glob("*.skj"))
    data = bytearray(path.read_bytes())
    position = data.find(b"SKF1") + 90
    data[position] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(JournalDamaged, match="damaged at byte"):
        opened(tmp_path)


def test_a_torn_frame_before_a_whole_one_that_was_never_synced_is_a_torn_tail(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.sync(append(journal))
    path = next(tmp_path.glob("*.skj"))
    size = path.stat().st_size
    append(journal)
    append(journal)
    data = bytearray(path.read_bytes())
    data[size + 60] ^= 1  # the second frame's pages were lost, the third one's were not: none was acknowledged
    path.write_bytes(bytes(data))
    again = opened(tmp_path)
    assert again.position.sequence == 1 and again.dropped_bytes > 0


def test_a_journal_of_another_share_is_refused(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with pytest.raises(JournalDamaged, match="another share"):
        Journal(tmp_path, b"x" * 16, SystemClock())


def test_recent_frames_are_remembered_for_repeats(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.sync(append(journal))
    expected = journal.position.hash
    assert journal.hash_of(1) == expected
    assert opened(tmp_path).hash_of(1) == expected
    assert journal.hash_of(99) is None
    assert isinstance(expected, bytes) and Digest(expected) == expected


@pytest.mark.parametrize("at", [0, 4, 40], ids=["length", "type", "payload"])
def test_a_damaged_frame_behind_which_only_control_records_stand_is_damage_and_no_torn_tail(tmp_path: Path, at: int) -> None:
    journal = opened(tmp_path)
    begins = journal.size_bytes()
    journal.sync(append(journal))
    journal.sync(journal.append_control(lambda position: b"\x93\x02\x01\x03"))
    journal.close()
    (path,) = tmp_path.glob("*.skj")
    data = bytearray(path.read_bytes())
    data[begins + at] ^= 1
    path.write_bytes(data)
    with pytest.raises(JournalDamaged):
        opened(tmp_path)


def test_records_that_stand_in_each_others_places_are_damage(tmp_path: Path) -> None:
    """Also control records, which have no place in the chain of frames: what released a hold must not stand before the hold."""
    journal = opened(tmp_path / "journal")
    for number in range(6):
        ticket = append(journal, size=30) if number % 3 == 0 else journal.append_control(lambda _, n=number: b"control %d" % n)
        journal.sync(ticket)
    journal.close()
    (path,) = (tmp_path / "journal").glob("*.skj")
    whole = path.read_bytes()
    with path.open("rb") as file:
        records = list(read_records(file, 0))
    assert len(records) == 7
    for first, second in pairwise(records):
        one, other = whole[first.offset : first.end], whole[second.offset : second.end]
        path.write_bytes(whole[: first.offset] + other + one + whole[second.end :])
        with pytest.raises(JournalDamaged):
            opened(tmp_path / "journal")
    path.write_bytes(whole)
    assert len(list(opened(tmp_path / "journal").read(Cursor()))) == 6
