"""The looking thread of a share: when to look, and what follows from how it went.

It alone writes memory and outbox. A look that fails leaves nothing half done: the memory is taken back to its last commit
and led up to the outbox's end again, as after a crash, and the marks are put back.
"""

import logging
import threading
from collections.abc import Callable

from branch.attributes import AttributeReader, Owners
from branch.barrier_db import Asked
from branch.barriers import BarrierNotMade, Barriers
from branch.block_sums import BlockSums
from branch.comparison import Compared, Comparison, Unsent
from branch.excludes import Excludes
from branch.folders import OpenFolders
from branch.held import HeldChunks
from branch.known import MIRROR_DONE
from branch.known_db import KnownDb
from branch.look import Look, LookRules
from branch.marks import Marks
from branch.node_reader import NodeReader
from branch.outbox import Outbox, PositionUnknown
from branch.root import RootGone
from branch.scope import Scope
from branch.sender import Sender
from branch.share_line import ShareLine
from branch.share_state import ShareState
from branch.shipment import HeldWrong, Road, Shipment
from branch.signature import Signing
from branch.state_db import ShareRecord
from branch.surroundings import Surroundings
from branch.uploader import Uploader
from branch.verification import Verifications
from branch.verification_db import Order
from branch.watcher import Watcher
from branch.wire import WireMeter
from core.database import DatabaseError, OperationalError
from core.errors import StagekeeperError, TryLater
from core.relpath import ROOT
from staging.changes import Barrier
from staging.comparison import Answer, AskedFolder, Question

_log = logging.getLogger("stagekeeper.agent")
_PAUSE_SECONDS = 2.0  # between attempts to look, when the last one failed
_LONGEST_REST_SECONDS = 30.0  # a look takes at most half the time, but a long one does not stop the next for long
_LINE_SECONDS = 2.0
_ASK_SECONDS = 0.1  # between two questions whether the appliance is as far
_YOUNG_SECONDS = 0.05  # then a file that was just written is old enough for a later change to show in its times
_ROUNDS = 10  # of looking again at what moved under the look, when there is only one


class LookEnded(TryLater):
    """The agent is being stopped, or the share begins a new epoch: the look goes no further."""


class NotLooked(TryLater):
    """A share could not be looked at, or not be compared, when that was asked for."""


class OutboxFull(TryLater):
    """There is no room to write down what a look would find."""


class Looking:
    """Looks at one share; `run` and `run_once` belong to a thread of their own."""

    def __init__(
        self, record: ShareRecord, around: Surroundings, outbox: Outbox, known: KnownDb, sender: Sender, uploader: Uploader,
        state: ShareState, meter: WireMeter, watcher: Watcher | None, marks: Marks, line: ShareLine,
        open_folders: Callable[[], OpenFolders],
    ) -> None:  # fmt: skip
        """Wire the looks; the memory is led up to the outbox's end at once. `open_folders` raises `RootGone`."""
        self._record, self._around, self._outbox, self._known = record, around, outbox, known
        self._sender, self._state, self._meter = sender, state, meter
        self._watcher, self._marks, self._line, self._open_folders = watcher, marks, line, open_folders
        self._stopping = threading.Event()
        self._held = HeldChunks()
        self._owners = Owners()
        self._excludes = Excludes(record.excludes)
        self._own_state = around.state.path.stat()
        settings = around.settings
        self._road = Road(uploader, around.threads, self._may_put, self._check, settings.outbox_limit_bytes, state.full)
        self._barriers = Barriers(
            around.state.database, around.state.hooks, record.name, around.clock, self.look_settled, self._seal_barrier
        )
        self._verifications = Verifications(around.state.database, record.name, around.clock, self)
        self._mirror_end = 0
        self._has_settled = True  # whether nothing moved under the last look
        self.is_hurried = False  # others wait for the look: contents go into the outbox, whatever the line
        self.changes = 0  # found by all looks so far
        self.steps = 0  # grows while a look goes on
        self.looking_at_ns: int | None = None
        self.recover()

    def run(self) -> None:
        """Look whenever something was noticed, and at everything now and then, until `stop`."""
        settings, clock = self._around.settings, self._around.clock
        self.await_line()
        next_full = clock.monotonic()
        while not self._stopping.is_set():
            if clock.monotonic() >= next_full:
                self._marks.mark_all()
            idle = max(next_full - clock.monotonic(), 0.01)
            if not self._marks.wait(settings.settle_seconds, settings.settle_limit_seconds, idle):
                continue
            begin = clock.monotonic()
            scope = self.try_look()
            if scope is not None and scope.is_full:
                is_limited = self._watcher is None or self._watcher.is_limited
                pause = settings.rescan_seconds if is_limited else settings.reconcile_seconds
                next_full = clock.monotonic() + pause
            else:
                self._stopping.wait(min(clock.monotonic() - begin, _LONGEST_REST_SECONDS))
            if scope is not None:
                self.do_what_was_asked()

    def run_once(self) -> bool:
        """Look at everything, then at what moved meanwhile; return False when that was ended by `stop`."""
        self.await_line()
        self._marks.mark_all()
        for _ in range(_ROUNDS):
            while self.try_look() is None:
                if self._stopping.is_set():
                    return False
            if self._marks.oldest_ns() is None:
                break
            self._stopping.wait(self._around.settings.settle_seconds)
        self.do_what_was_asked()
        return not self._stopping.is_set()

    def ask_for_barrier(self, asked: Asked) -> None:
        """Make a barrier soon, behind a look at everything; may be called again for one that waits. Any thread may call."""
        if self._barriers.ask(asked):
            self._marks.mark(ROOT, b"")  # the next look comes now

    def ask_for_verification(self, order: Order) -> None:
        """Verify the share soon, or lay it anew; may be called again for one that waits. Any thread may call."""
        if self._verifications.ask(order):
            self._marks.mark(ROOT, b"")

    def is_asked(self) -> bool:
        """Tell whether a barrier or a verification waits."""
        return self._barriers.is_waiting() or self._verifications.is_waiting()

    def stop(self) -> None:
        """End looking soon."""
        self._stopping.set()
        self._marks.wake()

    def try_look(self) -> Scope | None:
        """Make one look at what is marked and return that; None, with the marks put back, when it could not be made."""
        scope = self._marks.take()
        self.looking_at_ns = scope.noticed_ns or None
        try:
            self._prepare(scope)
            self._look(scope)
        except StagekeeperError as error:
            self._undo(scope, error)
            return None
        except OperationalError as error:  # no space for the memory, or its disk fails
            self._undo(scope, TryLater(f"the memory cannot be written: {error}"))
            return None
        except DatabaseError as error:
            _log.error("share %s: the memory is damaged (%s) and begun anew", self._record.name, error)
            self._known.renew()
            self._undo(scope, TryLater(f"the memory was damaged: {error}"))
            return None
        finally:
            self.looking_at_ns = None
        self._state.look("")
        return scope

    def look_settled(self) -> bool:
        """Look at everything, then at what moved meanwhile; raise when that is not possible."""
        self._marks.mark_all()
        for _ in range(_ROUNDS):
            if self.try_look() is None:
                state, reason = self._state.shown()
                raise NotLooked(f"the share could not be looked at: {reason or state}", remedy="try it again when it is good")
            if self._has_settled:
                return True
            self._stopping.wait(_YOUNG_SECONDS)
        return False

    def lay_anew(self) -> None:
        """Forget what was sent, and look at everything as at a baseline."""
        self._known.clear()
        self._known.commit(self._outbox.end)
        self._outbox.note_committed(self._outbox.end)
        self._tell_mirror()
        self._state.resync("everything is compared and sent anew, as asked for")
        self.look_settled()

    def await_durable(self, deadline_ns: int) -> None:
        """Wait until all that was looked at is durable on the appliance."""
        while self._outbox.acknowledged != self._outbox.end:
            self._wait(deadline_ns, "the appliance does not have everything yet")

    def compare(self, deadline_ns: int) -> Compared:
        """Compare what was looked at with what the appliance has; all is durable there."""
        sequence = self._outbox.end.sequence

        def ask(folders: list[AskedFolder]) -> Answer:
            while True:
                try:
                    return self._line.compare(Question(sequence, folders))
                except TryLater as error:  # not folded yet, or the line is down
                    self._wait(deadline_ns, error.message)

        folders = self._open_folders()
        try:
            reader = NodeReader(AttributeReader(self._owners), Unsent(self._check), self._around.clock, None)
            return Comparison(self._rules(), folders, reader, self._known, ask).run()
        finally:
            folders.close()

    def _wait(self, deadline_ns: int, why: str) -> None:
        self._check()
        if self._around.clock.now_ns() > deadline_ns:
            raise NotLooked(f"not done in time: {why}", remedy="try again, with a longer --timeout")
        self._stopping.wait(_ASK_SECONDS)

    def do_what_was_asked(self) -> None:
        """Make the barriers and verifications that wait; the looking thread's, between two looks."""
        self._barriers.make_all(self._stopping.is_set)
        self._verifications.do_all(self._stopping.is_set)

    def _seal_barrier(self, barrier: Barrier) -> int:
        """Seal a barrier as a frame of its own, and the memory behind it."""
        try:
            end = self._outbox.seal([], [barrier], [], self._around.clock.now_ns())
            self._known.commit(end)
        except OperationalError as error:
            self.recover()
            raise BarrierNotMade(f"the memory cannot be written: {error}", remedy="free disk space") from error
        except StagekeeperError:
            self.recover()
            raise
        self._outbox.note_committed(end)
        return end.sequence

    def recover(self) -> None:
        """Take the memory back to its last commit and lead it up to the outbox's end; lay a baseline if it does not fit."""
        known, outbox = self._known, self._outbox
        known.roll_back()
        self._held.forget()
        try:
            for _, steps in outbox.steps_after(known.position()):
                for step in steps:
                    known.take(step)
        except PositionUnknown:
            known.clear()
            self._state.resync("the agent's memory did not fit its outbox, so everything is compared")
        known.commit(outbox.end)
        outbox.note_committed(outbox.end)
        self._tell_mirror()

    def note_durable(self, sequence: int) -> None:
        """Take note of an acknowledgement: the baseline is laid when its end is durable."""
        if self._mirror_end and sequence >= self._mirror_end:
            self._mirror_end = 0
            self._state.is_mirrored = True
            self._state.resync("")

    def await_line(self) -> None:
        """Give the line a moment before the first look: with it up, contents need not go through the outbox."""
        self._sender.has_tried.wait(_LINE_SECONDS)

    # -- one look -------------------------------------------------------------------------------------------------

    def _prepare(self, scope: Scope) -> None:
        if self._sender.needs_epoch:
            self._begin_epoch()
        limit = self._around.settings.outbox_limit_bytes
        is_full, has_room = self._outbox.pending_bytes >= limit, self._has_room()
        self._state.full(is_full or not has_room)
        if not has_room:
            raise OutboxFull(f"the disk of {self._around.state.path} is full", remedy="bring the line up, or free space there")
        if is_full:
            raise OutboxFull(f"the outbox holds {limit} bytes", remedy="bring the line up, or raise outbox_limit_bytes")
        if self._known.mirror() != MIRROR_DONE:
            scope.is_full = True
        self._meter.is_resync = self._known.mirror() != MIRROR_DONE

    def _has_room(self) -> bool:
        """Tell whether the reserve of the disk is held; what of the outbox is not needed any more may have to go for it."""
        reserve = self._around.reserve
        if not reserve.hold():
            self._outbox.roll_when_due()
        return reserve.hold()

    def _look(self, scope: Scope) -> None:
        try:
            folders = self._open_folders()
        except RootGone as error:
            self._state.root(error.message, error.remedy)
            raise
        self._state.root("")
        try:
            if scope.is_full:
                self._owners.forget()
                if self._watcher is not None:
                    self._watcher.begin_full_look()
            is_group = self._known.mirror() == MIRROR_DONE
            shipment = Shipment(self._known, self._outbox, self._held, self._road, scope.noticed_ns, is_group)
            signing = Signing(BlockSums(self._record.share_id), self._known.signatures)
            reader = NodeReader(AttributeReader(self._owners), shipment, self._around.clock, signing)
            look = Look(self._rules(), folders, reader, shipment, self._state.troubled())
            findings = look.run(scope)
            self.changes += shipment.changes
        finally:
            folders.close()
        self._state.take_findings(findings, scope.is_full)
        self._has_settled = findings.again.is_empty
        self._marks.restore(findings.again)
        if not is_group:
            self._mirror_end = self._outbox.end.sequence
        if self._watcher is not None and self._watcher.is_limited:
            self._state.watching = f"not all folders are watched ({self._watcher.limit_reason}): looking regularly"
        else:
            self._state.watching = ""

    def _rules(self) -> LookRules:
        entering = self._watcher.entering if self._watcher is not None else lambda path, folder: None
        return LookRules(self._excludes, self._record.file_rules, self._own_state, entering)

    def _undo(self, scope: Scope, error: StagekeeperError) -> None:
        self.recover()
        if isinstance(error, HeldWrong):
            self._known.forget_pieces()
            self._known.commit(self._outbox.end)
        self._marks.restore(scope)
        if isinstance(error, LookEnded):
            return
        _log.warning("share %s: %s", self._record.name, error.message)
        self._state.look(error.message)
        if not isinstance(error, HeldWrong):
            self._stopping.wait(_PAUSE_SECONDS)

    def _begin_epoch(self) -> None:
        """Give up what cannot be sent; everything is compared and sent under new numbers."""
        _log.error("share %s: %s; a new epoch begins", self._record.name, self._sender.needs_epoch)
        self._outbox.begin_epoch()
        self._known.clear()
        self._known.commit(self._outbox.end)
        self._outbox.note_committed(self._outbox.end)
        self._held.forget()
        self._tell_mirror()
        self._sender.begin_epoch()

    def _tell_mirror(self) -> None:
        """Tell whether the baseline is laid: one that only the outbox holds is not."""
        end = self._known.mirror_end()
        self._state.is_mirrored = end is not None and self._outbox.acknowledged.sequence >= end
        self._mirror_end = 0 if end is None or self._state.is_mirrored else end

    def _may_put(self) -> bool:
        return not self.is_hurried and self._sender.is_open()

    def _check(self) -> None:
        if self._stopping.is_set() or self._sender.needs_epoch:
            raise LookEnded("the look was ended")
        if self.is_hurried and self._state.is_full:
            raise LookEnded("others wait for the look, and it would wait for room")
        if not self._state.is_full:
            self.steps += 1
