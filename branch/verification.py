"""Verifying a share, and laying it anew: between two looks, by the looking thread, behind a look that settled.

A share that is laid anew is sent as a baseline over what stands there: contents that the appliance holds do not travel again,
names that the branch does not have become deletions with their history, and files that are alike get no new version.
"""

import base64
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from branch.comparison import Compared
from branch.verification_db import Action, DifferentPath, Order, VerificationDb, Verified
from core.clock import Clock
from core.database import OperationalError
from core.errors import StagekeeperError
from core.relpath import RelPath, is_text, show_path

_PATHS = 1000  # of those that are different, in a report
_log = logging.getLogger("stagekeeper.agent")


class Steps(Protocol):
    """What the looking thread does for a verification; each may raise a `StagekeeperError`."""

    def look_settled(self) -> bool:
        """Look at everything, then at what moved meanwhile."""

    def lay_anew(self) -> None:
        """Forget what was sent, and look at everything as at a baseline."""

    def await_durable(self, deadline_ns: int) -> None:
        """Wait until all that was looked at is durable on the appliance."""

    def compare(self, deadline_ns: int) -> Compared:
        """Compare what was looked at with what the appliance has."""


class Verifications:
    """The verifications of one share. Any thread asks; all else belongs to the looking thread."""

    def __init__(self, database: Path, share: str, clock: Clock, steps: Steps) -> None:
        """Do them by `steps`; how each went is written into `database`."""
        self._path, self._share, self._clock, self._steps = database, share, clock, steps
        self._lock = threading.Lock()
        self._asked: dict[int, Order] = {}

    def ask(self, order: Order) -> bool:
        """Take an order in; return whether it is new. May be called again for one that waits."""
        with self._lock:
            is_new = order.number not in self._asked
            self._asked.setdefault(order.number, order)
            return is_new

    def is_waiting(self) -> bool:
        """Tell whether something was asked for and is not done."""
        with self._lock:
            return bool(self._asked)

    def do_all(self, is_stopping: Callable[[], bool]) -> None:
        """Do what was asked for, in that order; on `is_stopping` the rest waits for the next start of the agent."""
        while not is_stopping() and (order := self._next()) is not None:
            database = VerificationDb(self._path)
            try:
                self._do(database, order, is_stopping)
            except OperationalError as error:  # no space for the outcome: whoever asked learns of a time-out
                _log.error("share %s: the state cannot be written: %s", self._share, error)
            finally:
                database.close()
                with self._lock:
                    del self._asked[order.number]

    def _next(self) -> Order | None:
        with self._lock:
            return next(iter(self._asked.values()), None)

    def _do(self, database: VerificationDb, order: Order, is_stopping: Callable[[], bool]) -> None:
        if database.progress(order.number).is_settled or self._clock.now_ns() > order.deadline_ns:
            return  # handed on again just before it was noted down, or nobody waits for it
        try:
            database.begin(order.number)
            verified = self._verified(order)
        except StagekeeperError as error:
            if not is_stopping():  # else it is done by the agent that is started next
                _log.error("share %s: %s was not done: %s", self._share, order.action.value, error.message)
                database.fail(order.number, error.message)
            return
        database.finish(order.number, verified)

    def _verified(self, order: Order) -> Verified:
        steps = self._steps
        if order.action is Action.RESYNC:
            steps.lay_anew()
            steps.await_durable(order.deadline_ns)
            return Verified(0, 0, 0, 0, 0, 0, [])
        steps.look_settled()
        steps.await_durable(order.deadline_ns)
        first = steps.compare(order.deadline_ns)
        last = first
        if first.different and order.action is Action.VERIFY:
            _log.warning("share %s: %d names are different on the appliance; it is laid anew", self._share, len(first.different))
            steps.lay_anew()
            steps.look_settled()
            steps.await_durable(order.deadline_ns)
            last = steps.compare(order.deadline_ns)
        before, after = len(first.different), len(last.different)
        paths = [_shown(path) for path in sorted(first.different)[:_PATHS]]
        return Verified(first.names, before, max(before - after, 0), before, after, last.unsure, paths)


def _shown(path: RelPath) -> DifferentPath:
    return DifferentPath(show_path(path), "" if is_text(path) else base64.b64encode(path).decode())
