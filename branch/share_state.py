"""How a share is doing, as told by the threads that work for it and shown by `status`."""

import threading
from dataclasses import dataclass

from branch.look import Findings
from core.relpath import RelPath

REPORTED_PATHS = 1000  # of what is not protected; the count is always right


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which the filter capture did not write changes down, so that they were found by comparing."""

    since_ns: int
    until_ns: int
    changes: int
    reason: str


class ShareState:
    """Facts about one share; any thread may tell or ask. The most serious one is shown."""

    def __init__(self) -> None:
        """Begin before the first look."""
        self._lock = threading.Lock()
        self.root_remedy = ""
        self._root = self._refused = self._resync = self._line = self._look = self._held_back = ""
        self.is_full = False
        self._not_protected: dict[RelPath, str] = {}
        self.is_mirrored = False
        self.watching = ""
        self.passing = ""  # why the filter capture passes through without writing down; empty: it writes down
        self.is_filtered = False  # every change is written down as it is made
        self.gap: Gap | None = None  # the last one

    @property
    def root_reason(self) -> str:
        """Return what is wrong with the share's folder."""
        return self._root

    def root(self, reason: str, remedy: str = "") -> None:
        """The share's folder cannot be trusted to be the one protected; empty: it can."""
        self._root, self.root_remedy = reason, remedy

    def refused(self, reason: str) -> None:
        """The appliance takes nothing of this share; empty: it does."""
        self._refused = reason

    def resync(self, reason: str) -> None:
        """The baseline is laid anew, for a reason; empty: that is over."""
        self._resync = reason

    def line(self, reason: str) -> None:
        """The line is down; empty: it is up."""
        self._line = reason

    def held_back(self, reason: str) -> None:
        """The share's limit lets nothing through; empty: it does."""
        self._held_back = reason

    def look(self, reason: str) -> None:
        """The last look failed and is made again; empty: it did not."""
        self._look = reason

    def full(self, is_full: bool) -> None:
        """Looking stands still, or goes on again."""
        self.is_full = is_full

    def take_findings(self, findings: Findings, is_full_look: bool) -> None:
        """Take over what a look could not protect; a full look says all there is."""
        with self._lock:
            if is_full_look:
                self._not_protected.clear()
            for path in findings.readable:
                self._not_protected.pop(path, None)
            self._not_protected.update(findings.not_protected)

    def troubled(self) -> set[RelPath]:
        """Return the paths that are not protected."""
        with self._lock:
            return set(self._not_protected)

    def not_protected(self) -> list[tuple[RelPath, str]]:
        """Return the first of the paths that are not protected, with the reasons."""
        with self._lock:
            return sorted(self._not_protected.items())[:REPORTED_PATHS]

    def shown(self) -> tuple[str, str]:
        """Return (stopped | resync | mirroring | good, reason)."""
        full = "the outbox is full: changes are noticed, and looked at when there is room" if self.is_full else ""
        passing = f"changes are compared, not written down: {self.passing}" if self.passing else ""
        detail = full or passing or self._look or self._held_back or self._line or self.watching
        if self._root or self._refused:
            return "stopped", self._root or self._refused
        if self._resync:
            return "resync", self._resync
        return ("good" if self.is_mirrored else "mirroring"), detail
