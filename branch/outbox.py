"""The outbox of a share: sealed frames and unsent chunks, on disk until the appliance has them.

Promises: a frame returned by `seal` survives a power cut, with all chunks added before it; frames keep their order, number
and hash for ever; nothing is removed before it was acknowledged and before the memory was committed behind it. One thread
adds (`seal`, `add_chunks`, `begin_epoch`, `note_committed`), another sends (`after`, `read`, `acknowledge`).
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from branch.known import Step, decode_steps, encode_steps
from branch.outbox_format import (
    CHUNKS,
    FRAME,
    HEAD,
    OutboxDamaged,
    SegmentHead,
    decode_frame_record,
    encode_head,
    frame_prefix,
)
from branch.outbox_scan import Entry, ScannedOutbox, scan_outbox, segment_numbers, segment_path
from core.digest import Digest
from core.durable import OS_FILES, AppendFile, Buffer, FileLayer, make_directories, remove_file
from core.framing import HEADER_BYTES, read_record, record_parts
from staging.changes import Change
from staging.frame_format import read_header, seal_frame
from staging.protocol import Position

SEGMENT_BYTES = 64 * 1024 * 1024  # the unit of trimming
_TIDY_BYTES = 1024 * 1024  # an acknowledged segment larger than this is replaced by an empty one


class PositionUnknown(Exception):
    """The outbox has no frame that ends at a position."""


class Outbox:
    """One share's outbox, open."""

    def __init__(
        self, directory: Path, share_id: bytes, acknowledged: Position, files: FileLayer = OS_FILES, anew: bool = False
    ) -> None:
        """Open or make the outbox; `anew` drops what it holds and begins the epoch behind `acknowledged`."""
        self._directory, self._share_id, self._files = directory, share_id, files
        self._news = threading.Condition()
        self._entries: deque[Entry] = deque()
        self._serial = self._acknowledged_serial = self._chunks_serial = self._put_serial = 0
        self._pending_bytes = 0
        self.dropped_bytes = 0
        self.acknowledged = self._committed = acknowledged
        make_directories(directory, files)
        scanned = scan_outbox(directory, share_id) if not anew else None
        if scanned is not None and _holds(scanned, acknowledged):
            self._take_up(scanned)
        else:
            self._begin(acknowledged.epoch + 1 if anew or not acknowledged.epoch else acknowledged.epoch, acknowledged)

    # -- adding ---------------------------------------------------------------------------------------------------

    def add_chunks(self, parts: Sequence[Buffer]) -> None:
        """Append the items of a put body; durable with the next frame."""
        self._append(CHUNKS, parts)

    def seal(self, paths: list[bytes], changes: list[Change], steps: list[Step], noticed_ns: int) -> Position:
        """Number the changes, append them as a frame with their steps, and return its end when it is durable."""
        frame = seal_frame(self._share_id, self.epoch, self.end.sequence + 1, self.end.hash, paths, changes)
        header = read_header(frame)
        end = Position(header.epoch, header.last_sequence, header.hash)
        self._append(FRAME, (frame_prefix(noticed_ns, frame), frame, encode_steps(steps)), end, noticed_ns)
        return end

    def note_committed(self, position: Position) -> None:
        """Take note that the memory holds all steps up to `position`."""
        with self._news:
            self._committed = position
            self._trim()

    def steps_after(self, position: Position) -> Iterator[tuple[Position, list[Step]]]:
        """Yield (end, steps) of the frames behind `position`; raise `PositionUnknown` when no frame ends there."""
        with self._news:
            ends = [self._base, *(entry.end for entry in self._entries)]
            frames = [entry for entry in self._entries if entry.end is not None]
        if position not in ends:
            raise PositionUnknown
        for entry in frames:
            assert entry.end is not None
            if entry.end.sequence > position.sequence:
                yield entry.end, decode_steps(decode_frame_record(self.read(entry)).steps)

    def begin_epoch(self) -> None:
        """Drop all that is not acknowledged and go on behind it in the next epoch: its contents cannot be sent any more."""
        old, acknowledged = self._file, self.acknowledged
        self._begin(acknowledged.epoch + 1, acknowledged)
        old.close()

    # -- sending --------------------------------------------------------------------------------------------------

    def after(self, serial: int) -> Entry | None:
        """Return the next record behind a serial number (0: the first), None when there is none yet."""
        with self._news:
            if serial >= self._serial or not self._entries:
                return None
            return self._entries[max(serial + 1 - self._entries[0].serial, 0)]

    def serial_at(self, sequence: int) -> int:
        """Return the serial number behind which the changes after `sequence` stand."""
        with self._news:
            for entry in self._entries:
                if entry.end is not None and entry.end.sequence == sequence:
                    return entry.serial
            return self._entries[0].serial - 1 if self._entries else self._serial

    def read(self, entry: Entry) -> bytes:
        """Return a record's payload, checked; raise `OutboxDamaged`."""
        path = segment_path(self._directory, entry.segment)
        with path.open("rb") as file:
            record = read_record(file, entry.offset)
        if record is None or len(record.payload) != entry.length:
            raise OutboxDamaged(f"{path} is damaged at byte {entry.offset}", remedy="look at the disk of this server")
        return record.payload

    def position_at(self, sequence: int) -> Position | None:
        """Return the position behind the change `sequence`, None when no frame ends there."""
        with self._news:
            ends = [self._base, self.acknowledged, *(entry.end for entry in self._entries)]
        return next((end for end in ends if end is not None and end.sequence == sequence), None)

    def hash_at(self, sequence: int) -> Digest | None:
        """Return the hash of the frame that ends at `sequence`, None when there is none."""
        position = self.position_at(sequence)
        return position.hash if position is not None else None

    def acknowledge(self, sequence: int) -> Position:
        """Take note that everything up to `sequence` is durable on the appliance; return that position."""
        with self._news:
            self._pass_done(sequence)
            self._trim()
            self._news.notify_all()
            return self.acknowledged

    def note_put(self, entry: Entry) -> None:
        """Take note that the appliance has the chunks of a record; its frame may not even be sealed yet."""
        with self._news:
            self._put_serial = entry.serial
            self._pass_done(self.acknowledged.sequence)
            self._trim()
            self._news.notify_all()

    def wait(self, serial: int, seconds: float) -> bool:
        """Wait until there is a record behind `serial`, or `wake` is called; tell whether there is one."""
        with self._news:
            if self._serial <= serial:
                self._news.wait(seconds)
            return self._serial > serial

    def wait_for_acknowledgement(self, seconds: float) -> None:
        """Wait until something happens here: an acknowledgement makes room."""
        with self._news:
            self._news.wait(seconds)

    def wake(self) -> None:
        """End all waiting."""
        with self._news:
            self._news.notify_all()

    # -- measures -------------------------------------------------------------------------------------------------

    @property
    def pending_bytes(self) -> int:
        """Return the bytes that the appliance has not acknowledged."""
        return self._pending_bytes

    def has_unsent_chunks(self, serial: int) -> bool:
        """Tell whether chunks wait behind the record `serial`: newer contents must not overtake them."""
        return self._chunks_serial > serial

    def oldest_notice_ns(self) -> int | None:
        """Return when the oldest unacknowledged change was noticed."""
        with self._news:
            pending = (entry for entry in self._entries if entry.serial > self._acknowledged_serial)
            return next((entry.noticed_ns for entry in pending if entry.end is not None), None)

    def close(self) -> None:
        """Close the segment; may be called twice."""
        self._file.close()

    def _pass_done(self, sequence: int) -> None:
        """Move on behind frames up to `sequence` with the chunks before them, and behind chunks that were put."""
        passed_bytes = 0
        for entry in self._entries:
            if entry.serial <= self._acknowledged_serial:
                continue
            passed_bytes += HEADER_BYTES + entry.length
            if entry.end is not None:
                if entry.end.sequence > sequence:
                    return
                self.acknowledged = entry.end
            elif entry.serial > self._put_serial:
                continue
            self._pending_bytes -= passed_bytes
            passed_bytes = 0
            self._acknowledged_serial = entry.serial

    # -- inside ---------------------------------------------------------------------------------------------------

    def _append(self, record_type: int, parts: Sequence[Buffer], end: Position | None = None, noticed_ns: int = 0) -> None:
        self.roll_when_due()
        buffers = record_parts(record_type, *(memoryview(part) for part in parts))
        offset = self._file.append(buffers)
        if end is not None:
            self._file.sync()  # before the index and the memory learn of it: what is not durable was never sealed
        with self._news:
            self._serial += 1
            entry = Entry(self._serial, self._number, offset, sum(map(len, parts)), end, noticed_ns)
            self._entries.append(entry)
            self._pending_bytes += HEADER_BYTES + entry.length
            if end is None:
                self._chunks_serial = self._serial
            else:
                self.end = end
            self._news.notify_all()

    def roll_when_due(self) -> None:
        """Begin another segment when nothing of this one is needed, or when it is long enough; for the writing thread."""
        is_idle = self._serial == self._acknowledged_serial and self._file.size > _TIDY_BYTES
        if is_idle or self._file.size > SEGMENT_BYTES:
            self._file.sync()
            old = self._file
            self._start_segment(self._number + 1, self.end)
            old.close()
            with self._news:
                self._segments.append(self._number)
                self._trim()

    def _start_segment(self, number: int, start: Position) -> None:
        file = AppendFile(segment_path(self._directory, number), self._files)
        file.append(record_parts(HEAD, encode_head(SegmentHead(self._share_id, self.epoch, start))))
        file.sync()
        self._file, self._number = file, number

    def _begin(self, epoch: int, start: Position) -> None:
        """Start a segment that makes all earlier ones void, then remove those."""
        numbers = segment_numbers(self._directory)
        self.epoch = epoch
        self._start_segment(max(numbers, default=0) + 1, start)
        with self._news:
            self._entries.clear()
            self._acknowledged_serial, self._pending_bytes = self._serial, 0
            self._base = self.end = self.acknowledged = self._committed = start
            self._segments = deque([self._number])
        for number in numbers:
            remove_file(segment_path(self._directory, number), self._files)

    def _take_up(self, scanned: ScannedOutbox) -> None:
        for number in scanned.void:
            remove_file(segment_path(self._directory, number), self._files)
        self.epoch, self.end, self._base = scanned.head.epoch, scanned.end, scanned.head.start
        self.dropped_bytes = scanned.dropped_bytes
        self._number = scanned.segments[-1]
        self._file = AppendFile(segment_path(self._directory, self._number), self._files)
        if self._file.size > scanned.last_bytes:
            self._file.truncate(scanned.last_bytes)
        self._file.sync()  # what a crash left unsynced is durable before the memory is led by it
        self._segments = deque(scanned.segments)
        self._entries.extend(scanned.entries)
        self._serial = len(scanned.entries)
        self._chunks_serial = max((entry.serial for entry in scanned.entries if entry.end is None), default=0)
        self._pending_bytes = sum(HEADER_BYTES + entry.length for entry in scanned.entries)
        self._committed = self._base
        acknowledged = max(self.acknowledged, self._base, key=lambda position: position.sequence)
        self.acknowledged = acknowledged  # segments are removed only behind what was acknowledged
        self.acknowledge(acknowledged.sequence)

    def _is_put(self, entry: Entry) -> bool:
        return entry.end is None and entry.serial <= self._put_serial

    def _trim(self) -> None:
        """Remove whole segments of which nothing is needed; called under the lock."""
        done = min(self.acknowledged, self._committed, key=lambda position: position.sequence)
        last = 0
        for entry in self._entries:
            if entry.end is not None:
                if entry.end.sequence > done.sequence:
                    break
                last = entry.serial
        while self._entries and (self._entries[0].serial <= last or self._is_put(self._entries[0])):
            self._base = self._entries.popleft().end or self._base
        needed = self._entries[0].segment if self._entries else self._number
        while self._segments[0] < needed:
            remove_file(segment_path(self._directory, self._segments.popleft()), self._files)


def _holds(scanned: ScannedOutbox, position: Position) -> bool:
    """Tell whether an outbox reaches back to and beyond what was acknowledged."""
    ends = [scanned.head.start, *(entry.end for entry in scanned.entries)]
    return position in ends or position.sequence < scanned.head.start.sequence
