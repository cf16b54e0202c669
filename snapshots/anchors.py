"""When the fold leaves an anchor: a fence of its own, from which any instant behind it is replayed.

An anchor costs one row, and one more kept version of what changes behind it; it bounds how much of the journal one question
about an instant reads. Snapshots are no substitute: pruning takes them, and the way to an instant must not grow by that.
"""

from dataclasses import dataclass

from core.clock import NANOSECONDS


@dataclass(frozen=True, slots=True)
class AnchorLimits:
    """What may come behind an anchor before the next one is due."""

    changes: int = 20_000  # about half a second of replay; as many as the fold takes in one transaction
    unpacked_bytes: int = 32 * 1024 * 1024  # a replay holds what was written since its anchor
    age_ns: int = 3600 * NANOSECONDS  # the journal of a quiet share is trimmed by the hour, as its segments close


@dataclass(slots=True)
class SinceAnchor:
    """What has come behind the newest anchor."""

    sequence: int
    time_ns: int  # 0 until something came
    unpacked_bytes: int

    def add(self, time_ns: int, unpacked_bytes: int) -> None:
        """Count a frame."""
        self.time_ns = self.time_ns or time_ns
        self.unpacked_bytes += unpacked_bytes

    def is_due(self, limits: AnchorLimits, sequence: int, time_ns: int) -> bool:
        """Tell whether the next anchor is due behind the change `sequence`, received at `time_ns`."""
        return sequence > self.sequence and (
            sequence - self.sequence >= limits.changes
            or self.unpacked_bytes >= limits.unpacked_bytes
            or time_ns - self.time_ns >= limits.age_ns
        )
