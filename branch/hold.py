"""One hold: an application brought to rest while a share is looked at, and let go again in every case.

`after` runs when the look has ended, when the hold has lasted too long, or, if the agent died in between, at its next start
(`end_left_holds`). It may run twice when the agent dies just behind it, never not at all.
"""

import logging
import threading

from branch.barrier_db import BarrierDb
from branch.commands import Commands, run_all, run_until_failure
from branch.hooks import Hooks
from core.clock import Clock

_log = logging.getLogger("stagekeeper.agent")

Note = tuple[str, str]
"""(before | hold | after, why that is not as it should be)."""


class Hold:
    """A hold of one share, begun by `begin` and ended by `end`, both called by the looking thread."""

    def __init__(self, hooks: Hooks, clock: Clock) -> None:
        """Run nothing yet."""
        self._hooks, self._clock = hooks, clock
        self._lock = threading.Lock()
        self._is_held, self._is_over = threading.Event(), threading.Event()
        self._is_released = False
        self._notes: list[Note] = []
        self.after = Commands(hooks.after, hooks.after_seconds)
        self._limit = threading.Thread(target=self._limit_length, name="hold", daemon=True)

    def begin(self) -> None:
        """Run `before`; when it fails the hold is ended at once."""
        self._limit.start()  # first: once something is held, nothing may keep its end from coming
        problem = run_until_failure(Commands(self._hooks.before, self._hooks.before_seconds), self._clock)
        if problem:
            self._notes.append(("before", problem))
            self._release()
        self._is_held.set()

    def end(self) -> list[Note]:
        """Run `after` unless it has been run; return what went wrong. Without notes of `before` and `hold` the hold held."""
        self._release()
        self._is_over.set()
        self._is_held.set()
        self._limit.join()
        return list(self._notes)

    def _limit_length(self) -> None:
        self._is_held.wait()  # what lets go may not overtake what holds
        if not self._is_over.wait(self._hooks.hold_seconds):
            self._release(is_late=True)

    def _release(self, is_late: bool = False) -> None:
        with self._lock:  # who comes second waits until it is done
            if self._is_released:
                return
            self._is_released = True
            if is_late:
                self._notes.append(("hold", f"the share was not looked at within {self._hooks.hold_seconds:g} s"))
            problem = run_all(self.after)
            if problem:
                self._notes.append(("after", problem))
                _log.error("what ends a hold has failed: %s", problem)


def end_left_holds(database: BarrierDb) -> None:
    """End what an agent that died has left held; the caller holds the lock of the state directory."""
    for number, after in database.holds():
        _log.warning("an agent ended while an application was held for a mark; it is let go now")
        problem = run_all(after)
        if problem:
            _log.error("what ends a hold has failed: %s", problem)
        database.end_hold(number)
