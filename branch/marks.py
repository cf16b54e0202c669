"""The dirty marks of a share: what to look at next, and when.

A look waits until the share has been quiet for a moment (so that both halves of a rename, or an atomic save, are seen
together), but not for ever. Too many marks become coarser ones; none is ever dropped.
"""

import threading

from branch.scope import Scope
from core.clock import Clock
from core.relpath import RelPath

MAX_NAMES_A_FOLDER = 10_000  # beyond that a folder is listed as a whole
MAX_FOLDERS = 50_000  # beyond that everything is looked at


class Marks:
    """Marks set by the watcher and taken by the looks. Any thread may call."""

    def __init__(self, clock: Clock) -> None:
        """Begin without marks."""
        self._clock = clock
        self._changed = threading.Condition()
        self._scope = Scope()
        self._first = self._last = 0.0
        self._is_woken = False

    def mark(self, folder: RelPath, name: bytes | None) -> None:
        """Mark a name in a folder, with None all of it, with the empty name the folder itself."""
        with self._changed:
            self._note()
            scope = self._scope
            if scope.is_full:
                return
            scope.add(folder, name)
            names = scope.folders[folder]
            if names is not None and len(names) > MAX_NAMES_A_FOLDER:
                scope.folders[folder] = None
            if len(scope.folders) > MAX_FOLDERS:
                self._scope = Scope(True, {}, scope.noticed_ns)

    def mark_all(self) -> None:
        """Mark everything."""
        with self._changed:
            self._note()
            self._scope = Scope(True, {}, self._scope.noticed_ns)

    def restore(self, scope: Scope) -> None:
        """Put marks back that a look took and could not settle."""
        if scope.is_empty:
            return
        if scope.is_full:
            self.mark_all()
        for folder, names in scope.folders.items():
            for name in names or ((None,) if names is None else (b"",)):
                self.mark(folder, name)
        with self._changed:
            if scope.noticed_ns:
                self._scope.noticed_ns = min(self._scope.noticed_ns, scope.noticed_ns)

    def take(self) -> Scope:
        """Take all marks."""
        with self._changed:
            taken, self._scope = self._scope, Scope()
            self._first = 0.0
            return taken

    def wait(self, quiet_seconds: float, limit_seconds: float, idle_seconds: float) -> bool:
        """Wait until there are marks and the share has settled; return False after `idle_seconds` without any, or `wake`."""
        with self._changed:
            begin = self._clock.monotonic()
            while not self._is_woken:
                now = self._clock.monotonic()
                if self._scope.is_empty:
                    left = begin + idle_seconds - now
                    if left <= 0:
                        return False
                else:
                    left = min(self._last + quiet_seconds, self._first + limit_seconds) - now
                    if left <= 0:
                        return True
                self._changed.wait(left)
            return False

    def wake(self) -> None:
        """End all waiting, for good."""
        with self._changed:
            self._is_woken = True
            self._changed.notify_all()

    def oldest_ns(self) -> int | None:
        """Return when the oldest mark was set."""
        with self._changed:
            return None if self._scope.is_empty else self._scope.noticed_ns

    def _note(self) -> None:
        now = self._clock.monotonic()
        if self._scope.is_empty:
            self._first = now
            self._scope.noticed_ns = self._clock.now_ns()
            self._changed.notify_all()  # who waits already looks at the time of the last mark by itself
        self._last = now
