"""Reading an outbox folder: its segments, what they hold, and where a torn tail begins."""

from dataclasses import dataclass, replace
from pathlib import Path

from branch.outbox_format import CHUNKS, FRAME, HEAD, OutboxDamaged, SegmentHead, decode_frame_record, decode_head
from core.framing import Record, read_record, read_records
from staging.protocol import Position

SUFFIX = ".sko"


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the outbox by its place; `end` is the position behind a frame, None for chunks."""

    serial: int
    segment: int
    offset: int
    length: int
    end: Position | None = None
    noticed_ns: int = 0


@dataclass(slots=True)
class ScannedOutbox:
    """What an outbox folder holds; `void` are segments that a later one has replaced."""

    head: SegmentHead
    end: Position
    entries: list[Entry]
    segments: list[int]
    void: list[int]
    last_bytes: int  # where the last whole record of the last segment ends
    dropped_bytes: int


def segment_path(directory: Path, number: int) -> Path:
    """Return the file of a segment."""
    return directory / f"{number:08d}{SUFFIX}"


def segment_numbers(directory: Path) -> list[int]:
    """Return the numbers of a folder's segments in order."""
    return sorted(int(path.stem) for path in directory.glob(f"*{SUFFIX}"))


def scan_outbox(directory: Path, share_id: bytes) -> ScannedOutbox | None:
    """Read all segments; None when not even a head was ever durable. Raise `OutboxDamaged`."""
    numbers = segment_numbers(directory)
    found: ScannedOutbox | None = None
    for number in numbers:
        is_last = number == numbers[-1]
        path = segment_path(directory, number)
        size = path.stat().st_size
        with path.open("rb") as file:
            first = read_record(file, 0)
            if first is None or first.type != HEAD:
                if is_last:
                    return _without_last(found, number, size)
                raise OutboxDamaged(f"{path} has no readable head")
            found = _next_segment(found, number, decode_head(first.payload), share_id)
            found.last_bytes = first.end
            for record in read_records(file, first.end):
                _add_record(found, number, record)
        found.dropped_bytes = size - found.last_bytes
        if found.dropped_bytes and not is_last:
            raise OutboxDamaged(f"{path} is damaged at byte {found.last_bytes}")
    return found


def _without_last(found: ScannedOutbox | None, number: int, size: int) -> ScannedOutbox | None:
    """A newest segment whose head is not whole was being begun: it goes."""
    if found is not None:
        found.void.append(number)
        found.dropped_bytes = size
    return found


def _next_segment(found: ScannedOutbox | None, number: int, head: SegmentHead, share_id: bytes) -> ScannedOutbox:
    if head.share_id != share_id:
        raise OutboxDamaged(f"segment {number} belongs to another share")
    if found is not None and found.head.epoch == head.epoch and found.end == head.start:
        found.segments.append(number)
        return found
    void = [*found.void, *found.segments] if found is not None else []
    return ScannedOutbox(head, head.start, [], [number], void, 0, 0)


def _add_record(found: ScannedOutbox, number: int, record: Record) -> None:
    serial = found.entries[-1].serial + 1 if found.entries else 1
    entry = Entry(serial, number, record.offset, len(record.payload))
    if record.type == FRAME:
        content = decode_frame_record(record.payload)
        header = content.header
        if header.first_sequence != found.end.sequence + 1 or header.epoch != found.head.epoch:
            raise OutboxDamaged(f"frame {header.first_sequence} in segment {number} does not follow {found.end.sequence}")
        found.end = Position(header.epoch, header.last_sequence, header.hash)
        entry = replace(entry, end=found.end, noticed_ns=content.noticed_ns)
    elif record.type != CHUNKS:
        raise OutboxDamaged(f"a record of unknown type {record.type}", remedy="upgrade the agent")
    found.entries.append(entry)
    found.last_bytes = record.end
