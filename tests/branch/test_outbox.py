"""The outbox: what it promises, through crashes at every durable operation."""

import struct
from pathlib import Path

import pytest

from branch.known import DropRow, KnownRow, MoveRow, PutRows, SetMirror, Step, decode_steps, encode_steps
from branch.outbox import Outbox, PositionUnknown
from branch.outbox_format import OutboxDamaged, SegmentHead, decode_frame_record, decode_head, encode_head
from core.digest import ZERO_DIGEST, Digest
from core.durable import OS_FILES, FileLayer
from staging.changes import Attributes, Change, Create, Kind
from staging.frame_format import check_frame, unpack_frame
from staging.protocol import Position
from tests.faulty_files import FaultyFiles, Killed

SHARE_ID = bytes(range(16))
NOTHING = Attributes(0o644, 0, 0, 0)


def change(name: bytes) -> tuple[list[bytes], list[Change]]:
    return [name], [Create(0, Kind.FILE, NOTHING)]


def seal(outbox: Outbox, name: bytes) -> Position:
    return outbox.seal(*change(name), [DropRow(b"", name)], 7)


def open_outbox(directory: Path, acknowledged: Position | None = None, files: FileLayer = OS_FILES) -> Outbox:
    return Outbox(directory / "outbox", SHARE_ID, acknowledged or Position(), files)


def names(outbox: Outbox) -> list[bytes]:
    """Return the paths of all frames, checking the chain of hashes."""
    found: list[bytes] = []
    previous, serial = ZERO_DIGEST, 0
    while (entry := outbox.after(serial)) is not None:
        serial = entry.serial
        if entry.end is not None:
            record = decode_frame_record(outbox.read(entry))
            check_frame(record.frame, SHARE_ID, previous)
            previous = record.header.hash
            found += unpack_frame(record.frame).paths
    return found


def test_sealed_frames_are_chained_and_survive_reopening(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    ends = [seal(outbox, name) for name in (b"a", b"b", b"c")]
    outbox.close()
    again = open_outbox(tmp_path)
    assert (again.end, again.epoch, names(again)) == (ends[-1], 1, [b"a", b"b", b"c"])
    assert [again.hash_at(n) for n in range(5)] == [ZERO_DIGEST, *(end.hash for end in ends), None]


def test_chunks_keep_their_place_before_their_frame(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.add_chunks([b"some", b"chunks"])
    assert outbox.has_unsent_chunks(0)
    seal(outbox, b"a")
    outbox.close()
    again = open_outbox(tmp_path)
    first = again.after(0)
    assert first is not None and first.end is None and again.read(first) == b"somechunks"
    assert again.has_unsent_chunks(0) and not again.has_unsent_chunks(first.serial)


def test_a_torn_tail_is_cut_and_reported(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    end = seal(outbox, b"a")
    outbox.close()
    (path,) = (tmp_path / "outbox").glob("*.sko")
    with path.open("ab") as file:
        file.write(b"\x10\0\0\0\x02torn")
    again = open_outbox(tmp_path)
    assert again.end == end and again.dropped_bytes == 9
    seal(again, b"b")
    assert names(again) == [b"a", b"b"]


def test_acknowledged_and_committed_segments_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("branch.outbox.SEGMENT_BYTES", 300)
    outbox = open_outbox(tmp_path)
    ends = [seal(outbox, b"%d" % number) for number in range(9)]
    before = len(list((tmp_path / "outbox").iterdir()))
    outbox.acknowledge(8)
    assert len(list((tmp_path / "outbox").iterdir())) == before  # the memory may still need the steps
    outbox.note_committed(ends[7])
    assert len(list((tmp_path / "outbox").iterdir())) < before
    assert outbox.hash_at(8) == ends[7].hash and outbox.hash_at(3) is None
    outbox.close()
    assert names_after_reopening(tmp_path, ends[7]) == (ends[8], ends[7])


def names_after_reopening(directory: Path, acknowledged: Position) -> tuple[Position, Position]:
    outbox = open_outbox(directory, acknowledged)
    return outbox.end, outbox.acknowledged


def test_pending_bytes_count_what_is_not_acknowledged(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    seal(outbox, b"a")
    one = outbox.pending_bytes
    outbox.add_chunks([bytes(1000)])
    seal(outbox, b"b")
    assert outbox.pending_bytes > one + 1000
    outbox.acknowledge(1)
    assert outbox.pending_bytes > 1000
    outbox.acknowledge(2)
    assert outbox.pending_bytes == 0 and outbox.oldest_notice_ns() is None


def test_chunks_that_were_put_take_no_room(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    outbox.add_chunks([bytes(1000)])
    outbox.add_chunks([bytes(1000)])
    first = outbox.after(0)
    assert first is not None
    outbox.note_put(first)
    assert 1000 < outbox.pending_bytes < 1100
    end = seal(outbox, b"a")
    outbox.note_committed(end)
    outbox.acknowledge(1)
    assert outbox.pending_bytes == 0 and names(outbox) == []


def test_steps_behind_a_position_come_again(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    ends = [seal(outbox, name) for name in (b"a", b"b", b"c")]
    outbox.close()
    again = open_outbox(tmp_path)
    assert list(again.steps_after(ends[0])) == [(ends[1], [DropRow(b"", b"b")]), (ends[2], [DropRow(b"", b"c")])]
    assert list(again.steps_after(ends[2])) == []
    with pytest.raises(PositionUnknown):
        list(again.steps_after(Position(1, 9, Digest(bytes(32)))))


def test_a_lost_outbox_begins_behind_what_was_acknowledged(tmp_path: Path) -> None:
    acknowledged = Position(3, 40, Digest(b"h" * 32))
    outbox = open_outbox(tmp_path, acknowledged)
    assert (outbox.epoch, outbox.end) == (3, acknowledged)
    assert seal(outbox, b"a").sequence == 41


def test_a_new_epoch_drops_what_was_not_acknowledged(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    first = seal(outbox, b"a")
    seal(outbox, b"lost")
    outbox.acknowledge(1)
    outbox.begin_epoch()
    assert (outbox.epoch, outbox.end, outbox.pending_bytes) == (2, first, 0)
    end = seal(outbox, b"b")
    assert (end.epoch, end.sequence) == (2, 2)
    outbox.close()
    assert open_outbox(tmp_path, first).end == end


def test_a_damaged_earlier_segment_is_not_taken_for_a_torn_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("branch.outbox.SEGMENT_BYTES", 300)
    outbox = open_outbox(tmp_path)
    for number in range(9):
        seal(outbox, b"%d" % number)
    outbox.close()
    path = min((tmp_path / "outbox").iterdir())
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    with pytest.raises(OutboxDamaged):
        open_outbox(tmp_path)
    assert Outbox(tmp_path / "outbox", SHARE_ID, Position(1, 2, Digest(b"h" * 32)), anew=True).epoch == 2


def test_a_damaged_record_is_never_read(tmp_path: Path) -> None:
    outbox = open_outbox(tmp_path)
    seal(outbox, b"a")
    (path,) = (tmp_path / "outbox").glob("*.sko")
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    entry = outbox.after(0)
    assert entry is not None
    with pytest.raises(OutboxDamaged):
        outbox.read(entry)


def test_the_bytes_of_a_head_are_as_documented() -> None:
    head = SegmentHead(SHARE_ID, 5, Position(4, 77, Digest(b"h" * 32)))
    data = encode_head(head)
    assert data == b"SKO1" + struct.pack("<HH", 1, 0) + SHARE_ID + struct.pack("<QQQ", 5, 4, 77) + b"h" * 32
    assert decode_head(data) == head


def test_steps_are_read_as_they_were_written() -> None:
    row = KnownRow(b"f", b"\xff", 1, 2**62, 1, 5, -1, 2**62, b"m", b"c")
    steps: list[Step] = [PutRows([row]), MoveRow(b"", b"a", b"b", b"c"), DropRow(b"", b"x"), SetMirror(2)]
    assert decode_steps(encode_steps(steps)) == steps


def scenario(directory: Path, files: FileLayer, ledger: list[Position]) -> None:
    """Write, send and trim as an agent does; `ledger` learns of each frame when it is durable."""
    outbox = open_outbox(directory, files=files)
    for number in range(6):
        outbox.add_chunks([b"%d" % number * 50])
        ledger.append(seal(outbox, b"%d" % number))
        outbox.note_committed(ledger[-1])
        if number == 3:
            outbox.acknowledge(3)
    outbox.close()


@pytest.mark.parametrize("fault", ["kill", "kill_after", "torn"])
def test_nothing_sealed_is_lost_whatever_operation_is_the_last(
    tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("branch.outbox.SEGMENT_BYTES", 500)
    at = 0
    while True:
        at += 1
        files, ledger = FaultyFiles(at, fault), list[Position]()
        directory = tmp_path / str(at)
        directory.mkdir()
        try:
            scenario(directory, files, ledger)
        except Killed:
            files.lose_unsynced()
        again = open_outbox(directory)
        last = ledger[-1].sequence if ledger else 0
        assert last <= again.end.sequence <= last + 1
        assert not ledger or again.hash_at(last) == ledger[-1].hash
        seal(again, b"next")
        if files.count < at:
            break
    assert at > 20
