"""`web.operations.Differences` in memory: three differences, whatever is asked."""

from web.differences import ChangedPath, DifferencePage, DifferenceSummary
from web.operations import Actor

ROWS = [
    ChangedPath("a", "added", "file", 5, 0, 5),
    ChangedPath("c", "renamed", "folder", 0, 0, 0, path_before="b"),
    ChangedPath("d\\xff", "changed", "file", 10, 8, 3, path_base64="ZP8="),
]


class MemoryDifferences:
    """Pages of `ROWS`; a page's place is the number of the next row."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.rows = list(ROWS)

    def differences(self, actor: Actor, share: str, before: str, after: str, place: bytes, limit: int) -> DifferencePage:
        self.asked.append((share, before, after, limit))
        start = int(place or b"0")
        end = min(start + limit, len(self.rows))
        summary = DifferenceSummary(added=min(end, 1), renamed=min(max(end - 1, 0), 1), changed=max(end - 2, 0))
        return DifferencePage(self.rows[start:end], b"%d" % end if end < len(self.rows) else None, summary)
