"""Changes on their way into one frame: its path table, its changes, the steps of the memory, and an estimate of its size."""

from branch.known import KnownRow, PutRows, Step
from staging.changes import Attributes, Change, Group, Mirror, SimpleChange
from staging.frame_format import MAX_UNPACKED_BYTES

MAX_BATCH_CHANGES = 4096  # a frame that the fold takes in some ten milliseconds
MAX_BATCH_BYTES = MAX_UNPACKED_BYTES // 4  # far below the frame's limit; one more change always fits
_CHANGE_BYTES = 200  # of a change without path and xattrs


class Batch:
    """The changes of one frame, still open."""

    def __init__(self, is_group: bool) -> None:
        """Begin empty; with `is_group` the changes take effect as one."""
        self._is_group = is_group
        self._indexes: dict[bytes, int] = {}
        self._rows: list[KnownRow] = []
        self.paths: list[bytes] = []
        self.changes: list[SimpleChange | Mirror] = []
        self.steps: list[Step] = []
        self._bytes = 0

    def index(self, path: bytes) -> int:
        """Return the place of a path in the path table."""
        found = self._indexes.get(path)
        if found is None:
            found = self._indexes[path] = len(self.paths)
            self.paths.append(path)
            self._bytes += len(path)
        return found

    def add(self, change: SimpleChange | Mirror, attributes: Attributes | None = None, more_bytes: int = 0) -> None:
        """Add a change whose paths were given by `index`; its attributes and other long parts count for the size."""
        self.changes.append(change)
        self._bytes += _CHANGE_BYTES + more_bytes
        if attributes is not None and attributes.xattrs:
            self._bytes += sum(len(name) + len(value) for name, value in attributes.xattrs)

    def add_row(self, row: KnownRow) -> None:
        """Add a row of the memory."""
        self._rows.append(row)

    def add_step(self, step: Step) -> None:
        """Add another step of the memory, behind all rows so far."""
        self._close_rows()
        self.steps.append(step)

    @property
    def is_full(self) -> bool:
        """Tell whether the batch should be sealed."""
        return len(self.changes) >= MAX_BATCH_CHANGES or self._bytes >= MAX_BATCH_BYTES

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing to send; steps alone change nothing on the appliance."""
        return not self.changes

    def finish(self) -> tuple[list[bytes], list[Change], list[Step]]:
        """Return paths, changes and steps for a frame."""
        self._close_rows()
        simple = [change for change in self.changes if not isinstance(change, Mirror)]
        if self._is_group and len(simple) == len(self.changes) > 1:
            return self.paths, [Group(tuple(simple))], self.steps
        return self.paths, list(self.changes), self.steps

    def _close_rows(self) -> None:
        if self._rows:
            self.steps.append(PutRows(self._rows))
            self._rows = []
