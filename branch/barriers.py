"""Making the barriers that were asked for: between two looks, by the looking thread, behind a look of their own.

Before a hold the share is looked at too, so that the look within it has little to do. What is promised is what was
so when that look ended: a hold that did not begin or did not last, or files that moved under the look, make it a barrier at
the level of a crash, and the notes say why. A barrier that is too late is not made.
"""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from branch.barrier_db import Asked, BarrierDb
from branch.hold import Hold, Note
from branch.hooks import read_hooks
from core.clock import Clock
from core.database import OperationalError
from core.errors import StagekeeperError, TryLater
from staging.changes import Barrier, Consistency

_log = logging.getLogger("stagekeeper.agent")

LookForBarrier = Callable[[], bool]
"""Looks at the whole share; returns whether nothing moved under the look; raises a `StagekeeperError` when it cannot look."""
Seal = Callable[[Barrier], int]
"""Puts a barrier behind what was looked at; returns its sequence when it is durable here."""


class BarrierNotMade(TryLater):
    """A barrier could not be made."""


class Barriers:
    """The barriers of one share. Any thread asks; all else belongs to the looking thread."""

    def __init__(self, database: Path, hooks: Path, share: str, clock: Clock, look: LookForBarrier, seal: Seal) -> None:
        """Make them with `look` and `seal`; how each went is written into `database`."""
        self._path, self._hooks, self._share, self._clock = database, hooks, share, clock
        self._look, self._seal = look, seal
        self._lock = threading.Lock()
        self._asked: dict[int, Asked] = {}

    def ask(self, asked: Asked) -> bool:
        """Take a barrier in; return whether it is new. May be called again for one that waits."""
        with self._lock:
            is_new = asked.number not in self._asked
            self._asked.setdefault(asked.number, asked)
            return is_new

    def is_waiting(self) -> bool:
        """Tell whether something was asked for and is not done."""
        with self._lock:
            return bool(self._asked)

    def make_all(self, is_stopping: Callable[[], bool]) -> None:
        """Make what was asked for, in that order; on `is_stopping` the rest waits for the next start of the agent."""
        while not is_stopping() and (asked := self._next()) is not None:
            database = BarrierDb(self._path)
            try:
                self._make(database, asked, is_stopping)
            except OperationalError as error:  # no space for the outcome: whoever asked learns of a time-out
                _log.error("share %s: the state cannot be written: %s", self._share, error)
            finally:
                database.close()
                with self._lock:
                    del self._asked[asked.number]

    def _next(self) -> Asked | None:
        with self._lock:
            return next(iter(self._asked.values()), None)

    def _make(self, database: BarrierDb, asked: Asked, is_stopping: Callable[[], bool]) -> None:
        if database.outcome(asked.number).is_settled:  # handed on again just before it was noted down
            return
        notes: list[Note] = []
        try:
            database.begin(asked.number)
            is_settled = self._look_held(database, asked, notes)
            self._check_wanted(database, asked)
            sequence = self._seal(Barrier(asked.label, _level(asked, notes, is_settled)))
        except StagekeeperError as error:
            if not is_stopping():  # else it is made by the agent that is started next
                _log.error("share %s: the mark %s was not made: %s", self._share, asked.label, error.message)
                database.fail(asked.number, error.message, notes)
            return
        database.made(asked.number, sequence, notes)

    def _look_held(self, database: BarrierDb, asked: Asked, notes: list[Note]) -> bool:
        """Look, with the application at rest if that is asked for and there are commands for it."""
        hooks = read_hooks(self._hooks, self._share) if asked.level is Consistency.APPLICATION else None
        if hooks is None:
            return self._look()
        self._look()
        self._check_wanted(database, asked)
        hold = Hold(hooks, self._clock)
        database.hold(asked.number, hold.after)
        try:
            hold.begin()
            return self._look()
        finally:
            notes += hold.end()
            database.end_hold(asked.number)

    def _check_wanted(self, database: BarrierDb, asked: Asked) -> None:
        if self._clock.now_ns() > asked.deadline_ns or database.outcome(asked.number).is_settled:
            raise BarrierNotMade("the time for it was over", remedy="give it more with --timeout")


def _level(asked: Asked, notes: list[Note], is_settled: bool) -> Consistency:
    """Return what may be promised; add to the notes what was not yet said about it."""
    if asked.level is Consistency.CRASH:
        return Consistency.CRASH
    if not is_settled:
        notes.append(("look", "files changed while they were looked at"))
    has_held = is_settled and not any(what in ("before", "hold") for what, _ in notes)
    return Consistency.APPLICATION if has_held else Consistency.CRASH
