"""Reading the contents of a tree a little before they are asked for, by threads, within a bound of memory.

Many chunks are located by one question and read in the order in which they stand in the packs. What cannot be read is
left to the one who asks for it: `chunk` then says what is wrong with it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from core.digest import Digest
from core.relpath import RelPath
from snapshots.tree import Extent, Node, TreeView
from staging.changes import Chunk

_BATCH_BYTES = 1024 * 1024
_BATCH_ITEMS = 256
_BATCHES_AHEAD = 4  # with the batch in hand 6 MiB, and as much again inside of one long file
_THREADS = 2

Item = TypeVar("Item")
_Contents = dict[Digest, bytes | memoryview]


class ReadAhead:
    """Reads from one view for one thread, which asks in order; a context manager that ends the threads."""

    def __init__(self, view: TreeView) -> None:
        """Read from `view`."""
        self._view = view
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="read-ahead")
        self._near: _Contents = {}

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    def walk(self, path: RelPath) -> Iterator[tuple[RelPath, Node]]:
        """Yield what the view's `walk` yields; files of one chunk are at hand for `chunk` when they are yielded."""
        for batch, near in self._ahead((item, *_only_chunk(item[1])) for item in self._view.walk(path)):
            self._near = near
            yield from batch

    def near(self, digest: Digest) -> bytes | memoryview | None:
        """Return one chunk, checked against its digest, when it was read already."""
        return self._near.get(digest)

    def chunk(self, digest: Digest) -> bytes | memoryview:
        """Return one chunk, checked against its digest; raise `Damaged` kinds when it is wrong or absent."""
        found = self._near.get(digest)
        return found if found is not None else self._view.chunk(digest)

    def filled(self, extents: Iterable[Extent]) -> Iterator[tuple[Extent, bytes | memoryview | None]]:
        """Yield extents in order with their checked bytes, None for holes; raise what `chunk` raises."""
        for batch, near in self._ahead((extent, extent.digest, extent.length) for extent in extents):
            for extent in batch:
                if extent.digest is None:
                    yield extent, None
                else:
                    found = near.get(extent.digest)
                    yield extent, found if found is not None else self._view.chunk(extent.digest)

    def _ahead(self, items: Iterable[tuple[Item, Digest | None, int]]) -> Iterator[tuple[list[Item], _Contents]]:
        """Yield batches of items, each with the chunks that its items name; the next batches are being read meanwhile."""
        waiting: deque[tuple[list[Item], Future[_Contents]]] = deque()
        batch: list[Item] = []
        wanted: list[Digest] = []
        size = 0
        for item, digest, length in items:
            batch.append(item)
            if digest is not None:
                wanted.append(digest)
                size += length
            if size >= _BATCH_BYTES or len(batch) >= _BATCH_ITEMS:
                waiting.append((batch, self._threads.submit(self._view.chunks, wanted)))
                batch, wanted, size = [], [], 0
                if len(waiting) > _BATCHES_AHEAD:
                    done, contents = waiting.popleft()
                    yield done, contents.result()
        if batch:
            waiting.append((batch, self._threads.submit(self._view.chunks, wanted)))
        while waiting:
            done, contents = waiting.popleft()
            yield done, contents.result()


def _only_chunk(node: Node) -> tuple[Digest | None, int]:
    content = node.content
    return (Digest(content.digest), content.size) if isinstance(content, Chunk) else (None, 0)
