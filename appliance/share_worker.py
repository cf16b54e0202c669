"""A thread that works on shares in turn, one small step each, so that none waits for a busy one."""

import logging
import threading
from collections import deque
from collections.abc import Callable

from core.errors import StagekeeperError

_LOG = logging.getLogger("stagekeeper.work")
RETRY_SECONDS = 5.0

Step = Callable[[str], bool]
"""Does a step for a share; True when there is more to do at once."""


class ShareWorker:
    """Works in the background until it is stopped. What failed is tried again, and told in `failures`."""

    def __init__(self, what: str, names: Callable[[], list[str]], step: Step, every_seconds: float | None = None) -> None:
        """Name the work and its step; `start` begins the thread. With `every_seconds` all shares come again by themselves."""
        self._what, self._names, self._step, self._every_seconds = what, names, step, every_seconds
        self._wake = threading.Condition()
        self._waiting: deque[str] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=what, daemon=True)
        self.failures: dict[str, str] = {}

    def start(self) -> None:
        """Begin, first with all shares that exist."""
        for name in self._names():
            self.notify(name)
        self._thread.start()

    def notify(self, share: str) -> None:
        """Say that a share has something to do."""
        with self._wake:
            if share not in self._waiting:
                self._waiting.append(share)
                self._wake.notify()

    def stop(self) -> None:
        """End after the running step."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopping:
                    self._wait()
                if self._stopping:
                    return
                name = self._waiting.popleft()
            self._work(name)

    def _wait(self) -> None:
        """Sleep until somebody notifies, or until it is time to try again."""
        notified = self._wake.wait(RETRY_SECONDS if self.failures else self._every_seconds)
        if self.failures and not self._waiting:
            self._waiting.extend(self.failures)
        elif not notified and not self._waiting:
            self._waiting.extend(self._names())

    def _work(self, name: str) -> None:
        try:
            if self._step(name):
                self.notify(name)
            self.failures.pop(name, None)
        except Exception as error:  # whatever one share does, the others go on; it is told, and tried again
            reason = error.message if isinstance(error, StagekeeperError) else f"{type(error).__name__}: {error}"
            if self.failures.get(name) != reason:
                _LOG.exception("cannot %s %s", self._what, name)
            self.failures[name] = reason
