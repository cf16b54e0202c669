"""Single frames of a share's journal, found by their numbers: the changes in them, counted one by one as the fold counts them."""

from collections import OrderedDict
from collections.abc import Sequence

from core.relpath import RelPath, split
from snapshots.view_db import CatalogueReader
from staging.changes import Barrier, Change, Create, Group, Mirror, SimpleChange
from staging.frame_format import Frame, unpack_frame
from staging.journal import Journal

_FRAMES_REMEMBERED = 4  # one frame often holds several changes of what is asked about; one may unpack to some MB

FrameChange = tuple[int, SimpleChange | Barrier | Mirror, tuple[RelPath, ...]]
"""(sequence, the change, the paths of its frame)"""


class FrameReader:
    """Reads frames; made for one question."""

    def __init__(self, reader: CatalogueReader, journal: Journal) -> None:
        """Bind the share's parts."""
        self._reader, self._journal = reader, journal
        self._known: OrderedDict[int, tuple[int, list[FrameChange]]] = OrderedDict()

    def changes(self, sequence: int) -> tuple[int, list[FrameChange]]:
        """Return when the frame that ends with a folded `sequence` came, and its changes; none when it is kept no longer."""
        if sequence not in self._known:
            self._known[sequence] = self._read(sequence)
            if len(self._known) > _FRAMES_REMEMBERED:
                self._known.popitem(last=False)
        return self._known[sequence]

    def _read(self, sequence: int) -> tuple[int, list[FrameChange]]:
        place = self._reader.place_behind(sequence - 1)
        for record in self._journal.read(self._journal.cursor(sequence - 1, place)):
            if record.header is not None and record.header.last_sequence >= sequence:
                return record.time_ns, _flat(unpack_frame(record.payload, record.header))
        return 0, []


def _flat(frame: Frame) -> list[FrameChange]:
    found: list[FrameChange] = []
    for sequence, change in enumerate(frame.changes, start=frame.header.first_sequence):
        parts: Sequence[Change] = change.changes if isinstance(change, Group) else (change,)
        found += [(sequence, part, frame.paths) for part in parts if not isinstance(part, Group)]
    return found


def creating(changes: Sequence[FrameChange], sequence: int, name: bytes) -> list[int]:
    """Return which of a frame's changes made what got its first name at a sequence; none when that is not certain."""
    found = [
        ordinal
        for ordinal, (number, change, paths) in enumerate(changes)
        if number == sequence and isinstance(change, Create) and split(paths[change.path])[1] == name
    ]
    return found if len(found) == 1 else []
