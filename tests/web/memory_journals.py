"""A journal of five writes, for tests of the web side."""

from core.relpath import RelPath, show_path
from web.operations import Actor
from web.upkeep_values import JournalChange, JournalList, JournalSegment, JournalWindow

BEGUN = "2026-11-22T07:00:00.000000Z"


class MemoryJournals:
    """Implements `web.operations.Journals`."""

    def list_journal(self, actor: Actor, share: str) -> JournalList:
        return JournalList([JournalSegment(1, 5, BEGUN, None, 700, 5)], JournalWindow(BEGUN, BEGUN))

    def show_journal(
        self, actor: Actor, share: str, path: RelPath, after: tuple[int, int], limit: int
    ) -> tuple[list[JournalChange], tuple[int, int] | None]:
        written = [JournalChange(n, BEGUN, "write", show_path(path), 10 * n, 10, None) for n in range(1, 6)]
        found = [change for change in written if (change.sequence, 0) > after][:limit]
        return found, (found[-1].sequence, 0) if len(found) == limit else None
