"""Room that is kept on every disk of the store, so that a full disk ends neither reading nor removal.

SQLite needs a few pages even to read, and removing anything writes a record first. So each disk that holds a part of the
store carries a preallocated file, the ballast. It is given up when the disk is full and made again when there is room.
New data is refused earlier, while the reserve is still free: what the service itself writes then fits.
"""

import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.durable import OS_FILES, FileLayer, NoSpace, remove_file, reserve_file

SMALL_BALLAST_BYTES = 4 * 1024 * 1024  # room for the WAL files of a few small transactions and a journal record
PLENTY_BYTES = 8 * 1024**3  # with so much free a disk is not near its end: there the small one will do
_LEAST_LOW_BYTES = 2 * 1024 * 1024
_PART_OF_DISK = 16  # a small disk is to hold data too
_FILE = ".ballast"
_WAIT = "changes are kept on the branch and sent when there is room; the appliance's operator has to make some"


class DiskAlmostFull(NoSpace):
    """New data would take from the reserve that the appliance itself needs; nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class DiskSpace:
    """How large a disk is, and how much of it anybody may still take."""

    total_bytes: int
    free_bytes: int


def ballast_for(disk: DiskSpace, largest_bytes: int) -> int:
    """Return how large the ballast of a disk should be."""
    wanted = largest_bytes if disk.free_bytes < PLENTY_BYTES else min(largest_bytes, SMALL_BALLAST_BYTES)
    return min(wanted, disk.total_bytes // _PART_OF_DISK)


def low_water_for(ballast_bytes: int) -> int:
    """Return the free space below which a ballast is given up."""
    return max(ballast_bytes // 4, _LEAST_LOW_BYTES)


def reserve_for(disk: DiskSpace, wanted_bytes: int) -> int:
    """Return the free space below which a disk takes no new data."""
    return min(wanted_bytes, disk.total_bytes // _PART_OF_DISK)


class Ballast:
    """The ballast files of a store, one on each disk. Any thread may call; only the process that holds the store's lock."""

    def __init__(self, folders: Iterable[Path], ballast_bytes: int, reserve_bytes: int, files: FileLayer = OS_FILES) -> None:
        """Name the folders that may be on disks of their own, and the sizes that are wished for."""
        first_on_disk: dict[int, Path] = {}
        for folder in folders:
            first_on_disk.setdefault(folder.stat().st_dev, folder)
        self._disks = list(first_on_disk.values())
        self._ballast_bytes, self._reserve_bytes, self._files = ballast_bytes, reserve_bytes, files
        self._lock = threading.Lock()

    @property
    def held_bytes(self) -> int:
        """Return the bytes of all ballast files."""
        return sum(_allocated(file) for file in self.files)

    @property
    def files(self) -> list[Path]:
        """Return the ballast files as they are when none is given up, one on each disk."""
        return [folder / _FILE for folder in self._disks]

    def is_given_up(self) -> bool:
        """Tell whether a disk that should carry a ballast does not."""
        return self._ballast_bytes > 0 and any(not _allocated(file) for file in self.files)

    def tend(self) -> None:
        """Give up the ballast of a full disk, make it where there is room. Costs next to nothing; never fails."""
        if not self._lock.acquire(blocking=False):
            return  # somebody else is at it
        try:
            for folder in self._disks:
                self._tend(folder)
        finally:
            self._lock.release()

    def has_room(self, more_bytes: int = 0) -> bool:
        """Tell whether every disk can take so many bytes of new data and keep its reserve."""
        spaces = [_space_of(folder) for folder in self._disks]
        return all(space.free_bytes - more_bytes >= reserve_for(space, self._reserve_bytes) for space in spaces)

    def check_room(self, more_bytes: int) -> None:
        """Raise `DiskAlmostFull`, without a place in its words (branches read it), unless there is room for new data."""
        if not self.has_room(more_bytes):
            raise DiskAlmostFull("the appliance's disk is almost full: it takes no new data for now", remedy=_WAIT)

    def _tend(self, folder: Path) -> None:
        file, space = folder / _FILE, _space_of(folder)
        held, wanted = _allocated(file), ballast_for(space, self._ballast_bytes)
        low = low_water_for(held or wanted)
        if file.exists() and space.free_bytes < low:
            remove_file(file, self._files)
        elif held < wanted and space.free_bytes >= wanted - held + 2 * low_water_for(wanted):
            reserve_file(file, wanted, self._files)


def no_room() -> NoSpace:
    """Return what a branch is told when its data cannot be taken for want of space."""
    return NoSpace(
        "the appliance's disk is full: it takes no new data for now",
        remedy=_WAIT,
    )


def _space_of(folder: Path) -> DiskSpace:
    found = os.statvfs(folder)
    return DiskSpace(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize)


def _allocated(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
