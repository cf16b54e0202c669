"""Room that the agent keeps for itself on the disk of its state: a full disk never keeps it from sending what waits there.

SQLite needs a few pages even to open a database, and an acknowledgement is written down before the outbox is trimmed. So a file
takes up some room, and nothing is looked for without it. It is given up when what must be written does not fit, and made
again once the outbox has been trimmed.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from core.database import DatabaseUnavailable, OperationalError
from core.durable import FileLayer, NoSpace, WriteFailed, remove_file, reserve_file

_RESERVE_BYTES = 8 * 1024 * 1024
_PART_OF_DISK = 16  # a small disk is to hold an outbox too
_Result = TypeVar("_Result")
NO_ROOM = (NoSpace, WriteFailed, DatabaseUnavailable, OperationalError)


class Reserve:
    """The reserve of one state directory. Any thread may call."""

    def __init__(self, path: Path, files: FileLayer) -> None:
        """Name the file; nothing is made yet."""
        self._path, self._files = path, files

    def hold(self) -> bool:
        """Return whether the reserve is there; it is made when there is room for it and as much again."""
        space = os.statvfs(self._path.parent)
        wanted = min(_RESERVE_BYTES, space.f_blocks * space.f_frsize // _PART_OF_DISK)
        if self._path.exists():
            return True
        return space.f_bavail * space.f_frsize >= 2 * wanted and reserve_file(self._path, wanted, self._files)

    def give_up(self) -> bool:
        """Give the reserve up; return whether there was one."""
        if not self._path.exists():
            return False
        remove_file(self._path, self._files)
        return True

    def with_room(self, work: Callable[[], _Result]) -> _Result:
        """Do what has to be written, once more without the reserve when there is no room for it."""
        try:
            return work()
        except NO_ROOM:
            if not self.give_up():
                raise
        return work()
