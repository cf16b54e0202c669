"""The policy of a share: when snapshots are taken, which are kept, what raises an alert, and what the share may use.

A policy is a value that has been checked: whoever holds one need not look for contradictions. Reading and writing the
document is `snapshots.policy_document`'s matter, applying `retention` is `snapshots.retention`'s. What a cron text means
is the appliance's, which also runs it: here it is only a text.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from core.durations import DURATION_PATTERN, parse_duration
from core.errors import Refused
from core.zones import ZoneUnknown, parse_zone

POLICY_VERSION: Final = 1
SHORTEST_DELAY = "1h"  # time to notice a wrong prune and to undo it, even where space is short
LONGEST_DELAY = "90d"  # to keep longer is a hold's purpose

# The descriptions are the ends of sentences that begin "<field> must be".
Version = Annotated[Literal[1], Meta(description="the number 1")]
Count = Annotated[int, Meta(ge=0, le=100_000, description="a whole number from 0 to 100000 (0 = the rule is off)")]
Places = Annotated[int, Meta(ge=1, le=100_000, description="a whole number from 1 to 100000")]
Limit = Annotated[int, Meta(ge=1, le=100_000, description="a whole number from 1 to 100000, or null for no limit")]
Percent = Annotated[int, Meta(ge=1, le=100, description="a whole number from 1 to 100, or null for never")]
Bytes = Annotated[int, Meta(ge=1, le=2**62, description="a whole number of bytes, or null for no limit")]
Volume = Annotated[int, Meta(ge=1, le=2**62, description="a whole number of bytes")]
Duration = Annotated[str, Meta(pattern=DURATION_PATTERN, description="a duration like 90min, 36h, 30d, 4w or 1y")]
Window = Annotated[str, Meta(pattern=DURATION_PATTERN, description="a duration like 36h, 30d or 1y, or null for none")]
CronText = Annotated[str, Meta(min_length=1, max_length=200, description="a cron text or the name of a preset, or null for none")]
ZoneName = Annotated[str, Meta(max_length=64, description="the name of a time zone like Europe/Berlin")]
Flag = Annotated[bool, Meta(description="true or false")]


class PolicyUnreadable(Refused):
    """A policy document is incomplete, says something unknown, or contradicts itself."""


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """Which snapshots are kept; without a single rule all are, up to `max`. Each origin of snapshots is counted apart."""

    keep_last: Count = 0
    hourly: Count = 0
    daily: Count = 0
    weekly: Count = 0
    monthly: Count = 0
    yearly: Count = 0
    within: Window | None = None
    max: Limit | None = 64  # as many shadow copies as Windows keeps of a volume
    floor: Places = 1
    not_before_on_tape: Flag = False

    def __post_init__(self) -> None:
        # Were this let through, the oldest would go first: those that the yearly and monthly rules were written for.
        if self.max is None:
            return
        if self.counted > self.max:
            raise PolicyUnreadable(
                f"retention.max is {self.max}, but keep_last and the hourly to yearly rules may keep {self.counted}",
                remedy=f"set retention.max to {self.counted} or more or to null, or lower a rule",
            )
        if self.floor > self.max:
            raise PolicyUnreadable(
                f"retention.floor is {self.floor}, more than retention.max, which is {self.max}",
                remedy="lower retention.floor or raise retention.max",
            )

    @property
    def counted(self) -> int:
        """Return how many snapshots of one origin the counting rules keep at most."""
        return self.keep_last + self.hourly + self.daily + self.weekly + self.monthly + self.yearly

    @property
    def has_rules(self) -> bool:
        """Tell whether any rule says what to keep; if none does, all is kept up to `max`."""
        return self.counted > 0 or self.within is not None


class Thresholds(Struct, frozen=True, forbid_unknown_fields=True):
    """What raises an alert: bursts are counted within one batch of the fold, as a share of the files that there are."""

    deleted_percent: Percent | None = 25
    rewritten_percent: Percent | None = 25
    burst_files: Places = 100  # fewer than this are never a burst: in a share of ten files three deletions are everyday life
    lag: Duration = "1h"


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How long and how much is kept beside the snapshots."""

    journal_keep: Duration = "7d"
    journal_bytes: Bytes | None = 20_000_000_000
    anchor_every: Duration = "1h"
    anchor_bytes: Volume = 32 * 1024 * 1024  # an instant is replayed from the anchor before it: this bounds what is read
    removal_delay: Duration = "24h"

    def __post_init__(self) -> None:
        if not parse_duration(SHORTEST_DELAY) <= parse_duration(self.removal_delay) <= parse_duration(LONGEST_DELAY):
            raise PolicyUnreadable(
                f"limits.removal_delay is {self.removal_delay}",
                remedy=f"give {SHORTEST_DELAY} to {LONGEST_DELAY}; hold a snapshot that is to stay longer",
            )


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that is decided for one share."""

    version: Version = POLICY_VERSION
    time_zone: ZoneName = "UTC"  # of the schedule and of the calendar in retention: one day is the same day for both
    schedule: CronText | None = None
    retention: Retention = Retention()
    thresholds: Thresholds = Thresholds()
    limits: Limits = Limits()
    quota_bytes: Bytes | None = None

    def __post_init__(self) -> None:
        try:
            parse_zone(self.time_zone)
        except ZoneUnknown as error:
            raise PolicyUnreadable(f"time_zone: {error.message}", remedy=error.remedy) from error


RETENTION_PRESETS = {
    "windows-like": Retention(),
    "kopia-like": Retention(keep_last=10, hourly=48, daily=7, weekly=4, monthly=24, yearly=3, max=None),
    "compliance": Retention(
        daily=90, weekly=53, monthly=84, yearly=10, within="30d", max=None, floor=30, not_before_on_tape=True
    ),
}
