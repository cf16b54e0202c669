"""Sending again what the appliance asks for because it went bad there, in a thread of its own: nothing waits behind a large file.

Only files of the share are read, by the same rules as a look reads them: no link is followed, and what is left out stays so,
whatever is asked for.
"""

import logging
import queue
import threading
from collections.abc import Callable, Iterable

from branch.excludes import Excludes
from branch.repair import put_file
from branch.uploader import Uploader
from core.errors import StagekeeperError, TryLater
from core.relpath import PathRefused, RelPath, parse_path, show_path
from staging.protocol import CONTENTS_TASK, Task

_RETRY_SECONDS = 5.0
_log = logging.getLogger("stagekeeper.agent")


class Mender:
    """Does the tasks of one share, each once; `run` belongs to a thread, the rest may be asked from others."""

    def __init__(self, root: Callable[[], bytes], excludes: Excludes, uploader: Uploader, stopping: threading.Event) -> None:
        """Name the share's folder (`root` raises when it is not there); `stopping` ends `run` after the request under way."""
        self._root, self._excludes, self._uploader, self._stopping = root, excludes, uploader, stopping
        self._tasks: queue.SimpleQueue[RelPath | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._waiting: set[RelPath] = set()

    def take(self, tasks: Iterable[Task]) -> None:
        """Take tasks; those that are unknown, wait already, or are about nothing of the share are left."""
        for task in tasks:
            try:
                path = parse_path(task.path)
            except PathRefused:
                continue
            with self._lock:
                is_new = task.task == CONTENTS_TASK and path not in self._waiting and not self._is_excluded(path)
                if is_new:
                    self._waiting.add(path)
            if is_new:
                self._tasks.put(path)

    def is_idle(self) -> bool:
        """Tell whether everything that was taken is done."""
        with self._lock:
            return not self._waiting

    def stop(self) -> None:
        """End `run`, whose `stopping` is set, also while it waits for a task."""
        self._tasks.put(None)

    def run(self) -> None:
        """Do tasks until `stop`."""
        while (path := self._tasks.get()) is not None and not self._stopping.is_set():
            self._put(path)
            with self._lock:
                self._waiting.discard(path)

    def _put(self, path: RelPath) -> None:
        while not self._stopping.is_set():
            try:
                is_read = put_file(self._root(), path, self._uploader)
            except TryLater:  # the line is down, or the share's limit holds everything back
                self._stopping.wait(_RETRY_SECONDS)
                continue
            except StagekeeperError as error:
                _log.warning("%s, which the appliance asked for again, was not sent: %s", show_path(path), error.message)
                return
            _log.warning("%s %s", show_path(path), "was sent again, as the appliance asked" if is_read else "cannot be read")
            return

    def _is_excluded(self, path: RelPath) -> bool:
        parts = path.split(b"/")
        steps: Iterable[tuple[bytes, bytes, bool]] = (
            (b"/".join(parts[: count + 1]), part, count + 1 < len(parts)) for count, part in enumerate(parts)
        )
        return any(self._excludes.match(*step) for step in steps)
