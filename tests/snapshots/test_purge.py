"""Purging a path: afterwards every state that is kept is as if nothing had ever stood there, also after any loss."""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from core.relpath import RelPath
from snapshots.purging import ShareBusy, finish_purge, order_purge
from snapshots.schema_db import LIVE, ROOT_NODE
from snapshots.tree import NoSuchPath
from staging.changes import Attributes, Change, Content, Create, Kind, Link, Mirror, Rename, SetAttributes, Unlink, Write
from staging.chunk_format import PackedChunk
from tests.naive_tree import NaiveTree, Thing
from tests.share_rig import ShareRig, listing
from tests.snapshots.fold_machine import PATHS, FoldMachine, paths, sizes

PLAIN = Attributes(0o644, 0, 0, 7)


def without(tree: NaiveTree, path: bytes) -> None:
    """Remove a path from a model, if it stands there."""
    *folders, last = path.split(b"/")
    thing: Thing | None = tree.root
    for name in folders:
        thing = thing.children.get(name) if thing is not None else None
    if thing is not None:
        thing.children.pop(last, None)


def check_that_all_is_seen(rig: ShareRig) -> None:
    """Nothing is left in the tables that no kept state shows."""
    points = {row[0] for row in rig.reader.query("SELECT sequence FROM snapshot UNION SELECT sequence FROM anchor")}
    points.add(rig.fold.sequence)
    entries = rig.reader.query("SELECT parent, node, born, died FROM entry")
    shown = {point: reachable(point, entries) for point in points}
    for parent, node, born, died in entries:
        assert any(born <= point < died and parent in nodes for point, nodes in shown.items()), (parent, node, born)
    for node, born, died in rig.reader.query("SELECT node, born, died FROM state"):
        assert any(born <= point < died and node in nodes for point, nodes in shown.items()), (node, born)
    nameless = f"died={LIVE} AND node != 1 AND node NOT IN (SELECT node FROM entry WHERE died={LIVE})"
    assert rig.reader.query(f"SELECT node FROM state WHERE {nameless}") == []


def reachable(point: int, entries: list[tuple[int, ...]]) -> set[int]:
    """Return the nodes that stand anywhere below the root at a point."""
    found, waiting = {ROOT_NODE}, [ROOT_NODE]
    while waiting:
        folder = waiting.pop()
        below = {node for parent, node, born, died in entries if parent == folder and born <= point < died} - found
        found |= below
        waiting += below
    return found


class PurgeMachine(FoldMachine):
    """Random histories with purges, seals and lost catalogues among the changes."""

    @precondition(lambda self: not self.pending)
    @rule(path=paths)
    def purge(self, path: int) -> None:
        order_purge(self.rig.fold, RelPath(PATHS[path]), 5)
        for tree in (self.model, *self.taken.values()):
            without(tree, PATHS[path])
        check_that_all_is_seen(self.rig)

    @precondition(lambda self: not self.pending)
    @rule()
    def seal(self) -> None:
        self.rig.sealer.seal()

    @precondition(lambda self: not self.pending)
    @rule()
    def finish(self) -> None:
        finish_purge(self.rig.journal, self.rig.fold, self.rig.reader, self.rig.sealer)

    @precondition(lambda self: not self.pending)
    @rule()
    def lose_catalogue(self) -> None:
        self.rig.lose_catalogue()
        self.compare()


PurgeMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestPurgeAgainstModel = PurgeMachine.TestCase


FEW = [b"a", b"b", b"d", b"d/a", b"d/b", b"e", b"e/a"]
few = st.sampled_from(range(len(FEW)))
dense_changes = st.one_of(
    st.builds(lambda path, folder: Create(path, Kind.FOLDER if folder else Kind.FILE, PLAIN), few, st.booleans()),
    st.builds(Link, few, few),
    st.builds(lambda path, target: Rename(path, target), few, few),
    st.builds(Unlink, few),
    st.builds(lambda path: Rename(2, path), few),
    st.builds(lambda path, mtime: SetAttributes(path, Attributes(0o644, 0, 0, mtime)), few, st.integers(1, 9)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(st.lists(st.tuples(dense_changes, st.integers(0, 2)), min_size=3, max_size=20), st.lists(few, min_size=1, max_size=2))
def test_a_purge_leaves_what_the_naive_model_leaves(history: list[tuple[Change, int]], purged: list[int]) -> None:
    begun: list[Change] = [Create(0, Kind.FILE, PLAIN), Create(2, Kind.FOLDER, PLAIN), Create(5, Kind.FOLDER, PLAIN), Link(3, 0)]
    with tempfile.TemporaryDirectory() as folder:
        rig, model = ShareRig(Path(folder)), NaiveTree({})
        taken: dict[int, NaiveTree] = {}
        for change, what in [*((each, 1) for each in begun), *history]:
            rig.send(FEW, [change])
            model.apply(change, FEW)
            if what:
                taken[rig.snapshot().sequence] = model.copy()
            if what == 2:
                rig.live()
                rig.sealer.seal()
        for path in purged:
            order_purge(rig.fold, RelPath(FEW[path]), 5)
            for tree in (model, *taken.values()):
                without(tree, FEW[path])
        for _ in range(2):
            assert listing(rig.live()) == model.listing()
            for sequence, tree in taken.items():
                assert listing(rig.reader.view(sequence)) == tree.listing()
                counted = {(row.files, row.logical_bytes) for row in rig.reader.ledger.snapshots() if row.sequence == sequence}
                assert counted == {sizes(tree)}
            check_that_all_is_seen(rig)
            files = {id(thing): thing for thing in things(model.root) if thing.kind is not Kind.FOLDER}
            assert rig.fold.totals == (len(files), 0)
            rig.sealer.seal()
            rig.lose_catalogue()
        rig.close()


def things(root: Thing) -> Iterator[Thing]:
    """Yield everything below a folder, hard links each time."""
    for child in root.children.values():
        yield child
        yield from things(child)


@pytest.fixture
def rig(tmp_path: Path) -> ShareRig:
    return ShareRig(tmp_path)


def lay(rig: ShareRig) -> dict[bytes, bytes]:
    """Lay a secret that moves, is linked and is changed, and take snapshots on the way; return contents by where they stood."""
    names = [b"d", b"d/secret", b"plain", b"moved", b"twin"]
    old, new, plain = (random.Random(seed).randbytes(3000) for seed in (1, 2, 3))
    secret, later, other = rig.put(old), rig.put(new), rig.put(plain)
    made: list[Change] = [
        Mirror(True), Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FILE, PLAIN, secret), Create(2, Kind.FILE, PLAIN, other),
        Mirror(False),
    ]  # fmt: skip
    rig.send(names, made)
    rig.snapshot("one")
    rig.send(names, [Content(1, later), Link(4, 1)])
    rig.snapshot("two")
    rig.sealer.seal()
    return {b"old": old, b"new": new, b"plain": plain}


def test_a_file_keeps_what_it_was_where_another_name_stood(rig: ShareRig) -> None:
    contents = lay(rig)
    done = order_purge(rig.fold, RelPath(b"d/secret"), 5)
    assert (done.names, done.versions, done.files) == (1, 1, 0)
    one, two = rig.reader.ledger.snapshots()
    assert set(listing(rig.reader.view(one.sequence))) == {b"", b"d", b"plain"}
    assert listing(rig.reader.view(two.sequence))[b"twin"][2] == contents[b"new"]
    assert set(listing(rig.live())) == {b"", b"d", b"plain", b"twin"}


def test_what_stood_elsewhere_before_stays_there(rig: ShareRig) -> None:
    names = [b"safe", b"d", b"d/moved"]
    rig.send(names, [Create(0, Kind.FILE, PLAIN, rig.put(b"data")), Create(1, Kind.FOLDER, PLAIN)])
    before = rig.snapshot().sequence
    rig.send(names, [Rename(0, 2)])
    behind = rig.snapshot().sequence
    done = order_purge(rig.fold, RelPath(b"d"), 5)
    assert (done.files, done.logical_bytes) == (1, 4)
    assert set(listing(rig.reader.view(before))) == {b"", b"safe"}
    assert set(listing(rig.reader.view(behind))) == set(listing(rig.live())) == {b""}
    assert rig.fold.totals == (0, 0)
    rig.send([b"d"], [Create(0, Kind.FILE, PLAIN, rig.put(b"again"))])
    assert listing(rig.live())[b"d"][2] == b"again", "what the branch sends anew is taken"


@pytest.mark.parametrize("purged", [b"old", b"new"])
def test_a_folder_keeps_what_was_in_it_only_while_it_stood_elsewhere(rig: ShareRig, purged: bytes) -> None:
    names = [b"old", b"old/f", b"new", b"new/f"]
    rig.send(names, [Create(0, Kind.FOLDER, PLAIN), Create(1, Kind.FILE, PLAIN, rig.put(b"one"))])
    first = rig.snapshot().sequence
    rig.send(names, [Rename(0, 2)])
    rig.send(names, [Content(3, rig.put(b"two!"))])
    second = rig.snapshot().sequence
    order_purge(rig.fold, RelPath(purged), 5)
    for _ in range(2):
        check_that_all_is_seen(rig)
        left = {"first": set(listing(rig.reader.view(first))), "second": set(listing(rig.reader.view(second)))}
        assert left["first"] == ({b""} if purged == b"old" else {b"", b"old", b"old/f"})
        assert left["second"] == set(listing(rig.live())) == ({b"", b"new", b"new/f"} if purged == b"old" else {b""})
        assert rig.fold.totals == ((1, 4) if purged == b"old" else (0, 0))
        assert len(rig.reader.query("SELECT 1 FROM state WHERE node != 1")) == 2, "the folder and one version of the file"
        rig.sealer.seal()
        rig.lose_catalogue()


def test_no_seal_no_segment_and_no_rebuild_brings_it_back(rig: ShareRig) -> None:
    lay(rig)
    rig.send([b"d/secret"], [Write(0, 0, b"a secret in a write")])
    order_purge(rig.fold, RelPath(b"d/secret"), 5)
    assert rig.reader.ledger.seals() == []
    assert finish_purge(rig.journal, rig.fold, rig.reader, rig.sealer)
    (seal,) = rig.reader.ledger.seals()
    assert seal.full
    assert not [path for path in rig.folder.glob("journal/*.skj") if b"secret" in path.read_bytes()]
    shown = listing(rig.live())
    rig.lose_catalogue()
    assert listing(rig.live()) == shown
    for row in rig.reader.ledger.snapshots():
        with pytest.raises(NoSuchPath):
            rig.reader.view(row.sequence).node_at(RelPath(b"d/secret"))
    rows = rig.reader.query("SELECT name FROM entry")
    assert (b"secret",) not in rows


def test_changes_behind_a_purge_do_not_keep_what_was_before_it(rig: ShareRig) -> None:
    lay(rig)
    rig.send([b"d/secret"], [Write(0, 0, b"a secret in a write")])
    order_purge(rig.fold, RelPath(b"d/secret"), 5)
    rig.send([b"plain"], [Write(0, 0, b"x")])  # before the keeper comes
    assert finish_purge(rig.journal, rig.fold, rig.reader, rig.sealer)
    assert not [path for path in rig.folder.glob("journal/*.skj") if b"a secret" in path.read_bytes()]
    shown = listing(rig.live())
    rig.lose_catalogue()
    assert listing(rig.live()) == shown


def test_the_last_frame_before_a_purge_may_still_come_again(rig: ShareRig) -> None:
    lay(rig)
    sealed = rig.seal([b"d/secret"], [Write(0, 0, b"a secret in a write")])
    rig.receiver.frames("session", sealed)
    order_purge(rig.fold, RelPath(b"d/secret"), 5)
    assert finish_purge(rig.journal, rig.fold, rig.reader, rig.sealer)
    rig.reopen()
    before = rig.journal.position
    assert rig.receiver.frames("session", sealed).durable_sequence == before.sequence == rig.journal.position.sequence
    rig.send([b"plain"], [Write(0, 0, b"x")])
    assert rig.journal.position_at(before.sequence) == before


def test_a_catalogue_lost_before_the_keeper_came_is_made_again_without_it(rig: ShareRig) -> None:
    lay(rig)
    rig.live()
    sealed = rig.sealer.seal()
    assert sealed is not None and sealed.sequence == rig.journal.position.sequence, "the very change behind which it is purged"
    order_purge(rig.fold, RelPath(b"d/secret"), 5)
    rig.lose_catalogue()
    rig.fold.fold()  # as the fold does when it starts
    assert b"d/secret" not in listing(rig.live())
    rig.snapshot()
    assert finish_purge(rig.journal, rig.fold, rig.reader, rig.sealer)
    rig.lose_catalogue()
    assert b"d/secret" not in listing(rig.live())


def test_a_seal_that_a_purge_overtook_is_not_named(rig: ShareRig, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(rig)
    rig.send([b"plain"], [Write(0, 0, b"x")])
    rig.snapshot()
    rig.live()
    put_own = rig.store.put_own

    def purged_meanwhile(domain: str, chunks: list[PackedChunk]) -> None:
        monkeypatch.undo()
        put_own(domain, chunks)
        order_purge(rig.fold, RelPath(b"d/secret"), 5)

    monkeypatch.setattr(rig.store, "put_own", purged_meanwhile)
    assert rig.sealer.seal() is None
    assert rig.reader.ledger.seals() == []
    assert finish_purge(rig.journal, rig.fold, rig.reader, rig.sealer)
    rig.lose_catalogue()
    assert b"d/secret" not in listing(rig.live())


def test_instants_before_a_purge_are_gone(rig: ShareRig) -> None:
    lay(rig)
    order_purge(rig.fold, RelPath(b"d/secret"), 5)
    purged = rig.reader.ledger.purged()
    assert purged == rig.fold.sequence
    assert [sequence for sequence, _ in rig.reader.ledger.anchors()] == [purged]
    assert rig.reader.ledger.replay_start(purged, purged) is not None


def test_a_purge_waits_for_the_fold(rig: ShareRig, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(rig)
    monkeypatch.setattr(rig.fold, "fold_all", lambda: rig.send([b"new"], [Create(0, Kind.FILE, PLAIN)]))
    with pytest.raises(ShareBusy):
        order_purge(rig.fold, RelPath(b"d/secret"), 5)
    assert rig.reader.ledger.purged() == 0


def test_unlinked_long_ago_and_kept_by_nothing_goes_too(rig: ShareRig) -> None:
    lay(rig)
    rig.send([b"d/secret", b"twin"], [Unlink(0), Unlink(1)])
    order_purge(rig.fold, RelPath(b"d/secret"), 5)
    check_that_all_is_seen(rig)
    assert (b"secret",) not in rig.reader.query("SELECT name FROM entry")
