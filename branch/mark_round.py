"""The round of the command `mark`: ask for a barrier, see it made by the agent that runs or make it, wait for its snapshot.

Whoever holds the state directory makes the barrier, so the command takes over when an agent ends meanwhile. From then on the
appliance is asked until the snapshot is there.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from branch.agent import Agent, AgentRunning, Interrupted, TimedOut, pool_of
from branch.barrier_db import Asked, BarrierDb, Outcome
from branch.barriers import BarrierNotMade
from branch.line import ApplianceRefused
from branch.sender import LASTING
from branch.settings import Settings, StateDirectory
from branch.share_line import LinePool
from branch.state_db import StateDb
from core.clock import NANOSECONDS, Clock
from core.errors import TryLater
from staging.changes import Consistency

_LOOK_SECONDS = 0.1  # between two looks at what the running agent has done
_FIRST_SECONDS, _LONGEST_SECONDS = 0.02, 2.0  # between two questions to the appliance


class BarrierLost(TryLater):
    """No snapshot stands where the barrier was."""


class BarrierAnswer(Struct, frozen=True):
    """What the appliance says of a barrier: how far it is, and the snapshot as its own commands show it."""

    folded_sequence: int
    snapshot: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Marked:
    """The snapshot, and (what, why) of what did not go as asked."""

    snapshot: dict[str, Any]
    notes: tuple[tuple[str, str], ...]


class MarkRound:
    """One mark of one share."""

    def __init__(
        self, state: StateDirectory, settings: Settings, clock: Clock, new_agent: Callable[[], Agent], stopping: threading.Event
    ) -> None:
        """Make agents with `new_agent` while none runs; `stopping` ends the round."""
        self._state, self._settings, self._clock = state, settings, clock
        self._new_agent, self._stopping = new_agent, stopping

    def run(self, share: str, label: str, level: Consistency, timeout_seconds: float) -> Marked:
        """Return the snapshot when it exists; raise `TimedOut` with what is still under way."""
        state_db, barriers = StateDb(self._state.database), BarrierDb(self._state.database)
        try:
            enrolment, record, now_ns = state_db.enrolment(), state_db.share(share), self._clock.now_ns()
            asked = barriers.ask(record.share_id, label, level, now_ns, now_ns + int(timeout_seconds * NANOSECONDS))
            try:
                outcome = self._made(barriers, asked)
            finally:
                barriers.give_up(asked.number)
        finally:
            barriers.close()
            state_db.close()
        pool = pool_of(enrolment, self._settings)
        try:
            return Marked(self._snapshot(pool, share, outcome.sequence, asked), outcome.notes)
        finally:
            pool.close()

    def _made(self, barriers: BarrierDb, asked: Asked) -> Outcome:
        """Wait until the barrier is a change, or make it."""
        while not (outcome := barriers.outcome(asked.number)).is_settled:
            if self._is_over(asked):
                begun = "the share is still being looked at" if outcome.is_begun else "the agent has not begun with it"
                raise TimedOut(f"not made in time: {begun}, and then gives it up", remedy="mark again, with a longer --timeout")
            if not self._make(barriers, asked):
                self._wait(_LOOK_SECONDS)
        if outcome.failed:
            raise BarrierNotMade(f"not made: {outcome.failed}", remedy="mark again; stagekeeper-agent status tells how it is")
        return outcome

    def _make(self, barriers: BarrierDb, asked: Asked) -> bool:
        """Make the barrier, unless an agent runs that does; return whether it is made, durable or not, or has failed."""
        try:
            self._new_agent().run_for(
                asked.share_id,
                asked.deadline_ns,
                lambda worker: worker.ask_for_barrier(asked),
                lambda: bool(barriers.outcome(asked.number).failed),
            )
        except AgentRunning:
            return False
        except TimedOut:
            if not barriers.outcome(asked.number).is_settled:
                raise
        return barriers.outcome(asked.number).is_settled

    def _snapshot(self, pool: LinePool, share: str, sequence: int, asked: Asked) -> dict[str, Any]:
        """Ask the appliance until it has the snapshot."""
        pause, found = _FIRST_SECONDS, "nothing was asked yet"
        while True:
            try:
                data, _ = pool.call(None, "GET", f"/intake/v1/shares/{share}/barriers/{sequence}", b"", {})
                answer = msgspec.json.decode(data, type=BarrierAnswer)
            except TryLater as error:
                found = error.message
            except ApplianceRefused as error:
                if error.name in LASTING:
                    raise
                found = error.message
            else:
                if answer.snapshot is not None:
                    return answer.snapshot
                if answer.folded_sequence >= sequence:
                    raise BarrierLost(f"no snapshot of change {sequence} is there", remedy="mark again: the share began anew")
                found = f"the appliance has taken in {answer.folded_sequence} of {sequence} changes"
            if self._is_over(asked):
                remedy = "it is on its way: stagekeeper snapshot list shows it when it is there"
                raise TimedOut(f"the mark is change {sequence} of the share, no snapshot yet: {found}", remedy=remedy)
            self._wait(pause)
            pause = min(pause * 1.5, _LONGEST_SECONDS)

    def _is_over(self, asked: Asked) -> bool:
        return self._clock.now_ns() > asked.deadline_ns

    def _wait(self, seconds: float) -> None:
        if self._stopping.wait(seconds):
            raise Interrupted
