"""Everything that may meet in one store, in random orders and inside each other: ingest with deltas, snapshots that name old
chunks again, prune (drop, seal, sweep, trim), restores, exports, collect with its mark under way, restarts, lost databases.

The model: the tree at each sequence, in plain bytes. A restore runs as in the product, and other steps happen between two of its
files; an export reads chunk by chunk over many steps; a mark sees the store change while it walks. Whatever was begun gives the
bytes of its moment, and whatever is kept can be read at the end, also without the catalogue and without the index.
"""

import random
import shutil
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

import snapshots.instants as instants_module
import snapshots.packs as packs_module
import staging.journal as journal_module
from core.clock import NANOSECONDS
from core.digest import Digest
from core.errors import StagekeeperError
from core.relpath import ROOT
from snapshots import garbage_db
from snapshots.anchors import AnchorLimits
from snapshots.collect import CollectPlace, CollectReport, Margins, Round
from snapshots.control_format import SnapshotDropped
from snapshots.garbage_db import RunFenced
from snapshots.journal_retention import JournalPolicy
from snapshots.ledger_db import LedgerWriter
from snapshots.mark import Roots
from snapshots.mark_child import Marked, MarkPlan, mark_here
from snapshots.restore import restore_tree
from snapshots.schema_db import LIVE
from snapshots.tree import Node, TreeView
from staging.changes import Attributes, Change, Chunk, Content, ContentRef, Create, Kind, Rename, Unlink, Write
from staging.chunk_format import ChunkKind, pack_chunk
from staging.protocol import PeerRefused
from tests.snapshots.collect_rig import HOUR, CollectRig, roots_of
from tests.snapshots.test_delta import edited, text

pytestmark = pytest.mark.in_memory

PLAIN = Attributes(0o644, 0, 0, 0)
NAMES = [b"a", b"b", b"c"]
KEEP_LITTLE = JournalPolicy(keep_ns=24 * HOUR * NANOSECONDS, max_bytes=1)
NO_MARGIN = Margins(pin_ns=0, condemned_ns=0, trash_ns=0)
STEPS = 60
WORDS = 4  # contents that replace each other; more follow them that do not
CONTENTS = WORDS + 3

Tree = dict[bytes, bytes]


class Rig(CollectRig):
    """A share with anchors close together, so that instants can be read and its journal trimmed."""

    def _open(self) -> None:
        self.limits = AnchorLimits(changes=5)
        super()._open()


class World:
    """The share, its model, and what is under way."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        self.folder = folder
        self.rig = Rig(folder / "store", margins=self.chance.choice([Margins(), NO_MARGIN]))
        self.live: Tree = {}
        self.trees: dict[int, Tree] = {0: {}}
        self.kept: dict[int, int] = {}  # sequence by snapshot
        self.exports: list[Iterator[None]] = []
        self.round: Iterator[object] | None = None
        self.reports: list[CollectReport] = []
        self.is_marking = False
        self.depth = self.restored = self.exported = 0
        self.contents = [text(12_000, seed)]
        for number in range(WORDS - 1):
            self.contents.append(edited(self.contents[-1], number))
        self.contents += [self.chance.randbytes(size) for size in (9_000, 30_000, 120_000)]
        self.refs: dict[int, ContentRef] = {}

    # -- the branch -----------------------------------------------------------------------------------------------

    def send(self, change: Change, after: Tree, paths: list[bytes]) -> None:
        self.rig.send(paths, [change])
        self.live = after
        self.trees[self.rig.journal.position.sequence] = after

    def put_word(self, number: int) -> ContentRef:
        """Put a text that replaces the one before it, as an agent says: it becomes a delta."""
        before = pack_chunk(ChunkKind.DATA, self.contents[number - 1]).digest if number else None
        chunk = pack_chunk(ChunkKind.DATA, self.contents[number], None, *([before] if before else []))
        self.rig.store.put("branch", [chunk])
        return Chunk(chunk.digest, len(self.contents[number]))

    def put(self, number: int = -1) -> None:
        number = self.chance.randrange(CONTENTS) if number < 0 else number
        self.refs[number] = self.put_word(number) if number < WORDS else self.rig.put(self.contents[number])

    def name(self) -> None:
        """Name a content that may have been put long ago; refused, put it and name it once more."""
        path, number = self.chance.choice(NAMES), self.chance.randrange(CONTENTS)
        for refused in (False, True):
            if refused or number not in self.refs:
                self.put(number)
            content = self.refs[number]
            change = Content(0, content, PLAIN) if path in self.live else Create(0, Kind.FILE, PLAIN, content)
            with suppress(PeerRefused):
                return self.send(change, {**self.live, path: self.contents[number]}, [path])
        raise AssertionError("a content that was just put is refused")

    def write(self) -> None:
        path, place = self.chance.choice(NAMES), self.chance.randrange(9_000)
        if path in self.live:
            before = self.live[path]
            data = b"written %d" % self.chance.randrange(5)
            self.send(Write(0, place, data), {**self.live, path: before[:place] + data + before[place + len(data) :]}, [path])

    def unlink(self) -> None:
        path = self.chance.choice(NAMES)
        if path in self.live:
            self.send(Unlink(0), {other: data for other, data in self.live.items() if other != path}, [path])

    def rename(self) -> None:
        one, other = self.chance.sample(NAMES, 2)
        if one in self.live:
            rest = {path: data for path, data in self.live.items() if path not in (one, other)}
            self.send(Rename(0, 1), {**rest, other: self.live[one]}, [one, other])

    # -- snapshots and prune --------------------------------------------------------------------------------------

    def fold(self) -> None:
        self.rig.fold.fold(self.chance.choice([1, 3, 100]))

    def snapshot(self) -> None:
        row = self.rig.snapshot()
        self.kept[row.id] = row.sequence

    def drop(self) -> None:
        if self.kept:
            row = self.chance.choice(sorted(self.kept))
            self.rig.fold.order(lambda number, _: SnapshotDropped(number, row))
            del self.kept[row]

    def seal(self) -> None:
        self.rig.fold.fold_all()
        self.rig.sealer.seal(self.chance.random() < 0.4)

    def sweep(self) -> None:
        self.rig.fold.sweep()

    def trim(self) -> None:
        self.rig.instants.trim(KEEP_LITTLE)

    def prune(self) -> None:
        """All of it in a row, as a night does it; single steps alone seldom come to the point where something may go."""
        for _ in range(self.chance.randrange(4)):
            self.drop()
        self.rig.test_clock.pass_(25 * HOUR)
        self.write()
        self.snapshot()
        self.seal()
        while self.rig.fold.sweep():
            pass
        self.trim()

    # -- readers --------------------------------------------------------------------------------------------------

    def moment(self) -> tuple[str, Tree]:
        kind = self.chance.randrange(3)
        if kind == 0 and self.kept:
            row = self.chance.choice(sorted(self.kept))
            return str(row), self.trees[self.kept[row]]
        window = self.rig.instants.window()
        if kind == 1 and window.first <= window.last:
            sequence = self.chance.randint(window.first, window.last)
            return f"seq:{sequence}", self.trees[sequence]
        self.rig.fold.fold_all()
        return "", dict(self.live)

    def restore(self) -> None:
        """Restore with other steps between two files; what comes back is its moment, whatever was done meanwhile."""
        if self.depth > 1:
            return
        moment, expected = self.moment()
        target = self.folder / f"restored {self.restored}"
        self.restored += 1
        with self.rig.instants.leased(self.rig.instants.resolve(moment)) as view:
            self.depth += 1
            outcome = restore_tree(view, ROOT, target, progress=lambda *_: self.some_steps(2))
            self.depth -= 1
        assert not outcome.not_applied, outcome.not_applied
        assert {path.name.encode(): path.read_bytes() for path in target.iterdir()} == expected, moment

    def begin_export(self) -> None:
        moment, expected = self.moment()
        self.exports.append(self.export(moment, expected))
        next(self.exports[-1])

    def export(self, moment: str, expected: Tree) -> Iterator[None]:
        """Read a moment chunk by chunk, over many steps."""
        with self.rig.instants.leased(self.rig.instants.resolve(moment)) as view:
            yield
            found: Tree = {}
            for path, node in list(view.walk(ROOT)):
                if node.kind is Kind.FILE:
                    found[path] = yield from read_slowly(view, node)
            assert found == expected, moment
        self.exported += 1

    def export_on(self) -> None:
        for export in list(self.exports):
            if next(export, self) is self:
                self.exports.remove(export)

    def end_exports(self) -> None:
        while self.exports:
            self.export_on()

    # -- collect --------------------------------------------------------------------------------------------------

    def begin_round(self) -> None:
        """Begin a round and mark, with other steps while the mark walks."""
        if self.round is not None or self.is_marking:
            return
        self.rig.test_clock.pass_(self.chance.choice([0, 30, 80]) * HOUR)

        def marking(plan: MarkPlan, stopping: Callable[[], bool], report: Callable[[int], None]) -> Marked:
            return mark_here(plan, lambda seen: self.some_steps(1))

        place = self.rig.place()
        round_ = Round(self.rig.store.parts, CollectPlace(place.folder, place.salt, marking), self.rig.margins)
        self.depth, self.is_marking = self.depth + 1, True
        round_.begin(lambda: False)
        round_.mark(roots_of(self.rig), lambda: False, lambda seen: None)
        self.depth, self.is_marking = self.depth - 1, False
        self.round = self.rest_of(round_)

    def rest_of(self, round_: Round) -> Iterator[object]:
        try:
            yield from round_.steps()
            self.reports.append(round_.end())
        except RunFenced:
            return
        finally:
            self.rig.store.parts.touched.hold(False)

    def one_batch(self) -> None:
        if self.round is not None and next(self.round, self) is self:
            self.round = None

    def all_batches(self) -> None:
        while self.round is not None:
            self.one_batch()

    def whole_rounds(self) -> None:
        for _ in range(self.chance.randint(1, 3)):
            self.begin_round()
            self.all_batches()

    # -- restarts and losses --------------------------------------------------------------------------------------

    def restart(self, lose: str = "") -> None:
        if self.depth:
            return
        self.end_exports()
        if self.round is not None:
            self.round.close()  # type: ignore[attr-defined]
            self.round = None
        self.rig.close()
        for path in (self.folder / "store").glob(lose) if lose else ():
            path.unlink()
        self.rig._open()

    def lose_catalogue(self) -> None:
        self.restart("share.db*")

    def lose_index(self) -> None:
        self.restart("index.db*")

    # -- playing --------------------------------------------------------------------------------------------------

    def some_steps(self, most: int) -> None:
        for _ in range(self.chance.randint(0, most)):
            self.step()

    def step(self) -> None:
        steps: list[tuple[Callable[[], None], int]] = [
            (self.name, 5), (self.put, 2), (self.write, 4), (self.unlink, 2), (self.rename, 2), (self.fold, 3),
            (self.snapshot, 2), (self.drop, 3), (self.seal, 2), (self.sweep, 2), (self.trim, 1), (self.prune, 3),
            (self.restore, 1), (self.begin_export, 1), (self.export_on, 6),
            (self.begin_round, 3), (self.one_batch, 6), (self.all_batches, 2), (self.whole_rounds, 3),
            (self.restart, 1), (self.lose_catalogue, 1), (self.lose_index, 1),
        ]  # fmt: skip
        self.chance.choices([step for step, _ in steps], [weight for _, weight in steps])[0]()

    def play(self) -> None:
        for _ in range(STEPS):
            self.step()
        self.end_exports()
        self.all_batches()
        self.check()
        self.lose_catalogue()
        self.check()
        self.lose_index()
        self.check()
        self.rig.close()

    def check(self) -> None:
        """Everything that is kept can be read: the live state, each snapshot, each instant of the window."""
        rig = self.rig
        assert tree_of(rig.live()) == self.live
        assert {row.id: row.sequence for row in rig.reader.ledger.snapshots()} == self.kept
        window = rig.instants.window()
        moments = {str(row): sequence for row, sequence in self.kept.items()}
        moments |= {f"seq:{sequence}": sequence for sequence in range(window.first, window.last + 1)}
        for moment, sequence in moments.items():
            with rig.instants.leased(rig.instants.resolve(moment)) as view:
                assert tree_of(view) == self.trees[sequence], moment
        assert rig.store.parts.lost == set()


def read_slowly(view: TreeView, node: Node) -> Generator[None, None, bytes]:
    """Read a file chunk by chunk."""
    data = bytearray()
    for extent in view.extents(node.content):
        yield
        data += bytes(extent.length) if extent.digest is None else bytes(view.chunk(Digest(extent.digest)))
    return bytes(data)


def tree_of(view: TreeView) -> Tree:
    return {path: view.read(node.content, 0, node.size_bytes) for path, node in view.walk(ROOT) if node.kind is Kind.FILE}


def small(patch: pytest.MonkeyPatch) -> None:
    """Let packs, segments and batches be so small that all of them come and go within a history."""
    patch.setattr(packs_module, "PACK_BYTES", 100_000)
    patch.setattr(journal_module, "SEGMENT_BYTES", 1_000)
    patch.setattr(garbage_db, "BATCH", 2)


def play(folder: Path, seed: int) -> World:
    here = folder / str(seed)
    (here / "store").mkdir(parents=True)
    world = World(here, seed)
    try:
        world.play()
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    shutil.rmtree(here)
    return world


def test_whatever_meets_in_one_store_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)
    worlds = [play(tmp_path, seed) for seed in range(20)]
    reports = [report for world in worlds for report in world.reports]
    assert sum(report.removed_chunks for report in reports) > 50
    assert sum(report.moved_chunks for report in reports) > 10 and sum(report.cleared_packs for report in reports) > 10
    assert sum(world.restored for world in worlds) > 20 and sum(world.exported for world in worlds) > 20


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
def test_whatever_meets_in_a_thousand_histories_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    small(monkeypatch)
    for seed in range(100 + part, 1100, 4):
        play(tmp_path, seed)


def no_leases(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LedgerWriter, "add_lease", lambda self, sequence: None)


def trim_what_is_not_sealed(patch: pytest.MonkeyPatch) -> None:
    trim_below = instants_module.trim_below
    patch.setattr(instants_module, "trim_below", lambda spans, anchors, sealed, *more: trim_below(spans, anchors, LIVE, *more))


def no_journal_as_root(patch: pytest.MonkeyPatch) -> None:
    now = roots_of
    patch.setattr(f"{__name__}.roots_of", lambda rig: replace(now(rig), journals=[]))


def roots_as_they_were_first(patch: pytest.MonkeyPatch) -> None:
    """Mutant `collect_lists_snapshots_once`."""
    first: dict[Path, Roots] = {}
    now = roots_of
    patch.setattr(f"{__name__}.roots_of", lambda rig: first.setdefault(rig.folder, now(rig)))


MUTANTS = [no_leases, trim_what_is_not_sealed, no_journal_as_root, roots_as_they_were_first]


@pytest.mark.long
@pytest.mark.parametrize("mutate", MUTANTS)
def test_each_safety_that_is_left_out_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutate: Callable[[pytest.MonkeyPatch], None]
) -> None:
    small(monkeypatch)
    mutate(monkeypatch)
    for seed in range(200):
        try:
            play(tmp_path, seed)
        except (AssertionError, StagekeeperError):
            return
    raise AssertionError("the histories do not tell the mutant from the product")
