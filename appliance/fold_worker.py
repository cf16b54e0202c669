"""The thread that folds: shares with new changes in turn, one transaction each, so that none waits for a busy one."""

import logging
import threading
from collections import deque

from appliance.vault import Vault
from core.errors import StagekeeperError

_LOG = logging.getLogger("stagekeeper.fold")
_RETRY_SECONDS = 5.0


class FoldWorker:
    """Folds in the background until it is stopped. What it could not fold is tried again, and told in `failures`."""

    def __init__(self, vault: Vault) -> None:
        """Bind the vault; `start` begins the thread."""
        self._vault = vault
        self._wake = threading.Condition()
        self._waiting: deque[str] = deque()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="fold", daemon=True)
        self.failures: dict[str, str] = {}

    def start(self) -> None:
        """Begin, first with all shares that exist."""
        for name in self._vault.names():
            self.notify(name)
        self._thread.start()

    def notify(self, share: str) -> None:
        """Say that a share has something to fold."""
        with self._wake:
            if share not in self._waiting:
                self._waiting.append(share)
                self._wake.notify()

    def stop(self) -> None:
        """End after the running transaction."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._waiting and not self._stopping:
                    self._wake.wait(_RETRY_SECONDS if self.failures else None)
                    if self.failures and not self._waiting:
                        self._waiting.extend(self.failures)
                if self._stopping:
                    return
                name = self._waiting.popleft()
            self._fold(name)

    def _fold(self, name: str) -> None:
        try:
            share = self._vault.share(name)
            share.fold.fold()
            if share.fold.sequence < share.journal.durable.sequence:
                self.notify(name)
            self.failures.pop(name, None)
        except Exception as error:  # whatever one share does, the others are folded; it is told, and tried again
            reason = error.message if isinstance(error, StagekeeperError) else f"{type(error).__name__}: {error}"
            if self.failures.get(name) != reason:
                _LOG.exception("cannot fold %s", name)
            self.failures[name] = reason
