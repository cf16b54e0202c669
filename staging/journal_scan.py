"""Reading segments: which there are, what they hold, and whether a tail is torn or damaged."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.framing import Record, read_record, read_records
from staging.frame_format import FrameHeader, read_header
from staging.journal_format import (
    CONTROL,
    ENVELOPE_BYTES,
    FRAME,
    HEAD,
    HEAD_RECORD_BYTES,
    JournalDamaged,
    decode_envelope,
    decode_head,
)
from staging.protocol import Position

_TYPE_FIELD = re.compile(rb"[\x02\x03]\x00\x00\x00")  # of a frame's or a control record's header
_REMEDY = "see the runbook: damaged journal"
_TYPE_OFFSET = 4  # of that field in the header


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment file, the position behind which it begins, and where its first record after the head stands."""

    path: Path
    start: Position
    body_offset: int


@dataclass(frozen=True, slots=True)
class SegmentSpan:
    """What a segment covers: its changes first..last (last below first: none), and when it was written to.

    `opened_ns` is the time of its first record, None when it has none; `closed_ns` that of the next segment's first one.
    """

    first_sequence: int
    last_sequence: int
    opened_ns: int | None
    closed_ns: int | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LoggedRecord:
    """A frame or a control record with the appliance's time; `header` is None for a control record."""

    time_ns: int
    payload: memoryview
    header: FrameHeader | None


@dataclass(frozen=True, slots=True)
class Scan:
    """The whole records of a segment and the offset behind the last (0: not even the head is whole)."""

    records: list[LoggedRecord]
    end: int


class Continuity:
    """Watches that what is read of a journal, record by record, is one history; it may begin anywhere.

    A segment that is missing, or there twice, is damage; so are records of a segment that stand in each other's places. Frames
    tell by their numbers, and every record by how much was durable when it was written: never more than stands before it.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self._end: tuple[int, bytes] | None = None
        self._durable: tuple[Path | None, int] = None, 0

    def check(self, path: Path, record: Record) -> LoggedRecord | None:
        """Return what a record holds, None for a segment's head; raise `JournalDamaged` when it does not follow."""
        if record.type == HEAD:
            _, start = decode_head(record.payload)
            self._follow(path, record, (start.sequence, start.hash), start.sequence)
            return None
        logged = logged_record(record)
        self._check_place(path, record)
        if logged.header is not None:
            header = logged.header
            self._follow(path, record, (header.last_sequence, header.hash), header.first_sequence - 1)
        return logged

    def _check_place(self, path: Path, record: Record) -> None:
        known = self._durable[1] if self._durable[0] == path else 0
        synced_bytes = decode_envelope(record.payload).synced_bytes
        if not known <= synced_bytes <= record.offset:
            raise JournalDamaged(f"{path} holds a record at byte {record.offset} that was written elsewhere", remedy=_REMEDY)
        self._durable = path, synced_bytes

    def _follow(self, path: Path, record: Record, end: tuple[int, bytes], before: int) -> None:
        known = self._end
        wrong = known is not None and (known[0] != before or (record.type == HEAD and known[1] != end[1]))
        if wrong or (record.type == HEAD and record.offset):
            raise JournalDamaged(
                f"{path} does not go on at byte {record.offset} where the journal ended before",
                remedy=_REMEDY,
            )
        self._end = end


def list_segments(directory: Path, share_id: bytes) -> list[Segment]:
    """Return a journal's segments in order; an unfinished newest one (no whole head) takes its place from its name."""
    segments: list[Segment] = []
    paths = sorted(directory.glob("*.skj"))
    for path in paths:
        head = _read_head(path)
        if head is not None:
            found_id, start = decode_head(head.payload)
            if found_id != share_id:
                raise JournalDamaged(f"{path} belongs to another share", remedy=_REMEDY)
            if start.sequence != int(path.stem):
                raise JournalDamaged(f"{path} holds the segment behind change {start.sequence}", remedy=_REMEDY)
            segments.append(Segment(path, start, head.end))
        elif path == paths[-1]:
            start = _end_of(segments[-1]) if segments else Position()
            segments.append(Segment(path, start, path.stat().st_size))
        else:
            raise JournalDamaged(f"{path} has no readable head", remedy=_REMEDY)
    return segments


def span_segments(segments: Sequence[Segment], last_sequence: int) -> list[SegmentSpan]:
    """Return what segments cover, of which the newest ends with `last_sequence`."""
    opened = [_first_time(segment) for segment in segments]
    ends = [segment.start.sequence for segment in segments[1:]] + [last_sequence]
    return [
        SegmentSpan(segment.start.sequence + 1, end, first_time, closed, segment.path.stat().st_size)
        for segment, end, first_time, closed in zip(segments, ends, opened, [*opened[1:], None], strict=True)
    ]


def _first_time(segment: Segment) -> int | None:
    with segment.path.open("rb") as file:
        record = read_record(file, segment.body_offset)
    return decode_envelope(record.payload).time_ns if record is not None else None


def _read_head(path: Path) -> Record | None:
    """Return a segment's head, None when it was not written to its end; raise `JournalDamaged` when it was."""
    with path.open("rb") as file:
        head = read_record(file, 0)
        size = os.fstat(file.fileno()).st_size
    if head is not None and head.type == HEAD:
        return head
    if size > HEAD_RECORD_BYTES:  # the head is durable before anything is written behind it
        raise JournalDamaged(f"{path} has no readable head", remedy=_REMEDY)
    return None


def logged_record(record: Record) -> LoggedRecord:
    """Split a record into envelope and payload."""
    envelope = decode_envelope(record.payload)
    payload = memoryview(record.payload)[ENVELOPE_BYTES:]
    if record.type == FRAME:
        return LoggedRecord(envelope.time_ns, payload, read_header(payload))
    if record.type == CONTROL:
        return LoggedRecord(envelope.time_ns, payload, None)
    raise JournalDamaged(f"a journal record of unknown type {record.type}", remedy="upgrade the appliance")


def scan_last_segment(path: Path, size: int) -> Scan:
    """Read the newest segment up to its last whole record; raise `JournalDamaged` when durable bytes are bad."""
    records: list[LoggedRecord] = []
    end = 0
    continuity = Continuity()
    with path.open("rb") as file:
        for record in read_records(file, 0):
            end = record.end
            logged = continuity.check(path, record)
            if logged is not None:
                records.append(logged)
    if end < size:
        _check_torn(path, end)
    return Scan(records, end)


def _check_torn(path: Path, end: int) -> None:
    """A record behind the bad place that says "this place was durable" proves damage; else it is a torn tail."""
    data = path.read_bytes()
    with path.open("rb") as file:
        for match in _TYPE_FIELD.finditer(data, end):
            record = read_record(file, max(match.start() - _TYPE_OFFSET, end))
            if record is not None and decode_envelope(record.payload).synced_bytes > end:
                raise JournalDamaged(f"{path} is damaged at byte {end}", remedy=_REMEDY)


def _end_of(segment: Segment) -> Position:
    position = segment.start
    for record in scan_last_segment(segment.path, segment.path.stat().st_size).records:
        if record.header is not None:
            position = Position(record.header.epoch, record.header.last_sequence, record.header.hash)
    return position


def read_share_id(directory: Path) -> bytes | None:
    """Return the id of the share whose journal a directory holds, None when it holds none; raise `JournalDamaged`."""
    for path in sorted(directory.glob("*.skj")):
        head = _read_head(path)
        if head is not None:
            return decode_head(head.payload)[0]
    return None
