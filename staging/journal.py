"""The durable, ordered log of one share: frames as they came, and control records of the appliance.

Promises: what `sync(ticket)` returned for survives a power cut; records keep their order; a torn tail that was never
acknowledged is cut at open and reported in `dropped_bytes`; bytes that *were* durable and do not check any more raise
`JournalDamaged`. Concurrent callers of `sync` share one fdatasync. Any thread may call.
"""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from core.clock import Clock
from core.digest import Digest
from core.durable import OS_FILES, AppendFile, FileLayer, NoSpace, WriteFailed, make_directories, remove_file
from core.framing import read_records, record_parts
from staging.arrivals import Arrivals
from staging.frame_format import FrameHeader
from staging.journal_format import (
    CONTROL,
    FRAME,
    HEAD,
    JournalDamaged,
    encode_envelope,
    encode_head,
)
from staging.journal_scan import (
    Continuity,
    LoggedRecord,
    Segment,
    SegmentSpan,
    list_segments,
    scan_last_segment,
    span_segments,
)
from staging.protocol import Position

SEGMENT_BYTES = 64 * 1024 * 1024  # a segment is the unit of trimming
SEGMENT_AGE_NS = 3600 * 1_000_000_000  # a quiet share's segment is closed within the hour all the same
_REMEMBERED_FRAMES = 4096  # repeats come right after a lost answer, never from far back


@dataclass(slots=True)
class Cursor:
    """Where a reader of the journal stands: a segment, an offset in it, and the last change before that place."""

    segment_path: Path | None = None
    offset: int = 0
    sequence: int = 0

    @property
    def place(self) -> tuple[int, int]:
        """Return the number of the segment and the offset, to come back by `Journal.cursor`."""
        return (0 if self.segment_path is None else int(self.segment_path.stem), self.offset)


class Journal:
    """One share's journal, open for appending."""

    def __init__(self, directory: Path, share_id: bytes, clock: Clock, files: FileLayer = OS_FILES) -> None:
        """Open or make the journal in `directory`, recovering its tail."""
        self._directory, self._share_id, self._clock, self._files = directory, share_id, clock, files
        self._lock = threading.Condition()
        self._syncing = False
        self._frame_hashes: OrderedDict[int, Digest] = OrderedDict()
        self._last_time_ns = 0
        self._synced_bytes = 0
        self.dropped_bytes = 0
        self.position = Position()
        make_directories(directory, files)
        segments = list_segments(directory, share_id)
        if segments:
            self._recover(segments[-1])
        else:
            self._start_segment()
        self._start = segments[0].start if segments else self.position
        self.durable = self.position
        self._written = self._synced = 0
        self.arrivals = Arrivals(clock, self.position.sequence)

    def append_frame(self, frame: bytes | memoryview, header: FrameHeader) -> int:
        """Append a checked frame and return the ticket to sync."""
        with self._lock:
            self._make_room()
            ticket = self._append(FRAME, frame)
            self._remember(header)
            self.arrivals.add(header.last_sequence)
            return ticket

    def append_control(self, build: Callable[[Position], bytes], ends_segment: bool = False) -> int:
        """Append the control record that `build` makes of the position at which it will stand; return the ticket.

        With `ends_segment` every later record stands in another segment, so that this one can be trimmed with all before it.
        Where none can be begun it goes on, and `begin_segment` does that later.
        """
        with self._lock:
            self._make_room()  # may wait and let frames pass: only what is built behind it stands at its place
            while ends_segment and self._syncing:
                self._lock.wait()
            ticket = self._append(CONTROL, build(self.position))
            if ends_segment and self.position != self._segment_start:
                with contextlib.suppress(NoSpace, WriteFailed):  # the record stands all the same; its `sync` tells if it does not
                    self._roll()
            return ticket

    def sync(self, ticket: int) -> None:
        """Return when everything up to `ticket` is durable; one caller syncs for all that wait."""
        with self._lock:
            while self._synced < ticket and self._syncing:
                self._lock.wait()
            if self._synced >= ticket:
                return
            self._syncing = True
            written, position, file, size = self._written, self.position, self._file, self._file.size
        try:
            file.sync()
        except BaseException:
            with self._lock:
                self._syncing = False
                self._lock.notify_all()
            raise
        with self._lock:
            self._syncing = False
            if file is self._file:
                self._synced_bytes = max(self._synced_bytes, size)
            if written > self._synced:
                self._synced, self.durable = written, position
            self._lock.notify_all()

    @property
    def share_id(self) -> bytes:
        """Return the id of the share whose journal this is."""
        return self._share_id

    def position_at(self, sequence: int) -> Position:
        """Return the end of the frame that holds a durable change; raise `JournalDamaged` when it is kept no longer."""
        if sequence == self._start.sequence:
            return self._start  # its frame was trimmed: the segment behind it begins with this
        for record in self.read(self.seek(sequence - 1)):
            if record.header is not None and record.header.last_sequence >= sequence:
                return Position(record.header.epoch, record.header.last_sequence, record.header.hash)
        raise JournalDamaged(
            f"the journal in {self._directory} does not hold change {sequence}", remedy="see the runbook: damaged journal"
        )

    @property
    def start(self) -> Position:
        """Return the position behind which the oldest segment begins."""
        return self._start

    def kept_behind(self) -> int:
        """Return the change behind which the oldest segment begins that is there, whoever removed those before it."""
        return min((int(path.stem) for path in self._directory.glob("*.skj")), default=self.durable.sequence)

    @property
    def ticket(self) -> int:
        """Return the ticket of the newest record, for `sync`."""
        return self._written

    def hash_of(self, first_sequence: int) -> Digest | None:
        """Return the hash of the durable frame that begins at `first_sequence`, None when no frame begins there."""
        known = self._frame_hashes.get(first_sequence)
        if known is not None or first_sequence <= self._start.sequence:
            return known
        for record in self.read(self.seek(first_sequence - 1)):
            if record.header is not None and record.header.first_sequence >= first_sequence:
                return record.header.hash if record.header.first_sequence == first_sequence else None
        return None

    def read(self, cursor: Cursor) -> Iterator[LoggedRecord]:
        """Yield durable records from the cursor on, moving it behind each record before it is yielded."""
        with self._lock:
            last_path, last_bytes = self._file.path, self._synced_bytes
        continuity = Continuity()
        for path in sorted(self._directory.glob("*.skj")):
            if path > last_path or (cursor.segment_path is not None and path < cursor.segment_path):
                continue
            start = cursor.offset if path == cursor.segment_path else 0
            limit = last_bytes if path == last_path else path.stat().st_size
            yield from self._read_segment(path, start, limit, cursor, continuity)

    def seek(self, sequence: int) -> Cursor:
        """Return a cursor at the segment that holds what follows `sequence` (its records up to there come again)."""
        segments = list_segments(self._directory, self._share_id)
        before = [segment for segment in segments if segment.start.sequence <= sequence]
        if not before:
            raise JournalDamaged(
                f"the journal in {self._directory} begins behind change {sequence}", remedy="see the runbook: damaged journal"
            )
        return Cursor(before[-1].path, before[-1].body_offset, before[-1].start.sequence)

    def cursor(self, sequence: int, place: tuple[int, int] | None) -> Cursor:
        """Return a cursor at a place that is known to lie behind `sequence`; None seeks."""
        if place is None or not place[1]:
            return self.seek(sequence)
        return Cursor(self._directory / f"{place[0]:020d}.skj", place[1])

    def spans(self) -> list[SegmentSpan]:
        """Return what the segments cover, oldest first."""
        return span_segments(list_segments(self._directory, self._share_id), self.durable.sequence)

    def begin_segment(self) -> None:
        """Begin a new segment unless nothing stands in this one behind its start: what is older can be trimmed then."""
        with self._lock:
            while self._syncing:
                self._lock.wait()
            if self.position != self._segment_start:
                self._roll()

    def trim(self, below: int, last_too: bool = False) -> int:
        """Remove segments whose changes all have numbers up to `below`; return how many went.

        The oldest goes first and is gone for good before the next one: what a crash leaves has no gap. The segment that holds the
        last change goes only with `last_too`: the seal that takes its place must be named behind it.
        """
        removed = 0
        for segment, following in pairwise(list_segments(self._directory, self._share_id)):
            if following.start.sequence > below or (following.start.sequence >= self.durable.sequence and not last_too):
                break
            self._start = following.start
            remove_file(segment.path, self._files)
            removed += 1
        return removed

    def size_bytes(self) -> int:
        """Return the bytes that the journal's segments hold."""
        return sum(path.stat().st_size for path in self._directory.glob("*.skj"))

    def extents(self) -> list[tuple[Path, int]]:
        """Return each segment with the bytes in it that are written whole, synced or not: for reading beside the journal."""
        with self._lock:
            last, size = self._file.path, self._file.size
        found = [(last, size)]
        for path in self._directory.glob("*.skj"):
            with contextlib.suppress(FileNotFoundError):  # trimmed this moment
                if path < last:
                    found.append((path, path.stat().st_size))
        return sorted(found)

    def close(self) -> None:
        """Close the segment; may be called twice."""
        self._file.close()

    def _append(self, record_type: int, payload: bytes | memoryview) -> int:
        now = max(self._clock.now_ns(), self._last_time_ns)
        envelope = encode_envelope(now, self._synced_bytes)
        self._file.append(record_parts(record_type, envelope, payload))
        self._last_time_ns = now
        self._written += 1
        return self._written

    def _make_room(self) -> None:
        """Begin a new segment when it is time; waits while the old one is being synced, as it must stay open."""
        while self._syncing and self._is_full():
            self._lock.wait()
        if self.position != self._segment_start and self._is_full():
            self._roll()

    def _remember(self, header: FrameHeader) -> None:
        self.position = Position(header.epoch, header.last_sequence, header.hash)
        self._frame_hashes[header.first_sequence] = header.hash
        if len(self._frame_hashes) > _REMEMBERED_FRAMES:
            self._frame_hashes.popitem(last=False)

    def _is_full(self) -> bool:
        return self._file.size >= SEGMENT_BYTES or self._clock.now_ns() - self._segment_opened_ns >= SEGMENT_AGE_NS

    def _roll(self) -> None:
        """Close the segment (synced, so that tickets up to here are durable) and begin the next."""
        self._file.sync()
        self._synced, self.durable = self._written, self.position
        old = self._file
        self._start_segment()
        old.close()

    def _start_segment(self) -> None:
        path = self._directory / f"{self.position.sequence:020d}.skj"
        file = AppendFile(path, self._files)
        try:
            file.append(record_parts(HEAD, encode_head(self._share_id, self.position)))
            file.sync()
        except BaseException:
            file.close()  # it is tried again with every record
            raise
        self._use(file, self.position)

    def _use(self, file: AppendFile, start: Position) -> None:
        self._file, self._segment_start = file, start
        self._segment_opened_ns = self._clock.now_ns()
        self._synced_bytes = file.size

    def _recover(self, segment: Segment) -> None:
        """Scan the last segment, cut a torn tail, and take up its position."""
        self.position = segment.start
        file = AppendFile(segment.path, self._files)
        try:
            self._take_up(segment, file)
        except BaseException:
            file.close()  # whoever opens a damaged journal tries again and again
            raise

    def _take_up(self, segment: Segment, file: AppendFile) -> None:
        scan = scan_last_segment(segment.path, file.size)
        if scan.end == 0:
            file.truncate(0)
            file.append(record_parts(HEAD, encode_head(self._share_id, self.position)))
        elif scan.end < file.size:
            self.dropped_bytes = file.size - scan.end
            file.truncate(scan.end)
        file.sync()  # what a crash left unsynced is durable before anything is answered from it
        for record in scan.records:
            self._last_time_ns = max(self._last_time_ns, record.time_ns)
            if record.header is not None:
                self._remember(record.header)
        self._use(file, segment.start)

    def _read_segment(self, path: Path, start: int, limit: int, cursor: Cursor, continuity: Continuity) -> Iterator[LoggedRecord]:
        end = start
        with path.open("rb") as file:
            for record in read_records(file, start, limit):
                end = record.end
                logged = continuity.check(path, record)
                cursor.segment_path, cursor.offset = path, end
                if logged is not None:
                    if logged.header is not None:
                        cursor.sequence = logged.header.last_sequence
                    yield logged
        if end < limit:
            raise JournalDamaged(f"{path} is damaged at byte {end}", remedy="see the runbook: damaged journal")
