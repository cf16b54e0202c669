"""Durations as people write them: `90min`, `36h`, `30d`, `4w`, `1y`. Pure."""

import re

from core.clock import NANOSECONDS
from core.errors import Refused

DURATION_PATTERN = r"\A[1-9][0-9]{0,4}(min|h|d|w|y)\Z"  # no bare "m": half of the readers take it for months
_UNIT_SECONDS = {"min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400, "y": 365 * 86_400}


class DurationUnreadable(Refused):
    """A text is not a duration."""


def parse_duration(text: str) -> int:
    """Return the nanoseconds that a text means; raise `DurationUnreadable`."""
    match = re.search(DURATION_PATTERN, text)
    if match is None:
        raise DurationUnreadable(f"not a duration: {text[:40]!r}", remedy="write it like 90min, 36h, 30d, 4w or 1y")
    return int(text[: match.start(1)]) * _UNIT_SECONDS[match[1]] * NANOSECONDS
