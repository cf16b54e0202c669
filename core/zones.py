"""Time zones: looked up by their names in the IANA database, and the one that this machine is set to."""

from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from core.errors import Refused


class ZoneUnknown(Refused):
    """There is no such time zone."""


def parse_zone(name: str) -> ZoneInfo:
    """Return a zone by its name in the IANA database; raise `ZoneUnknown`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ZoneUnknown(f"there is no time zone {name[:60]!r}", remedy="use a name like Europe/Berlin") from error


def machine_time(instant_seconds: int) -> datetime:
    """Return what the wall clock of this machine shows at an instant, without a zone."""
    return datetime.fromtimestamp(instant_seconds)
