"""One share as of any instant: which moments there are, and a view of each.

A snapshot or anchor is read from the catalogue; between them the journal is replayed from the nearest one before. The last
few replays are kept, so that a page that lists a folder and then a file replays once.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from core.clock import Clock
from core.errors import StagekeeperError
from core.relpath import RelPath
from snapshots.journal_events import Event, Mark, events_of
from snapshots.journal_retention import JournalPolicy, trim_below
from snapshots.ledger_db import Counters, SnapshotRow
from snapshots.moments import NoSuchMoment, Resolved, Window, resolve_moment
from snapshots.node_states import NodeStates
from snapshots.replay import ReplayedShare
from snapshots.share_fold import MomentGone, ShareFold
from snapshots.tree_at import TreeAt
from snapshots.versions import VersionLister
from snapshots.view_db import CatalogueReader, SnapshotView
from staging.journal import Journal

KEPT_REPLAYS = 4  # each holds what changed between two anchors: some ten MB at most

_ID_DIGITS = 18  # what SQLite can hold

Seen = TypeVar("Seen")


class Replays:
    """The replays that were asked for last, of all shares of a process, so that their memory is bounded. Any thread may call."""

    def __init__(self, limit: int = KEPT_REPLAYS) -> None:
        """Keep up to `limit`."""
        self._limit = limit
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[object, int], ReplayedShare] = OrderedDict()

    def get(self, share: object, sequence: int) -> ReplayedShare | None:
        """Return the replay of a share at a sequence, if it is still kept."""
        with self._lock:
            found = self._kept.get((share, sequence))
            if found is not None:
                self._kept.move_to_end((share, sequence))
            return found

    def put(self, share: object, sequence: int, replayed: ReplayedShare) -> None:
        """Keep a replay."""
        with self._lock:
            self._kept[share, sequence] = replayed
            self._kept.move_to_end((share, sequence))
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)

    def forget(self, share: object) -> None:
        """Drop the replays of a share."""
        with self._lock:
            for key in [key for key in self._kept if key[0] is share]:
                del self._kept[key]


class Instants:
    """The moments of one share. Any thread may call."""

    def __init__(self, fold: ShareFold, reader: CatalogueReader, journal: Journal, clock: Clock, replays: Replays) -> None:
        """Bind the parts of the share."""
        self._fold, self._reader, self._journal, self._clock, self._replays = fold, reader, journal, clock, replays
        self._lock = threading.Lock()

    def window(self) -> Window:
        """Return the instants that can be read now."""
        if not self._fold.sequence:
            self._fold.fold()  # when the first change came is told by its frame
        oldest = self._reader.ledger.oldest_start(self._lowest())
        if oldest is None or not self._fold.sequence:
            return Window(1, 0, 0, 0, self._sequence_at)
        from_ns = self._reader.time_of(oldest)
        until_ns = self._clock.now_ns()
        return Window(
            oldest, self._journal.durable.sequence, until_ns if from_ns is None else from_ns, until_ns, self._sequence_at
        )

    @contextmanager
    def versions(self, resolved: Resolved) -> Iterator[VersionLister]:
        """Yield what lists the versions of paths up to a resolved moment; no trim takes what it reads within the context."""
        with self._leased_window(self._reader.ledger.brief_since()) as known_from:
            states = None
            if known_from is not None and known_from < resolved.sequence:
                states = NodeStates(self._reader, self._journal, known_from)
            yield VersionLister(self._reader, states, resolved.sequence)

    @contextmanager
    def events(self, path: RelPath, after: Mark) -> Iterator[Iterator[Event]]:
        """Yield what the journal tells of a path, as `events_of` does; no trim takes what it reads within the context."""
        with self._leased_window() as known_from:
            yield iter(()) if known_from is None else events_of(self._reader, self._journal, path, after, known_from)

    def resolve(self, moment: str) -> Resolved:
        """Return what a moment means, folded up to there unless it is the live state; raise `NoSuchMoment`."""
        resolved = resolve_moment(moment, self._candidates(moment), self._fold.sequence, self.window)
        if not resolved.is_live:
            self._fold.fold_to(resolved.sequence)
        return resolved

    def _candidates(self, moment: str) -> list[SnapshotRow]:
        """Return the snapshots among which a moment may mean one, by sequence: all, unless it is the id of one that there is."""
        if moment.isdecimal() and len(moment) <= _ID_DIGITS:
            row = self._reader.ledger.snapshot(int(moment))
            if row is not None and not row.deleted_ns:
                return [row]
        return self._reader.ledger.snapshots() if moment else []

    def view(self, resolved: Resolved) -> SnapshotView:
        """Return the share as of a resolved moment; nothing keeps it as it is when what it stands on is removed."""
        return self._unleased(resolved)[0]

    def look(self, resolved: Resolved, read: Callable[[SnapshotView], Seen]) -> Seen:
        """Return what `read` sees in the share as of a resolved moment. For short looks: as a rule no lease is taken.

        When what the view stands on was removed meanwhile, and perhaps rows with it, it is looked again under a lease,
        or the moment is refused. So is a name that is not in the live state, when that went on.
        """
        view, fence = self._unleased(resolved)
        try:
            seen = read(view)
        except StagekeeperError:
            if self._fold.sequence == view.sequence if fence is None else self._reader.ledger.is_kept(fence):
                raise
        else:
            if fence is None or self._reader.ledger.is_kept(fence):
                return seen
        with self.leased(resolved) as leased:
            return read(leased)

    def _unleased(self, resolved: Resolved) -> tuple[SnapshotView, int | None]:
        """Return a view, and the fence that it stands on (None: the live state)."""
        sequence = resolved.sequence
        if resolved.is_live:
            return self._reader.view(sequence), None
        if self._reader.ledger.is_kept(sequence):
            return self._reader.view(sequence), sequence
        with self._leased_start(sequence) as (fence, start):
            return SnapshotView(self._replayed(fence, start, sequence), sequence), fence

    @contextmanager
    def leased(self, resolved: Resolved) -> Iterator[SnapshotView]:
        """Yield the share as of a resolved moment; it stays readable within the context, whatever is pruned meanwhile."""
        sequence = resolved.sequence
        if resolved.is_live or self._reader.ledger.is_kept(sequence):
            with self._fold.lease(None if resolved.is_live else sequence) as leased:
                yield self._reader.view(leased)
            return
        with self._leased_start(sequence) as (fence, start):
            yield SnapshotView(self._replayed(fence, start, sequence), sequence)

    @contextmanager
    def tree(self, resolved: Resolved) -> Iterator[TreeAt]:
        """Yield the tree of a resolved moment; it stays as it is within the context."""
        sequence = resolved.sequence
        if not resolved.is_live and not self._reader.ledger.is_kept(sequence):
            with self._replayed_tree(sequence) as tree:
                yield tree
            return
        with self._fold.lease(None if resolved.is_live else sequence) as leased:
            yield TreeAt(self._reader, leased, leased)

    @contextmanager
    def trees(self, one: Resolved, other: Resolved) -> Iterator[tuple[TreeAt, TreeAt]]:
        """Yield the trees of two moments as they are given; the fence of the earlier is not behind that of the later."""
        with self.tree(one) as first, self.tree(other) as second:
            early, late = sorted((first, second), key=lambda tree: tree.sequence)
            if early.fence <= late.fence:
                yield first, second
                return
            with self._replayed_tree(early.sequence) as early:  # kept within a repair, where no replay of the later one starts
                yield (early, late) if late is second else (late, early)

    @contextmanager
    def _replayed_tree(self, sequence: int) -> Iterator[TreeAt]:
        with self._leased_start(sequence) as (fence, start):
            yield TreeAt(self._reader, sequence, fence, self._replayed(fence, start, sequence))

    def replayed(self, sequence: int) -> ReplayedShare:
        """Return a share as of an instant by replay, wherever it starts."""
        with self._leased_start(sequence) as (fence, start):
            return self._replayed(fence, start, sequence)

    def trim(self, policy: JournalPolicy) -> None:
        """Let the journal's oldest segments go, as far as policy, seals and the instants that stay allow."""
        seal = self._reader.ledger.newest_seal()
        below = trim_below(
            self._journal.spans(), self._reader.ledger.anchors(), 0 if seal is None else seal.sequence, self._fold.sequence,
            self._clock.now_ns(), policy,
        )  # fmt: skip
        if below:
            self._fold.trim_journal(below)

    def _lowest(self) -> int:
        return max(self._journal.start.sequence, self._reader.ledger.purged())

    def close(self) -> None:
        """Drop what is kept of this share; it may be used on."""
        self._replays.forget(self)

    @contextmanager
    def _leased_start(self, sequence: int) -> Iterator[tuple[int, Counters]]:
        """Yield from where an instant is replayed, and what was counted there, leased within the context."""
        with ExitStack() as leases:
            start = self._reader.ledger.replay_start(self._lowest(), sequence)
            while start is not None and not self._keeps(start[0], leases):
                start = self._reader.ledger.replay_start(self._lowest(), sequence)
            if start is None:
                raise NoSuchMoment(f"change {sequence} cannot be read any more", remedy="choose a later instant, or a snapshot")
            yield start

    @contextmanager
    def _leased_window(self, since: int = 0) -> Iterator[int | None]:
        """Yield from where on, `since` at the earliest, the journal knows all that happened, leased within the context.

        It is None where the journal knows nothing.
        """
        with ExitStack() as leases:
            oldest = self._reader.ledger.oldest_start(max(self._lowest(), since))
            while oldest is not None and not self._keeps(oldest, leases):
                oldest = self._reader.ledger.oldest_start(max(self._lowest(), since))
            yield oldest

    def _keeps(self, fence: int, leases: ExitStack) -> bool:
        """Lease a fence; return False when it, or the journal behind it, went before that: then there may be a later one."""
        try:
            leases.enter_context(self._fold.lease(fence))
        except MomentGone:
            return False
        return fence >= self._lowest()

    def _replayed(self, fence: int, start: Counters, sequence: int) -> ReplayedShare:
        """Replay under a lease of the start. What is kept is good as long as its own start is kept."""
        with self._lock:
            kept = self._replays.get(self, sequence)
            if kept is not None and kept.start == fence:
                return kept
            replayed = ReplayedShare(self._reader, fence, start)
            replayed.run(self._reader, self._journal, sequence)
            self._replays.put(self, sequence, replayed)
            return replayed

    def _sequence_at(self, time_ns: int) -> int:
        """Return the last change received up to a time; what the fold has not come to yet is folded first if it may count."""
        folded = self._reader.time_of(self._fold.sequence)
        if folded is None or folded <= time_ns:
            self._fold.fold_to(self._journal.durable.sequence)
        return self._reader.sequence_at(time_ns)
