"""Which of the appliance's own backups are kept. Pure.

The last seven, and the first of each of the last twelve months that have one: a mistake is mostly noticed within days, a
thing that somebody removed long ago is asked for by its month. Both are counts and not ages, so that neither a month off
nor a clock that was wrong for a night drops more than one.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from appliance.backup_format import Kept
from core.clock import NANOSECONDS

LAST = 7
MONTHS = 12


def surplus(kept: Iterable[Kept]) -> list[Kept]:
    """Return the backups that are not to be kept any longer, oldest first."""
    by_number = sorted(kept, key=lambda backup: backup.number)
    first_of: dict[tuple[int, int], int] = {}
    for backup in by_number:
        day = datetime.fromtimestamp(backup.taken_ns // NANOSECONDS, UTC)
        first_of.setdefault((day.year, day.month), backup.number)
    staying = {backup.number for backup in by_number[-LAST:]}
    staying.update(sorted(first_of.values())[-MONTHS:])
    return [backup for backup in by_number if backup.number not in staying]
