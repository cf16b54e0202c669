"""The running agent: one worker a share, kept in step with what is protected; one agent a state directory."""

import fcntl
import logging
import os
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from random import Random

from branch.barrier_db import BarrierDb
from branch.certificate import pinned_context
from branch.hold import end_left_holds
from branch.leftovers import remove_leftovers
from branch.limits import WallTime
from branch.line import Line, parse_address
from branch.reserve import Reserve
from branch.settings import Settings, StateDirectory
from branch.share_line import LinePool
from branch.share_worker import ShareWorker
from branch.state_db import Enrolment, ShareRecord, StateDb
from branch.state_folder import claim_state
from branch.status import ShareStatus, StatusWriter, status_of
from branch.surroundings import Surroundings
from branch.verification_db import VerificationDb
from core.clock import Clock
from core.durable import FileLayer, NoSpace, WriteFailed
from core.errors import StagekeeperError, Stopped, TryLater

_log = logging.getLogger("stagekeeper.agent")
_ROUND_SECONDS = 1.0  # how soon a changed list of shares is noticed and the status written
_ONCE_ROUND_SECONDS = 0.02


class AgentRunning(TryLater):
    """Another agent runs on the same state."""


class TimedOut(TryLater):
    """Nothing was achieved for as long as was allowed."""


class RootMissing(TryLater):
    """A share's folder was not there to be looked at."""


class Interrupted(Exception):
    """A signal ended the work before it was done."""


class WorkerFailed(StagekeeperError):
    """A part of the agent ended by a fault of ours: no reaction of the caller helps."""


class StateLock:
    """Held by the agent that runs on a state directory; given back by the system when it dies."""

    def __init__(self, state: StateDirectory) -> None:
        """Take the lock; raise `AgentRunning`."""
        self._descriptor = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._descriptor)
            raise AgentRunning(f"an agent runs on {state.path} already", remedy="stop it first") from error

    def close(self) -> None:
        """Give the lock back."""
        os.close(self._descriptor)


class Agent:
    """Runs in the calling thread until `stop` is set, or until a single look is durable."""

    def __init__(
        self, state: StateDirectory, settings: Settings, clock: Clock, wall_time: WallTime, files: FileLayer,
        new_random: Callable[[], Random], stopping: threading.Event | None = None,
    ) -> None:  # fmt: skip
        """Read the enrolment and take the lock; nothing is sent yet. `stopping` is one of its own unless given."""
        claim_state(state, files)
        self._reserve = Reserve(state.reserve, files)
        self._db = self._reserve.with_room(lambda: StateDb(state.database))
        enrolment = self._db.enrolment()
        try:
            self._lock = StateLock(state)
        except AgentRunning:
            self._db.close()
            raise
        self._barriers, self._verifications = BarrierDb(state.database), VerificationDb(state.database)
        self._state, self._settings, self._clock, self._files = state, settings, clock, files
        self._workers: dict[bytes, ShareWorker] = {}
        self._status = StatusWriter(state.status, files)
        self._threads = ThreadPoolExecutor(settings.upload_threads, thread_name_prefix="upload")
        self._pool = pool_of(enrolment, settings)
        self._around = Surroundings(
            state, settings, clock, wall_time, files, self._pool, self._threads, new_random, self._reserve
        )
        self.stopping = stopping or threading.Event()

    def run(self) -> None:
        """Work for all shares until `stopping` is set."""
        try:
            end_left_holds(self._barriers)
            while not self.stopping.is_set():
                self._follow_shares()
                self._hand_on_what_was_asked()
                self._raise_failures()
                self._write_status()
                self.stopping.wait(_ROUND_SECONDS)
        finally:
            self._end()

    def run_once(self, timeout_seconds: float) -> list[ShareStatus]:
        """Look at all shares once and return when everything is durable; `TimedOut` keeps the rest in the outbox."""
        try:
            end_left_holds(self._barriers)
            for record in self._db.shares():
                self._begin(record, is_once=True)
            self._await_durable(timeout_seconds)
            return [status_of(worker, self._clock.now_ns(), self._around.wall_time) for worker in self._workers.values()]
        finally:
            self._end()

    def run_for(
        self, share_id: bytes, deadline_ns: int, ask: Callable[[ShareWorker], None], has_failed: Callable[[], bool]
    ) -> None:  # fmt: skip
        """Look at one share, do what `ask` asks for behind that, and return when all is durable or it has failed; `TimedOut`."""
        try:
            end_left_holds(self._barriers)
            for record in self._db.shares():
                if record.share_id == share_id:
                    self._begin(record, is_once=True, ask=ask)
            while self._are_waiting() and not has_failed():
                if self._clock.now_ns() > deadline_ns:
                    raise self._timed_out()
                if self.stopping.wait(_ONCE_ROUND_SECONDS):
                    raise Interrupted
        finally:
            self._end()

    def _await_durable(self, timeout_seconds: float) -> None:
        last_progress: list[tuple[int, ...]] = []
        since = self._clock.monotonic()
        while self._are_waiting():
            progress = [worker.progress() for worker in self._workers.values()]
            if progress != last_progress:
                last_progress, since = progress, self._clock.monotonic()
            elif self._clock.monotonic() - since > timeout_seconds:
                raise self._timed_out()
            if self.stopping.wait(_ONCE_ROUND_SECONDS):
                raise Interrupted

    def _are_waiting(self) -> bool:
        """Tell whether shares wait to be durable; raise what keeps them from it until somebody acts."""
        self._raise_failures()
        waiting = [worker for worker in self._workers.values() if not worker.is_durable()]
        for worker in waiting:
            refusal = worker.sender.ended or worker.sender.refusal
            if refusal is not None:
                raise refusal
        rootless = [worker for worker in waiting if worker.state.root_reason]
        if rootless and len(waiting) == len(rootless):
            state = rootless[0].state
            raise RootMissing(state.root_reason, remedy=state.root_remedy)
        return bool(waiting)

    def _timed_out(self) -> TimedOut:
        reasons = {worker.shown()[1] for worker in self._workers.values() if not worker.is_durable()} - {""}
        detail = "; ".join(sorted(reasons)) or "the appliance does not answer"
        return TimedOut(f"not durable in time: {detail}", remedy="run it again: what was found is kept")

    def _hand_on_what_was_asked(self) -> None:
        now_ns = self._clock.now_ns()
        for asked in self._barriers.pending(now_ns):
            worker = self._workers.get(asked.share_id)
            if worker is not None:
                worker.ask_for_barrier(asked)
        for order in self._verifications.pending(now_ns):
            worker = self._workers.get(order.share_id)
            if worker is not None:
                worker.ask_for_verification(order)

    def _follow_shares(self) -> None:
        """Start and end workers as shares are protected, changed and unprotected."""
        records = {record.share_id: record for record in self._db.shares()}
        for share_id, worker in list(self._workers.items()):
            record = records.get(share_id)
            if record is None or not _is_same_share(record, worker.record):
                worker.stop()
                worker.join()
                del self._workers[share_id]
        for record in records.values():
            if record.share_id not in self._workers:
                self._begin(record, is_once=False)
            else:
                self._workers[record.share_id].take_limits(record)  # at work already: nothing is begun anew for them
        remove_leftovers(self._state, self._db, self._files)

    def _begin(self, record: ShareRecord, is_once: bool, ask: Callable[[ShareWorker], None] | None = None) -> None:
        worker = self._reserve.with_room(lambda: ShareWorker(record, self._around, is_once))
        self._workers[record.share_id] = worker
        if ask is not None:
            ask(worker)
        worker.start()

    def _write_status(self) -> None:
        """Write down how the shares are; when there is no room for that they go on all the same."""
        try:
            self._reserve.with_room(lambda: self._status.write(self._workers))
        except (NoSpace, WriteFailed) as error:
            _log.warning("%s", error.message)

    def _raise_failures(self) -> None:
        for worker in self._workers.values():
            if isinstance(worker.failure, Stopped):
                raise worker.failure
            if worker.failure is not None:
                raise WorkerFailed(f"share {worker.record.name}: {worker.failure}", remedy="see the log") from worker.failure

    def _end(self) -> None:
        for worker in self._workers.values():
            worker.stop()
        self._pool.close()
        for worker in self._workers.values():
            worker.join()
        self._threads.shutdown(cancel_futures=True)
        self._write_status()
        self._barriers.close()
        self._verifications.close()
        self._db.close()
        self._lock.close()


def _is_same_share(one: ShareRecord, other: ShareRecord) -> bool:
    return (one.name, one.path, one.life, one.capture, one.excludes, one.file_rules, one.root) == (
        other.name, other.path, other.life, other.capture, other.excludes, other.file_rules, other.root,
    )  # fmt: skip


def pool_of(enrolment: Enrolment, settings: Settings) -> LinePool:
    """Return connections to the appliance of an enrolment, none of them made yet."""
    address = parse_address(enrolment.url)
    certificate = ssl.PEM_cert_to_DER_cert(enrolment.certificate)
    context = pinned_context(enrolment.certificate)
    return LinePool(lambda: Line(address, context, settings.request_timeout_seconds, certificate), enrolment.token)
