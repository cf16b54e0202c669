"""What deleting snapshots would free: the stored bytes of chunks that no other snapshot and no live state names.

Two answers. `frees_at_most` looks at the states that only these snapshots show, and at the states of the same files before and
after: its cost is theirs alone, and it is never too low. `frees` then looks for the remaining chunks in every other state of the
store; it is exact. What the kept journal with its anchors, an open session or a reader still needs is freed when that has ended.
A delta counts its own bytes; a base goes only when all deltas on it go, and then it counts.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence

from core.digest import Digest
from snapshots.chunk_store import ChunkStore
from snapshots.content_difference import named_digests, new_digests
from snapshots.exclusive_db import ExclusiveReader, FileState
from snapshots.schema_db import LIVE
from snapshots.view_db import CatalogueReader

_EVERY_STATES = 20_000

Report = Callable[[int], None]


class Removal:
    """Weighs the deletion of snapshots of one share. For a thread or process that may take its time."""

    def __init__(self, share: CatalogueReader, every_share: Sequence[CatalogueReader], store: ChunkStore) -> None:
        """Bind the share, and all shares of the store (this one may be among them or not)."""
        self._rows = ExclusiveReader(share.query)
        self._others = [ExclusiveReader(other.query) for other in every_share if other is not share]
        self._store = store

    def frees_at_most(self, ids: Sequence[int]) -> int:
        """Return an upper bound of the stored bytes that deleting all these snapshots together frees."""
        weighed = _Weighed(self._rows, ids, self._store)
        return self._stored_bytes(weighed.candidates, weighed.named)

    def frees(self, ids: Sequence[int], report: Report = lambda states: None) -> int:
        """Return the stored bytes that deleting all these snapshots together frees; reads every catalogue.

        `report` is told now and then how many states were read.
        """
        weighed = _Weighed(self._rows, ids, self._store)
        asked = set(weighed.candidates)
        for deltas in self._store.deltas_on(asked).values():
            asked |= deltas  # one of them that is named keeps its base
        counter = _Counter(report)
        named = self._named_by(filter(weighed.stays, counter.counted(self._rows.all_states())), asked) if asked else set()
        for other in self._others if asked else ():
            kept = other.sequences([])[1]
            named |= self._named_by((state for state in counter.counted(other.all_states()) if _stays(kept, state)), asked)
        return self._stored_bytes(weighed.candidates - named, weighed.named | named)

    def _named_by(self, states: Iterable[FileState], asked: set[Digest]) -> set[Digest]:
        opened: set[Digest] = set()
        return {
            digest for state in states for digest in named_digests(state.content, self._store.node, opened) if digest in asked
        }

    def _stored_bytes(self, free: set[Digest], named: set[Digest]) -> int:
        """Return what these chunks take, without the bases of deltas that are named."""
        needed = {base for base, deltas in self._store.deltas_on(free).items() if not deltas.isdisjoint(named)}
        return sum(location.stored_bytes for location in self._store.locations(free - needed).values())


class _Counter:
    """Tells how many states went by."""

    def __init__(self, report: Report) -> None:
        self._report, self._count = report, 0

    def counted(self, states: Iterable[FileState]) -> Iterator[FileState]:
        for state in states:
            self._count += 1
            if self._count % _EVERY_STATES == 0:
                self._report(self._count)
            yield state


class _Weighed:
    """The chunks of what only some snapshots show that the same files' other states do not name, and the bases of those."""

    def __init__(self, rows: ExclusiveReader, ids: Sequence[int], store: ChunkStore) -> None:
        self._going, self._kept = rows.sequences(ids)
        self._store = store
        self.candidates: set[Digest] = set()
        self.named: set[Digest] = set()
        nodes = {state.node for first, last in self._runs() for state in self._states(rows, first, last) if self.goes(state)}
        for node in sorted(nodes):
            self._weigh(rows.states_of(node))
        located = store.locations(self.candidates)
        self.candidates |= {location.base for location in located.values() if location.base is not None}
        self.candidates -= self.named

    def goes(self, state: FileState) -> bool:
        """Tell whether a state is shown by these snapshots and by nothing that stays."""
        return _within(self._going, state) and not self.stays(state)

    def stays(self, state: FileState) -> bool:
        """Tell whether a state lives or is shown by something that stays."""
        return _stays(self._kept, state)

    def _runs(self) -> list[tuple[int, int]]:
        """Return (first, last) of the going sequences that stand together, with nothing kept between them."""
        runs: list[tuple[int, int]] = []
        for sequence in self._going:
            if runs and bisect_left(self._kept, sequence) == bisect_left(self._kept, runs[-1][1]):
                runs[-1] = (runs[-1][0], sequence)
            else:
                runs.append((sequence, sequence))
        return runs

    def _states(self, rows: ExclusiveReader, first: int, last: int) -> Iterator[FileState]:
        place = bisect_left(self._kept, first)
        below = self._kept[place - 1] if place else -1
        above = self._kept[place] if place < len(self._kept) else LIVE
        return rows.states_between(first, last, below, above)

    def _weigh(self, states: list[FileState]) -> None:
        """Collect what the going states of one file name and the nearest staying ones around them do not."""
        for number, state in enumerate(states):
            if not self.goes(state):
                continue
            before = next(filter(self.stays, reversed(states[:number])), None)
            after = next(filter(self.stays, states[number + 1 :]), None)
            around = [other.content for other in (before, after) if other is not None]
            self.candidates |= new_digests(around, state.content, self._store.node, self.named)


def _within(sequences: list[int], state: FileState) -> bool:
    return bisect_left(sequences, state.born) < bisect_left(sequences, state.died)


def _stays(kept: list[int], state: FileState) -> bool:
    return state.died == LIVE or _within(kept, state)
