"""Collect beside ingest, fold, snapshots, prune and restarts: steps in every order, judged by a model.

The model: a content that any row of a catalogue or any frame of the journal names can be read whole at every moment, whatever
was done in between. Two searches: all orders of two rounds against one branch that reuses an old content, and random
histories (hypothesis). Mutants of the product must be caught by them.
"""

import contextlib
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

import snapshots.packs as packs_module
from core.digest import Digest
from core.errors import StagekeeperError
from snapshots import garbage_db
from snapshots.collect import Round
from snapshots.garbage_db import RunFenced
from snapshots.index_db import ChunkIndex
from snapshots.mark import Marker, Roots
from snapshots.mark_child import MarkStopped
from snapshots.presence import Presence
from snapshots.touched import Touched
from staging.changes import Attributes, Content, ContentRef, Create, Kind, Unlink, Write
from staging.chunk_format import ChunkKind, PackedChunk
from staging.frame_format import unpack_frame
from staging.protocol import PeerRefused
from staging.recipe_format import read_pieces
from staging.references import simple_changes
from tests.share_rig import listing
from tests.snapshots.collect_rig import HOUR, CollectRig, roots_of

pytestmark = pytest.mark.in_memory

PLAIN = Attributes(0o644, 0, 0, 0)
OLD = random.Random(1).randbytes(150_000)  # two chunks and a node
DAY = 24 * HOUR


@dataclass
class World:
    """A share with one old content that nothing names, and rounds that are stepped by hand."""

    rig: CollectRig
    old: ContentRef
    contents: dict[bytes, bytes] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    steps: Iterator[Any] | None = None
    named: int = 0

    def check(self) -> None:
        """Everything named can be read, through journal and catalogue, by a reader that trusts nothing."""
        rig = self.rig
        for record in rig.journal.read(rig.journal.seek(0)):
            if record.header is not None:
                for content in contents_of(record):
                    read(rig, content)
        live = listing(rig.reader.view(rig.fold.sequence))
        for snapshot in rig.reader.ledger.snapshots():
            if snapshot.sequence <= rig.fold.sequence:
                listing(rig.reader.view(snapshot.sequence))
        for path, data in self.contents.items():
            if path in live:
                assert live[path][2] == data


def contents_of(record: Any) -> list[ContentRef]:
    frame = unpack_frame(record.payload, record.header)
    return [c.content for c in simple_changes(frame.changes) if isinstance(c, Create | Content) and c.content is not None]


def read(rig: CollectRig, content: ContentRef) -> bytes:
    return b"".join(
        bytes(piece.length) if piece.is_hole else bytes(rig.store.data(piece.digest))
        for piece in read_pieces(content, rig.store.node)
    )


def make_world(folder: Path) -> World:
    rig = CollectRig(folder)
    return World(rig, rig.put(OLD))


# Steps of the two sides; each side keeps its own order.


def name_it(world: World) -> None:
    """The branch names the old content; refused, it puts it and names it again."""
    world.named += 1
    path = b"f%d" % world.named
    change = [Create(0, Kind.FILE, PLAIN, world.old)]
    try:
        world.rig.send([path], change)
    except PeerRefused:
        return
    world.contents[path] = OLD


def ask_and_put(world: World) -> None:
    world.rig.put(OLD)


def fold(world: World) -> None:
    world.rig.fold.fold_all()


def write_inside(world: World) -> None:
    if world.contents:
        path = next(iter(world.contents))
        world.rig.send([path], [Write(0, 5, b"edited")])
        before = world.contents[path]
        world.contents[path] = before[:5] + b"edited" + before[11:]


def snapshot(world: World) -> None:
    world.rig.snapshot()


def restart(world: World) -> None:
    world.rig.reopen()
    world.rounds, world.steps = [], None


def begin(world: World) -> None:
    world.rig.test_clock.pass_(4 * DAY)
    world.rounds.append(world.rig.begin())


def mark(world: World) -> None:
    if world.rounds:
        world.rounds[-1].mark(roots_of(world.rig), lambda: False, lambda seen: None)
        world.steps = world.rounds[-1].steps()


def batches(world: World) -> None:
    if world.steps is not None:
        with contextlib.suppress(RunFenced):
            for _ in world.steps:
                pass
        world.steps = None
        world.rig.store.parts.touched.hold(False)


Step = Callable[[World], None]
ROUNDS: list[Step] = [begin, mark, batches, begin, mark, batches, begin, mark, batches]


def orders(branch: list[Step]) -> Iterator[list[Step]]:
    """Yield every order of a branch's steps within three rounds."""
    places = range(len(ROUNDS) + 1)
    for chosen in itertools.combinations_with_replacement(places, len(branch)):
        order = list(ROUNDS)
        for place, step in sorted(zip(chosen, branch, strict=True), key=lambda pair: -pair[0]):
            order.insert(place, step)
        merged: list[Step] = []
        for place in places:
            merged += [step for at, step in zip(chosen, branch, strict=True) if at == place]
            merged += ROUNDS[place : place + 1]
        yield merged


def explore(folder: Path, branch: list[Step]) -> int:
    explored = 0
    for order in orders(branch):
        explored += 1
        here = folder / str(explored)
        here.mkdir()
        world = make_world(here)
        for step in order:
            step(world)
            world.check()
        world.rig.fold.fold_all()
        world.check()
        world.rig.close()
    return explored


BRANCHES: dict[str, list[Step]] = {
    "name": [name_it, fold],
    "put-name": [ask_and_put, name_it, fold],
    "name-write": [name_it, write_inside, fold],
    "name-snapshot-restart": [name_it, restart, snapshot],
}


LONG = [pytest.param(name, marks=pytest.mark.long) for name in ("name-write", "name-snapshot-restart")]


@pytest.mark.parametrize("branch", ["name", "put-name", *LONG])
def test_every_order_of_three_rounds_and_a_branch_keeps_what_is_named(tmp_path: Path, branch: str) -> None:
    assert explore(tmp_path, BRANCHES[branch]) >= 55


def test_a_frame_is_never_taken_for_a_content_that_was_removed(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    for step in (*ROUNDS, name_it):
        step(world)
    assert world.contents == {}
    ask_and_put(world)
    name_it(world)
    assert len(world.contents) == 1
    world.check()


def caught(folder: Path, branch: list[Step]) -> bool:
    try:
        explore(folder, branch)
    except (AssertionError, StagekeeperError):
        return True
    return False


def test_roots_that_were_read_before_the_first_mark_only_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant `collect_lists_snapshots_once`."""
    first: dict[Path, Roots] = {}
    now = roots_of

    def once(rig: CollectRig) -> Roots:
        return first.setdefault(rig.folder, now(rig))

    monkeypatch.setattr("tests.snapshots.test_collect_interleavings.roots_of", once)
    monkeypatch.setattr(Touched, "among", lambda self, digests: set())
    assert caught(tmp_path, BRANCHES["put-name"])


def test_chunks_below_a_node_that_are_not_looked_at_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a recipe node that is stored counts as whole, though a false member of the filter kept it alone."""
    monkeypatch.setattr(Presence, "whole", lambda self, nodes: set(nodes))
    keep_nodes(monkeypatch)
    assert caught(tmp_path, BRANCHES["name"])


def test_a_node_that_is_kept_by_chance_alone_never_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_nodes(monkeypatch)
    assert explore(tmp_path, BRANCHES["name"]) == 55


def keep_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every mark take the old content's node for a member, as a filter may."""
    spread = Marker.spread_to_bases

    def with_a_false_member(self: Marker, old_packs: set[int]) -> None:
        rows = self._index.query("SELECT digest FROM chunk WHERE size < 500")
        self._marked.add([Digest(row[0]) for row in rows])
        spread(self, old_packs)

    monkeypatch.setattr(Marker, "spread_to_bases", with_a_false_member)


def test_visiting_nodes_by_the_filter_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a node that the filter takes for a member is not gone down from."""
    nodes = Marker._nodes

    def by_filter(self: Marker, wanted: set[Digest]) -> None:
        nodes(self, wanted - self._marked.among(list(wanted)))

    def all_ones(self: Marker, *_: object) -> None:
        nodes_of_all = [Digest(row[0]) for row in self._index.query("SELECT digest FROM chunk WHERE size < 500")]
        self._marked.add(nodes_of_all)

    walk = Marker.walk

    def walk_with_false_members(self: Marker, roots: Roots) -> None:
        all_ones(self)
        walk(self, roots)

    monkeypatch.setattr(Marker, "walk", walk_with_false_members)
    assert explore(tmp_path / "right", BRANCHES["name"]) == 55 if (tmp_path / "right").mkdir() is None else False
    monkeypatch.setattr(Marker, "_nodes", by_filter)
    (tmp_path / "mutant").mkdir()
    assert caught(tmp_path / "mutant", BRANCHES["put-name"])


def test_a_touched_set_that_is_skipped_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: what was told to be there while the mark ran is condemned all the same: a frame was taken, and it is missing."""
    world = make_world(tmp_path)
    monkeypatch.setattr(Touched, "among", lambda self, digests: set())
    begin(world)
    mark(world)
    name_it(world)
    batches(world)
    content = world.old
    assert content is not None and len(world.contents) == 1
    assert world.rig.store.missing("branch", [(ChunkKind.NODE, Digest(content.digest))]) != []
    monkeypatch.undo()
    (tmp_path / "right").mkdir()
    world = make_world(tmp_path / "right")
    for step in (begin, mark, name_it, batches):
        step(world)
    assert world.rig.store.missing("branch", [(ChunkKind.NODE, Digest(content.digest))]) == []


class Histories(RuleBasedStateMachine):
    """Random puts, frames, writes, unlinks, snapshots, folds, restarts and rounds, one step at a time."""

    folder: Path
    numbers = itertools.count()

    @initialize()
    def open(self) -> None:
        here = self.folder / str(next(self.numbers))
        here.mkdir()
        self.world = make_world(here)
        self.data = [random.Random(seed).randbytes(size) for seed, size in ((2, 20_000), (3, 120_000), (4, 200_000))]
        self.data.append(self.data[2][:100_000] + b"x" * 40 + self.data[2][100_040:])
        self.refs: dict[int, ContentRef] = {}
        self.models: dict[int, dict[bytes, bytes]] = {}
        self.live: dict[bytes, bytes] = {}
        self.all_rounds: list[Round] = []

    @rule(number=st.integers(0, 3))
    def put(self, number: int) -> None:
        self.refs[number] = self.world.rig.put(self.data[number])

    @rule(number=st.integers(0, 3), name=st.sampled_from([b"a", b"b"]))
    def name(self, number: int, name: bytes) -> None:
        if number not in self.refs:
            return
        ref = self.refs[number]
        change = Content(0, ref, PLAIN) if name in self.live else Create(0, Kind.FILE, PLAIN, ref)
        try:
            self.world.rig.send([name], [change])
        except PeerRefused:
            self.world.rig.put(self.data[number])
            self.world.rig.send([name], [change])
        self.live[name] = self.data[number]

    @rule(name=st.sampled_from([b"a", b"b"]), place=st.integers(0, 15_000))
    def write(self, name: bytes, place: int) -> None:
        if name in self.live:
            self.world.rig.send([name], [Write(0, place, b"written")])
            self.live[name] = self.live[name][:place] + b"written" + self.live[name][place + 7 :]

    @rule(name=st.sampled_from([b"a", b"b"]))
    def unlink(self, name: bytes) -> None:
        if name in self.live:
            self.world.rig.send([name], [Unlink(0)])
            del self.live[name]

    @rule()
    def fold(self) -> None:
        self.world.rig.fold.fold_all()

    @rule()
    def snapshot(self) -> None:
        row = self.world.rig.snapshot()
        self.models[row.sequence] = dict(self.live)

    @rule()
    def restart(self) -> None:
        restart(self.world)

    @rule(days=st.integers(1, 5))
    def time_passes(self, days: int) -> None:
        self.world.rig.test_clock.pass_(days * DAY)

    @precondition(lambda self: self.world.steps is None)
    @rule(days=st.integers(0, 4))
    def begin_and_mark(self, days: int) -> None:
        world = self.world
        world.rig.test_clock.pass_(days * DAY)
        world.rounds.append(world.rig.begin())
        self.all_rounds.append(world.rounds[-1])
        mark(world)

    @precondition(lambda self: self.world.steps is None)
    @rule(times=st.integers(1, 4))
    def whole_runs(self, times: int) -> None:
        for _ in range(times):
            self.begin_and_mark(4)
            batches(self.world)

    @rule()
    def one_batch(self) -> None:
        if self.world.steps is not None and next(self.world.steps, None) is None:
            batches(self.world)

    @rule()
    def all_batches(self) -> None:
        batches(self.world)

    @invariant()
    def everything_named_is_readable(self) -> None:
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            rig = self.world.rig
            live = {path: row[2] for path, row in listing(rig.live()).items() if path}
            assert live == self.live
            for sequence, model in self.models.items():
                shown = {path: row[2] for path, row in listing(rig.reader.view(sequence)).items() if path}
                assert shown == model
            rig.close()


@pytest.mark.parametrize("steps", [30])
def test_random_histories_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", 150_000)
    monkeypatch.setattr(garbage_db, "BATCH", 1)
    machine = type("Here", (Histories,), {"folder": tmp_path})
    run_state_machine_as_test(
        machine,
        settings=settings(max_examples=80, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)),
    )


def test_seeded_histories_remove_much_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps, chosen so that most histories come to remove, repack and empty the trash."""
    monkeypatch.setattr(packs_module, "PACK_BYTES", 150_000)
    monkeypatch.setattr(garbage_db, "BATCH", 1)
    reports = []
    for seed in range(40):
        chance = random.Random(seed)
        machine = type("Here", (Histories,), {"folder": tmp_path})()
        machine.open()
        steps: list[tuple[int, Callable[[], object]]] = [
            (3, lambda m=machine, c=chance: m.put(c.randrange(4))),
            (3, lambda m=machine, c=chance: m.name(c.randrange(4), c.choice([b"a", b"b"]))),
            (2, lambda m=machine, c=chance: m.write(c.choice([b"a", b"b"]), c.randrange(15_000))),
            (2, lambda m=machine, c=chance: m.unlink(c.choice([b"a", b"b"]))),
            (2, machine.fold),
            (1, machine.snapshot),
            (1, machine.restart),
            (1, lambda m=machine, c=chance: m.time_passes(c.randint(1, 5))),
            (3, lambda m=machine, c=chance: m.world.steps is None and m.begin_and_mark(c.randint(0, 4))),
            (6, machine.one_batch),
            (2, machine.all_batches),
            (2, lambda m=machine, c=chance: m.world.steps is None and m.whole_runs(c.randint(1, 3))),
        ]
        for _ in range(40):
            chance.choices([step for _, step in steps], [weight for weight, _ in steps])[0]()
            machine.everything_named_is_readable()
        machine.teardown()
        reports += [round_.report for round_ in machine.all_rounds]
    assert sum(report.removed_chunks for report in reports) > 100
    assert sum(report.moved_chunks for report in reports) > 10 and sum(report.cleared_packs for report in reports) > 20


def test_a_mark_begins_only_when_all_that_were_checking_references_have_left(tmp_path: Path) -> None:
    rig = CollectRig(tmp_path)
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    round_ = Round(rig.store.parts, rig.place(), rig.margins)
    with rig.store.gate(), pytest.raises(MarkStopped):
        round_.begin(stopping)
    assert asked == 3
    asked = 0
    round_.begin(stopping)
    with rig.store.gate():  # who comes later is not waited for
        assert asked == 0


@pytest.mark.parametrize("when", ["before the commit", "after the commit"])
def test_who_asks_while_a_batch_is_condemned_is_told_what_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    world = make_world(tmp_path)
    content = world.old
    assert content is not None
    key = (ChunkKind.NODE, Digest(content.digest))
    begin(world)
    mark(world)
    answers: list[bool] = []
    condemn = garbage_db.condemn

    def beside(index: ChunkIndex, run: int, digests: list[Digest], now_ns: int) -> int:
        if when == "before the commit":
            answers.append(world.rig.store.missing("branch", [key]) == [])
        done = condemn(index, run, digests, now_ns)
        if when == "after the commit":
            answers.append(world.rig.store.missing("branch", [key]) == [])
        return done

    monkeypatch.setattr(garbage_db, "condemn", beside)
    batches(world)
    assert answers == [when == "before the commit"]
    monkeypatch.undo()
    assert (world.rig.store.missing("branch", [key]) == []) is answers[0]


def test_a_fold_that_runs_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fold put before the mark began is named only by the transaction that it has not committed yet."""
    rig = CollectRig(tmp_path)
    rig.send([b"f"], [Create(0, Kind.FILE, PLAIN, rig.put(OLD)), Write(0, 5, b"edited")])
    keep = rig.store.put_own
    tried: list[bool] = []

    def in_the_middle(domain: str, chunks: list[PackedChunk]) -> None:
        keep(domain, chunks)
        round_ = Round(rig.store.parts, rig.place(), rig.margins)
        with pytest.raises(MarkStopped):
            round_.begin(lambda: True)
        tried.append(True)

    monkeypatch.setattr(rig.store, "put_own", in_the_middle)
    rig.fold.fold_all()
    assert tried == [True]
