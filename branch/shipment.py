"""What one look found, on its way: contents to the appliance (or the outbox), changes into frames, steps into the memory.

Order, which must not change: a frame is sealed only after all contents that it names are put or stand before it in the
outbox; the memory is committed only after the outbox is synced. While the line is up, groups of chunks are put by a few
threads beside the look, and a few batches wait for theirs, so that looking, packing and sending overlap.
"""

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

from branch.batch import Batch
from branch.held import HeldChunks
from branch.known import KnownRow, Step
from branch.known_db import KnownDb
from branch.line import ApplianceRefused
from branch.outbox import Outbox
from branch.uploader import LooseChunk, Uploader, pack_loose, split_bodies
from core.digest import Digest
from core.errors import Refused, TryLater
from staging.changes import Attributes, Mirror, SimpleChange
from staging.chunk_format import PackedChunk, item_parts

GROUP_BYTES = 8 * 1024 * 1024  # of chunks asked about and put together; half of what a put body may hold
GROUP_CHUNKS = 4096
_GROUPS_AHEAD = 4  # bounds the memory: 32 MiB of contents
_BATCHES_A_COMMIT = 16  # bounds what is taken again after a crash, and the databases' logs
_ROOM_SECONDS = 0.2


class HeldWrong(TryLater):
    """The appliance lacks chunks that it was believed to hold; the look is made again and everything asked."""


@dataclass(frozen=True, slots=True)
class Road:
    """How contents leave: by whom, whether the line is up with nothing waiting before them, and what stops the work."""

    uploader: Uploader
    threads: Executor
    is_open: Callable[[], bool]
    check: Callable[[], None]
    outbox_limit_bytes: int
    tell_full: Callable[[bool], None]


@dataclass(slots=True)
class _Closed:
    """A batch that waits for its contents."""

    batch: Batch
    nodes: list[PackedChunk]
    groups: deque[tuple[Future[None], list[LooseChunk]]] = field(default_factory=deque)


class Shipment:
    """Takes chunks, changes and steps in order; used by one thread, the look's."""

    def __init__(self, known: KnownDb, outbox: Outbox, held: HeldChunks, road: Road, noticed_ns: int, is_group: bool) -> None:
        """Number nothing yet; `noticed_ns` is when the oldest change was noticed."""
        self.known, self._outbox, self._held, self._road = known, outbox, held, road
        self._noticed_ns, self._is_group = noticed_ns, is_group
        self._group: list[LooseChunk] = []
        self._group_bytes = 0
        self._waiting: deque[_Closed] = deque()
        self._batches = 0
        self._open = _Closed(Batch(is_group), [])
        self.changes = 0

    # -- contents -------------------------------------------------------------------------------------------------

    def chunk(self, digest: Digest, data: bytes | memoryview, replaces: Digest) -> None:
        """Take a chunk unless the appliance is known to hold it."""
        if digest in self._held:
            return
        self._held.add(digest)
        self._group.append((digest, data, replaces))
        self._group_bytes += len(data)
        if self._group_bytes >= GROUP_BYTES or len(self._group) >= GROUP_CHUNKS:
            self._send_group()

    def nodes(self, nodes: list[PackedChunk]) -> None:
        """Take recipe nodes: put when all chunks of the batch are."""
        for node in nodes:
            if node.digest not in self._held:
                self._held.add(node.digest)
                self._open.nodes.append(node)

    def check(self) -> None:
        """Raise when the look is to end."""
        self._road.check()

    # -- changes and steps ----------------------------------------------------------------------------------------

    def index(self, path: bytes) -> int:
        """Return a path's index for the next change."""
        return self._open.batch.index(path)

    def add(self, change: SimpleChange | Mirror, attributes: Attributes | None = None, more_bytes: int = 0) -> None:
        """Take a change; its attributes and other long parts count for the size."""
        self._open.batch.add(change, attributes, more_bytes)
        self.changes += 1

    def put_row(self, row: KnownRow) -> None:
        """Remember how a path looks now."""
        self.known.put(row)
        self._open.batch.add_row(row)

    def take_step(self, step: Step) -> None:
        """Take a step of the memory."""
        self.known.take(step)
        self._open.batch.add_step(step)

    def last_change(self) -> tuple[Batch, int]:
        """Return where the newest change stands, for `Batch.changes`; it may be replaced while its batch is open."""
        return self._open.batch, len(self._open.batch.changes) - 1

    def is_open(self, batch: Batch) -> bool:
        """Tell whether a batch still takes changes."""
        return batch is self._open.batch

    def pause(self) -> None:
        """Seal what is enough for a frame; called between two files, where the changes so far stand on their own."""
        if self._open.batch.is_full:
            self._close_batch()
            self._batches += 1
            if self._batches % _BATCHES_A_COMMIT == 0:
                self.finish()
            else:
                self._settle_early()

    def finish(self) -> None:
        """Seal everything and commit the memory behind it."""
        self._close_batch()
        while self._waiting:
            self._settle(self._waiting.popleft())
        self.known.commit(self._outbox.end)
        self._outbox.note_committed(self._outbox.end)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _send_group(self) -> None:
        group, self._group, self._group_bytes = self._group, [], 0
        if not group:
            return
        if self._road.is_open():
            self._open.groups.append((self._road.threads.submit(self._road.uploader.upload, group), group))
            self._reap()
        else:
            self._spool_loose(group)

    def _reap(self) -> None:
        """Wait for the oldest groups while too many are under way."""
        under_way = [closed for closed in [*self._waiting, self._open] if closed.groups]
        while sum(len(closed.groups) for closed in under_way) > _GROUPS_AHEAD:
            oldest = next(closed for closed in under_way if closed.groups)
            self._await_group(oldest)

    def _await_group(self, closed: _Closed) -> None:
        future, group = closed.groups.popleft()
        try:
            future.result()
        except (TryLater, Refused):  # the sender meets the same and tells; nothing may be lost meanwhile
            self._spool_loose(group)

    def _close_batch(self) -> None:
        self._send_group()
        closed, self._open = self._open, _Closed(Batch(self._is_group), [])
        self._waiting.append(closed)

    def _settle_early(self) -> None:
        """Seal batches whose contents are there already, and wait for none but the oldest of many."""
        while self._waiting:
            is_ready = all(future.done() for future, _ in self._waiting[0].groups)
            if not is_ready and len(self._waiting) <= _GROUPS_AHEAD:
                return
            self._settle(self._waiting.popleft())

    def _settle(self, closed: _Closed) -> None:
        while closed.groups:
            self._await_group(closed)
        if closed.nodes:
            self._send_nodes(closed.nodes)
        if not closed.batch.is_empty:
            paths, changes, steps = closed.batch.finish()
            self._outbox.seal(paths, changes, steps, self._noticed_ns)

    def _send_nodes(self, nodes: list[PackedChunk]) -> None:
        if self._road.is_open():
            try:
                self._road.uploader.put_missing(nodes)
            except ApplianceRefused as error:
                if error.name == "chunk_missing":
                    raise HeldWrong("the appliance lacks chunks that it held", remedy="they are sent again") from error
            except (TryLater, Refused):
                pass
            else:
                return
        self._spool(nodes)

    def _spool_loose(self, group: Sequence[LooseChunk]) -> None:
        self._spool(pack_loose(group))

    def _spool(self, chunks: Sequence[PackedChunk]) -> None:
        for body in split_bodies(chunks):
            parts = [part for chunk in body for part in item_parts(chunk)]
            if self._wait_for_room(sum(map(len, parts)), body):
                self._outbox.add_chunks(parts)

    def _wait_for_room(self, size_bytes: int, body: Sequence[PackedChunk]) -> bool:
        """Stand still while the outbox is full, dropping nothing; return False when the body could be put meanwhile."""
        is_full = False
        try:
            while self._outbox.pending_bytes and self._outbox.pending_bytes + size_bytes > self._road.outbox_limit_bytes:
                if not is_full:
                    is_full = True
                    self._road.tell_full(True)
                self.check()
                if self._road.is_open() and self._is_put(body):
                    return False
                self._outbox.wait_for_acknowledgement(_ROOM_SECONDS)
        finally:
            if is_full:
                self._road.tell_full(False)
        return True

    def _is_put(self, body: Sequence[PackedChunk]) -> bool:
        try:
            self._road.uploader.put(body)
        except (TryLater, Refused):
            return False
        return True
