"""Bringing the outbox to the appliance, in order, over one session at a time.

All decisions about a session are `staging.protocol.SourceSession`'s. A line that is down is tried again with growing
pauses; while the share's limit holds everything back nothing is asked at all; fenced and forked end the sending until the
agent is started anew; contents that cannot be sent any more make a new epoch necessary (`needs_epoch`), which the looking
thread begins.
"""

import threading
from collections.abc import Callable
from random import Random

from branch.backoff import Backoff
from branch.line import ApplianceBusy, ApplianceRefused
from branch.outbox import Outbox
from branch.outbox_format import decode_frame_record
from branch.outbox_scan import Entry
from branch.pacer import HeldBack
from branch.share_line import ShareLine
from branch.share_state import ShareState
from branch.uploader import Uploader
from core.errors import Damaged, Refused, StagekeeperError, TryLater
from staging.frame_format import Frame, read_header, unpack_frame
from staging.protocol import Position, SequenceForked, SourceSession, SourceState, Task

MAX_BODY_BYTES = 8 * 1024 * 1024  # of frames in one request
_ENDED = (SourceState.FENCED, SourceState.FORKED)
LASTING = frozenset(
    {"branch_revoked", "token_refused", "share_mismatch", "share_is_deleted", "sign_in_required", "forbidden"}
)  # until an operator acts
_HELD_BACK_SECONDS = 1.0  # until a share that is held back is looked at again
_REPAIRS = 2  # of one frame; a third time its contents are lost again, so something else is wrong


class Sender:
    """Sends one share; `run` belongs to a thread of its own, everything else may be asked from others."""

    def __init__(
        self, share_id: bytes, outbox: Outbox, line: ShareLine, state: ShareState, random: Random,
        retry_limit_seconds: float, acknowledged: Callable[[Position], None], put_again: Callable[[Frame], bool],
        epoch_needed: Callable[[], None], asked: Callable[[list[Task]], None],
    ) -> None:  # fmt: skip
        """Tell `acknowledged` of each advance before the outbox is trimmed; `put_again` sends a frame's contents anew; what the
        appliance asks for goes to `asked`.
        """
        self._share_id, self._outbox, self._line, self._state = share_id, outbox, line, state
        self._backoff = Backoff(random, retry_limit_seconds)
        self._acknowledged, self._put_again, self._epoch_needed, self._asked = acknowledged, put_again, epoch_needed, asked
        self._session = SourceSession()
        self._uploader = Uploader(line)
        self._stopping = threading.Event()
        self._serial = 0
        self._poll_seconds = 30.0
        self._is_lacking = False
        self._repaired: tuple[int, int] = (0, 0)
        self.needs_epoch = ""
        self.has_opened = False
        self.has_tried = threading.Event()
        self.ended: StagekeeperError | None = None
        self.refusal: StagekeeperError | None = None

    def run(self) -> None:
        """Send until `stop`, or until the session has ended for good."""
        while not self._stopping.is_set() and self.ended is None:
            if self.needs_epoch:
                self._stopping.wait(0.05)
                continue
            if self._wait_while_held_back():
                continue
            try:
                self.step()
            except HeldBack:
                continue
            except TryLater as error:
                self._retry(error)
            except ApplianceRefused as error:
                self._refused(error)
            except Refused as error:  # a certificate that is not the appliance's; the line is down until it is
                self.refusal = error
                self._retry(error)
            except Damaged as error:
                self._ask_for_epoch(error.message)
            except StagekeeperError as error:
                self._end(error)

    def step(self) -> None:
        """Do one thing: open a session, send what comes next, or wait for something to send."""
        if self._session.state is not SourceState.LIVE:
            self._open()
            return
        if self._is_lacking:
            self._repair()
            return
        entry = self._outbox.after(self._serial)
        if entry is None:
            if not self._outbox.wait(self._serial, self._poll_seconds) and not self._stopping.is_set():
                self._ask_for_tasks()
        elif entry.end is None:
            self._uploader.put_record(self._outbox.read(entry))
            self._serial = entry.serial
            self._outbox.note_put(entry)
        else:
            self._send_frames(entry)

    def is_open(self) -> bool:
        """Tell whether contents may be put directly: a session is live, no chunks wait before them, nothing holds them back."""
        is_live = self._session.state is SourceState.LIVE and bool(self._line.session)
        return is_live and not self._outbox.has_unsent_chunks(self._serial) and not self._line.pacer.is_held_back()

    def begin_epoch(self) -> None:
        """Go on after the outbox began a new epoch."""
        self._session.lose()
        self._serial = 0
        self.needs_epoch = ""

    def stop(self) -> None:
        """End `run` soon; a request under way is broken by closing the pool."""
        self._stopping.set()
        self.has_tried.set()
        self._outbox.wake()

    def _open(self) -> None:
        self._line.session = ""
        opened = self._line.open(self._session.open(self._share_id, self._outbox.epoch))
        outbox = self._outbox
        try:
            durable = self._session.receive_opened(opened, outbox.acknowledged, outbox.end, outbox.hash_at)
        except SequenceForked as error:
            self._end(error)
            return
        self._line.session = self._session.session
        self._serial = outbox.serial_at(durable)
        self._ask_for_tasks()
        self.has_opened = True
        self.has_tried.set()
        self._advance(durable)
        self._succeeded()

    def _ask_for_tasks(self) -> None:
        tasks = self._line.tasks()
        self._poll_seconds = max(tasks.poll_seconds, 1.0)
        self._asked(tasks.tasks)

    def _send_frames(self, first: Entry) -> None:
        body, payload_bytes, compressed_bytes, last = bytearray(), 0, 0, first
        most_bytes = self._line.pacer.body_bytes(MAX_BODY_BYTES)
        entry: Entry | None = first
        while entry is not None and entry.end is not None:
            if body and len(body) + entry.length > most_bytes:
                break
            record = decode_frame_record(self._outbox.read(entry))
            body += record.frame
            payload_bytes += record.header.unpacked_bytes
            compressed_bytes += record.header.body_bytes
            last, entry = entry, self._outbox.after(entry.serial)
        assert last.end is not None
        answer = self._line.frames(bytes(body), payload_bytes, compressed_bytes)
        try:
            durable = self._session.receive_acknowledged(answer, self._outbox.acknowledged, last.end.sequence)
        except SequenceForked as error:
            self._end(error)
            return
        self._serial = last.serial if durable == last.end.sequence else self._outbox.serial_at(durable)
        self._advance(durable)
        self._succeeded()

    def _advance(self, durable: int) -> None:
        """Remember the acknowledgement durably, then trim: the other way round a crash would forget what was trimmed."""
        position = self._outbox.position_at(durable)
        if position is not None and position != self._outbox.acknowledged:
            self._acknowledged(position)
            self._outbox.acknowledge(durable)

    def _succeeded(self) -> None:
        self._backoff.reset()
        self.refusal = None
        self._state.line("")
        self._state.refused("")

    def _wait_while_held_back(self) -> bool:
        """Wait a moment and return True when the share's limit lets nothing through."""
        reason = self._line.pacer.why_held_back()
        self._state.held_back(reason)
        if reason:
            self.has_tried.set()
            self._stopping.wait(_HELD_BACK_SECONDS)
        return bool(reason)

    def _retry(self, error: StagekeeperError) -> None:
        if self._stopping.is_set():
            return
        self._session.lose()
        self.has_tried.set()
        has_answered = isinstance(error, ApplianceBusy | ApplianceRefused)
        what = "the appliance takes nothing just now" if has_answered else "the line is down"
        self._state.line(f"{what}: {error.message}")
        self._stopping.wait(self._backoff.next_seconds())

    def _refused(self, error: ApplianceRefused) -> None:
        self._session.receive_refusal(error.name)
        if self._session.state in _ENDED:
            self._end(error)
        elif error.name == "chunk_missing":
            self._is_lacking = True
        else:
            if error.name in LASTING:
                self.refusal = error
                self._state.refused(error.message)
            self._retry(error)

    def _repair(self) -> None:
        """Send the contents of the next frame anew; if they are gone, nothing but a new epoch helps."""
        frame = self._next_frame()
        if frame is None:  # chunks of a look that still goes on: its frame will tell which file they are of
            self._stopping.wait(self._backoff.next_seconds())
            return
        first = frame.header.first_sequence
        attempts = self._repaired[1] + 1 if self._repaired[0] == first else 1
        self._repaired = (first, attempts)
        try:
            is_whole = attempts <= _REPAIRS and self._put_again(frame)
        except TryLater:
            self._repaired = (first, attempts - 1)  # nothing was answered: it was no attempt
            raise
        except ApplianceRefused as error:
            if error.name != "chunk_missing":
                raise
            is_whole = False
        self._is_lacking = False
        if not is_whole:
            self._ask_for_epoch(f"the appliance lacks contents of change {first}, and the files have changed since")

    def _ask_for_epoch(self, reason: str) -> None:
        self._session.lose()
        self.needs_epoch = reason
        self._state.resync(reason)
        self._epoch_needed()

    def _next_frame(self) -> Frame | None:
        entry = self._outbox.after(self._serial)
        while entry is not None and entry.end is None:
            entry = self._outbox.after(entry.serial)
        if entry is None:
            return None
        frame = decode_frame_record(self._outbox.read(entry)).frame
        return unpack_frame(frame, read_header(frame))

    def _end(self, error: StagekeeperError) -> None:
        self.ended = error
        self.has_tried.set()
        self._state.refused(error.message)
