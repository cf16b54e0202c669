"""The round of `verify` and `resync`: ask for it, see it done by the agent that runs or do it, return what came out."""

import threading
from collections.abc import Callable

from branch.agent import Agent, AgentRunning, Interrupted, TimedOut
from branch.looking import NotLooked
from branch.settings import StateDirectory
from branch.state_db import StateDb
from branch.verification_db import Action, Order, Progress, VerificationDb, Verified
from core.clock import NANOSECONDS, Clock

_LOOK_SECONDS = 0.1  # between two looks at what the running agent has done


class VerifyRound:
    """One verification, or one resync, of one share."""

    def __init__(self, state: StateDirectory, clock: Clock, new_agent: Callable[[], Agent], stopping: threading.Event) -> None:
        """Make agents with `new_agent` while none runs; `stopping` ends the round."""
        self._state, self._clock, self._new_agent, self._stopping = state, clock, new_agent, stopping

    def run(self, share: str, action: Action, timeout_seconds: float) -> Verified:
        """Return what came out; raise `TimedOut` with what is still under way."""
        state_db, orders = StateDb(self._state.database), VerificationDb(self._state.database)
        try:
            state_db.enrolment()
            record, now_ns = state_db.share(share), self._clock.now_ns()
            order = orders.ask(record.share_id, action, now_ns, now_ns + int(timeout_seconds * NANOSECONDS))
            try:
                return self._done(orders, order)
            finally:
                orders.give_up(order.number)
        finally:
            orders.close()
            state_db.close()

    def _done(self, orders: VerificationDb, order: Order) -> Verified:
        while not (progress := orders.progress(order.number)).is_settled:
            if self._clock.now_ns() > order.deadline_ns:
                raise self._timed_out(progress)
            if not self._do(orders, order) and self._stopping.wait(_LOOK_SECONDS):
                raise Interrupted
        if progress.verified is None:
            raise NotLooked(f"not done: {progress.failed}", remedy="try again; stagekeeper-agent status tells how the share is")
        return progress.verified

    def _do(self, orders: VerificationDb, order: Order) -> bool:
        """Do it, unless an agent runs that does; return whether it was tried."""
        try:
            self._new_agent().run_for(
                order.share_id,
                order.deadline_ns,
                lambda worker: worker.ask_for_verification(order),
                lambda: bool(orders.progress(order.number).failed),
            )
        except AgentRunning:
            return False
        except TimedOut:
            if not orders.progress(order.number).is_settled:
                raise
        return True

    @staticmethod
    def _timed_out(progress: Progress) -> TimedOut:
        begun = "the share is still being looked at" if progress.is_begun else "the agent has not begun with it"
        return TimedOut(f"not done in time: {begun}", remedy="try again, with a longer --timeout")
