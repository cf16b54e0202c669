"""Whether the serving process and whoever asks it mean the same directory by one path.

The service writes what the command line asks for. Under systemd it may have a /tmp of its own, or see a disk that was mounted
after it started differently: then it would write where nobody looks. So the caller says which directory it sees, by
device and inode, and the service compares.
"""

import os
from pathlib import Path

from core.errors import Refused
from web.share_values import Place


class PlaceElsewhere(Refused):
    """A path leads to another directory for the service than for its caller."""


def place_of(target: Path) -> Place:
    """Return the nearest directory of an absolute path that exists, as this process sees it."""
    for path in (target, *target.parents):
        try:
            found = os.stat(path)
        except OSError:
            continue  # to be made, or not for this user to see: the service tells what is wrong with it
        return Place(str(path), found.st_dev, found.st_ino)
    raise PlaceElsewhere(f"{target} has no root", remedy="name the directory from / on")


def check_same_place(seen: Place | None) -> None:
    """Raise `PlaceElsewhere` unless this process sees the same directory; nothing is checked when nothing was seen."""
    if seen is None:
        return
    try:
        found = os.stat(seen.path)
    except OSError as error:
        raise _elsewhere(f"the service does not see {seen.path} ({error.strerror})") from error
    if (found.st_dev, found.st_ino) != (seen.device, seen.inode):
        raise _elsewhere(f"the service sees another {seen.path} than this command does")


def _elsewhere(message: str) -> PlaceElsewhere:
    return PlaceElsewhere(
        message,
        remedy="name a directory that both see; with systemd, PrivateTmp=no and a ReadWritePaths= for it in the unit,"
        " and a restart after mounting a disk",
    )
