"""Everything that works for one share, in threads of its own: looking, sending, watching."""

import logging
import os
import threading
from collections.abc import Callable

from branch.barrier_db import Asked
from branch.effort import Effort
from branch.excludes import Excludes
from branch.filter.capture import FilterCapture
from branch.filter.clean_end import void_what_differs
from branch.filter.share_root import ShareRoot
from branch.known_db import KnownDb
from branch.leftovers import remove_memories
from branch.limit_rule import LimitRule, parse_limit
from branch.looking import Looking
from branch.marks import Marks
from branch.mender import Mender
from branch.outbox import Outbox
from branch.outbox_format import OutboxDamaged
from branch.pacer import Pacer
from branch.repair import put_again
from branch.root import open_root
from branch.sender import Sender
from branch.share_line import ShareLine
from branch.share_state import ShareState
from branch.state_db import ShareRecord, StateDb
from branch.surroundings import Surroundings
from branch.uploader import Uploader
from branch.verification_db import Order
from branch.watcher import Watcher, left_out
from branch.wire import WireMeter
from core.database import OperationalError
from core.durable import make_directories
from core.errors import StagekeeperError, TryLater
from staging.protocol import Position

_log = logging.getLogger("stagekeeper.agent")


class StateUnwritable(TryLater):
    """An acknowledgement cannot be remembered."""


class ShareWorker:
    """Works for one share, from `start` to `stop` and `join`."""

    def __init__(self, record: ShareRecord, around: Surroundings, is_once: bool) -> None:
        """Open outbox and memory; with `is_once` one full look is made, without it the share is watched."""
        self.record, self._around, self._is_once = record, around, is_once
        self.state, self.meter = ShareState(), WireMeter(record.wire)
        self._root, is_filter = ShareRoot(record), record.capture == "filter"
        directory = around.state.share(record.share_id)
        make_directories(directory, around.files)
        self.outbox = self._open_outbox()
        memory = around.state.memory(record.share_id, record.life)
        dirty = around.state.dirty(record.share_id, record.life)
        remove_memories(directory, (memory.name, dirty.name), around.files)
        self._known = KnownDb(memory, around.files)
        if record.life and not self._known.position().epoch:  # the outbox's steps tell of a folder of another life
            self._known.commit(self.outbox.end)
        self._state_db = StateDb(around.state.database)  # used by the sending thread only
        self._stopping = threading.Event()
        self._pacer = Pacer(_rules(record), around.clock, around.wall_time, self._stopping.wait)
        line = ShareLine(around.pool, record.name, self.meter, self._pacer, Effort(around.clock))
        uploader = Uploader(line)
        open_path = self._root.path if is_filter else lambda: record.path  # below what is mounted over it
        self.mender = Mender(open_path, Excludes(record.excludes), uploader, self._stopping)
        self.sender = Sender(
            record.share_id, self.outbox, line, self.state, around.new_random(), around.settings.retry_limit_seconds,
            self._acknowledged, lambda frame: put_again(frame, open_path(), uploader), self._look_anew, self.mender.take,
        )  # fmt: skip
        self.marks = Marks(around.clock)
        self._watcher = None
        if not is_once and not is_filter:
            is_left_out = left_out(Excludes(record.excludes), record.path, os.fsencode(around.state.path))
            self._watcher = Watcher(self.marks, lambda: open_root(record), is_left_out)
        self.looking = Looking(
            record, around, self.outbox, self._known, self.sender, uploader, self.state, self.meter, self._watcher, self.marks,
            line, self._root.folders if is_filter else lambda: open_root(record),
        )  # fmt: skip
        void_what_differs(dirty, self._known, self.outbox)  # once the memory is led up to the outbox's end
        self._filter = None
        if is_filter and not is_once:
            self._filter = FilterCapture(
                record, around, self._root, self.outbox, self._known, self.sender, self.looking, self.state, self.marks
            )
        self._is_looked = threading.Event()
        self._anew = threading.Event()
        self.failure: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        self._start("send", self.sender.run)
        self._start("mend", self.mender.run)
        if self._watcher is not None:
            self._start("watch", self._watcher.run)
        if self._filter is not None:
            self._start("filter", self._filter.run)
        else:
            self._start("look", self._look_once if self._is_once else self.looking.run)

    def stop(self) -> None:
        """End all threads soon."""
        self._stopping.set()
        self.looking.stop()
        if self._filter is not None:
            self._filter.stop()
        self._anew.set()
        self.sender.stop()
        self.mender.stop()
        if self._watcher is not None:
            self._watcher.stop()

    def join(self) -> None:
        """Wait until all threads have ended, then close what they used."""
        for thread in self._threads:
            thread.join()
        if self._watcher is not None:
            self._watcher.close()
        self._state_db.record_progress(self.record.share_id, self.outbox.acknowledged, self.meter.bill)
        self._known.close()
        self._root.close()
        self._state_db.close()
        self.outbox.close()

    def take_limits(self, record: ShareRecord) -> None:
        """Go on with the limits of a record that is the same otherwise."""
        self.record = record
        self._pacer.set_rules(_rules(record))

    def ask_for_barrier(self, asked: Asked) -> None:
        """Make a barrier soon; may be called again for one that waits."""
        self.looking.ask_for_barrier(asked)

    def ask_for_verification(self, order: Order) -> None:
        """Verify the share soon, or lay it anew; may be called again for one that waits."""
        self.looking.ask_for_verification(order)

    def shown(self) -> tuple[str, str]:
        """Return (state, reason) as of now."""
        self.looking.note_durable(self.outbox.acknowledged.sequence)
        return self.state.shown()

    def behind_since_ns(self) -> int | None:
        """Return when the oldest change was noticed that is not durable on the appliance yet, None when all is."""
        times = (self.outbox.oldest_notice_ns(), self.marks.oldest_ns(), self.looking.looking_at_ns)
        return min((time for time in times if time), default=None)

    def watched_by(self) -> str:
        """Return what tells of changes (`fanotify`, `inotify`); empty while nothing does, as when each change is written down."""
        return self._watcher.by if self._watcher is not None else ""

    def progress(self) -> tuple[int, ...]:
        """Return numbers that grow while something is achieved."""
        outbox = self.outbox
        sent = self.meter.bill.payload_bytes, self._pacer.furthest_bytes
        return outbox.end.sequence, outbox.acknowledged.sequence, *sent, self.looking.steps

    def is_durable(self) -> bool:
        """Tell whether all that was looked at is durable on the appliance, which was asked."""
        is_settled = self._is_looked.is_set() and self.sender.has_opened and not self.sender.needs_epoch
        return is_settled and self.outbox.acknowledged == self.outbox.end and self.mender.is_idle()

    def _look_once(self) -> None:
        while self.looking.run_once():
            self._is_looked.set()
            self._anew.wait()
            if self._stopping.is_set():
                return
            self._anew.clear()

    def _look_anew(self) -> None:
        """A new epoch is needed: everything is looked at again."""
        self._is_looked.clear()
        self.marks.mark_all()
        self._anew.set()

    def _acknowledged(self, position: Position) -> None:
        try:
            self._around.reserve.with_room(
                lambda: self._state_db.record_progress(self.record.share_id, position, self.meter.bill)
            )
        except OperationalError as error:  # no space: what is not remembered as acknowledged is not trimmed
            raise StateUnwritable(f"the state cannot be written: {error}", remedy="free disk space") from error

    def _open_outbox(self) -> Outbox:
        record, around = self.record, self._around
        directory = around.state.share(record.share_id) / "outbox"
        try:
            outbox = Outbox(directory, record.share_id, record.acknowledged, around.files)
        except OutboxDamaged as error:
            _log.error("share %s: %s; a new epoch begins", record.name, error.message)
            self.state.resync(error.message)
            outbox = Outbox(directory, record.share_id, record.acknowledged, around.files, anew=True)
        if outbox.dropped_bytes:
            _log.warning("share %s: %d bytes that were not finished are cut", record.name, outbox.dropped_bytes)
        return outbox

    def _start(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=self._guard, args=(work,), name=f"{name} {self.record.name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _guard(self, work: Callable[[], None]) -> None:
        """Run a thread's work; what ends it unexpectedly is told, and ends the agent."""
        try:
            work()
        except StagekeeperError as error:
            self.failure = error
        except Exception as error:
            _log.exception("share %s", self.record.name)
            self.failure = error


def _rules(record: ShareRecord) -> list[LimitRule]:
    return [parse_limit(text) for text in record.limits]
