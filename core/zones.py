"""Time zones by their names in the IANA database: the one place where such a name is looked up."""

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
