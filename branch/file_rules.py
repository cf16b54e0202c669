"""Which files of a share are left out for their size or their age. Pure.

They hold for files that were never taken: one that was is followed whatever becomes of it, since a file that grows is not to
vanish from its backup for that.
"""

import re
import stat
from dataclasses import dataclass
from decimal import Decimal
from os import stat_result

from core.clock import format_time
from core.errors import Refused

_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([KMGT]i?)?B?")
_FACTORS = {None: 1} | {unit: 1000**power for power, unit in enumerate("KMGT", 1)}
_FACTORS |= {f"{unit}i": 1024**power for power, unit in enumerate("KMGT", 1)}


class SizeUnreadable(Refused):
    """A text is not a size."""


@dataclass(frozen=True, slots=True)
class FileRules:
    """Limits of what is taken; None: there is none. A time does not move on: what was taken by it stays."""

    larger_than_bytes: int | None = None
    unchanged_since_ns: int | None = None

    @property
    def is_empty(self) -> bool:
        """Tell whether every file is taken."""
        return self.larger_than_bytes is None and self.unchanged_since_ns is None

    def deciding(self, found: stat_result) -> str:
        """Return the rule that leaves a file out, empty when it is taken; what is no file is taken always."""
        if not stat.S_ISREG(found.st_mode):
            return ""
        if self.larger_than_bytes is not None and found.st_size > self.larger_than_bytes:
            return f"larger than {self.larger_than_bytes} bytes"
        if self.unchanged_since_ns is not None and found.st_mtime_ns < self.unchanged_since_ns:
            return f"not changed since {format_time(self.unchanged_since_ns)}"
        return ""


def parse_size(text: str) -> int:
    """Return the bytes that a text means, like `500M` or `2.5Gi`; raise `SizeUnreadable`."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise SizeUnreadable(f"not a size: {text[:40]!r}", remedy="write it like 500M, 2.5G or 4Gi")
    return int(Decimal(match[1]) * _FACTORS[match[2]])
