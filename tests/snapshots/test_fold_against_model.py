"""Random changes through wire, journal and fold, against a naive model: every snapshot, path, content and attribute."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from staging.changes import (
    Attributes,
    Barrier,
    Change,
    Content,
    Create,
    Group,
    Kind,
    Link,
    Mirror,
    Rename,
    SetAttributes,
    Truncate,
    Unlink,
    Write,
)
from tests.naive_tree import NaiveTree
from tests.share_rig import ShareRig, listing

NAMES = [b"a", b"b", b"\xff\n"]
PATHS = [b"/".join(parts) for parts in ([x] for x in NAMES)]
PATHS += [x + b"/" + y for x in NAMES for y in NAMES] + [b"a/b/" + z for z in NAMES]

paths = st.sampled_from(range(len(PATHS)))
attributes = st.builds(
    Attributes,
    mode=st.sampled_from([0o644, 0o755, 0o4711]),
    uid=st.sampled_from([0, 1000, 2**32 - 1]),
    gid=st.just(0),
    mtime_ns=st.sampled_from([0, -1, 1_700_000_000_123_456_789]),
    user=st.sampled_from([b"", b"root"]),
    group=st.just(b"g"),
    xattrs=st.sampled_from([(), ((b"user.k", b"\0\xff"),)]),
)
offsets = st.one_of(st.integers(0, 300), st.integers(60_000, 70_000), st.integers(250_000, 400_000))
blobs = st.one_of(
    st.binary(min_size=1, max_size=200),
    st.builds(lambda byte, size: bytes([byte]) * size, st.integers(0, 3), st.integers(1, 150_000)),
)
CONTENTS = [b"", b"small", bytes(range(256)) * 300, bytes(200_000), b"x" * 70_000 + bytes(100_000) + b"y" * 10]


def sizes(model: NaiveTree) -> tuple[int, int]:
    """Return the files of a model, hard links once, and their lengths added up."""
    files = [entry for entry in model.listing().items() if entry[1][0] is not Kind.FOLDER and entry[0] == entry[1][4]]
    return len(files), sum(len(entry[1][2]) for entry in files)  # type: ignore[arg-type]


class FoldMachine(RuleBasedStateMachine):
    """Drives a share and the model side by side."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.rig = ShareRig(self.folder)
        self.refs = [self.rig.put(data) for data in CONTENTS]
        by_digest = {ref.digest: data for ref, data in zip(self.refs, CONTENTS, strict=True) if ref}
        self.model = NaiveTree(by_digest)
        self.taken: dict[int, NaiveTree] = {}
        self.pending: list[Change] = []

    def teardown(self) -> None:
        if hasattr(self, "rig"):
            self.compare()
            self.rig.close()
            shutil.rmtree(self.folder)

    def change(self, change: Change) -> None:
        self.pending.append(change)
        self.model.apply(change, PATHS)

    @rule(path=paths, attributes=attributes, content=st.integers(0, len(CONTENTS) - 1))
    def create_file(self, path: int, attributes: Attributes, content: int) -> None:
        self.change(Create(path, Kind.FILE, attributes, self.refs[content]))

    @rule(path=paths, attributes=attributes)
    def create_folder(self, path: int, attributes: Attributes) -> None:
        self.change(Create(path, Kind.FOLDER, attributes))

    @rule(path=paths, attributes=attributes, kind=st.sampled_from([Kind.SYMLINK, Kind.FIFO]))
    def create_special(self, path: int, attributes: Attributes, kind: Kind) -> None:
        self.change(Create(path, kind, attributes, target=b"../x\xfe" if kind is Kind.SYMLINK else b""))

    @rule(path=paths, offset=offsets, data=blobs)
    def write(self, path: int, offset: int, data: bytes) -> None:
        self.change(Write(path, offset, data))

    @rule(path=paths, size=offsets)
    def truncate(self, path: int, size: int) -> None:
        self.change(Truncate(path, size))

    @rule(path=paths, content=st.integers(0, len(CONTENTS) - 1), attributes=st.none() | attributes)
    def set_content(self, path: int, content: int, attributes: Attributes | None) -> None:
        self.change(Content(path, self.refs[content], attributes))

    @rule(path=paths, other=paths, exchange=st.booleans())
    def rename(self, path: int, other: int, exchange: bool) -> None:
        self.change(Rename(path, other, exchange))

    @rule(path=paths, existing=paths)
    def link(self, path: int, existing: int) -> None:
        self.change(Link(path, existing))

    @rule(path=paths)
    def unlink(self, path: int) -> None:
        self.change(Unlink(path))

    @rule(path=paths, attributes=attributes)
    def set_attributes(self, path: int, attributes: Attributes) -> None:
        self.change(SetAttributes(path, attributes))

    @rule(first=paths, second=paths, data=blobs, offset=offsets, attributes=attributes)
    def group(self, first: int, second: int, data: bytes, offset: int, attributes: Attributes) -> None:
        self.change(Group((Write(first, offset, data), Rename(first, second), SetAttributes(second, attributes))))

    @precondition(lambda self: self.pending)
    @rule()
    def send(self) -> None:
        self.rig.send(PATHS, self.pending)
        self.pending = []

    @rule()
    def barrier(self) -> None:
        self.change(Barrier("mark"))
        sequence = self.rig.journal.position.sequence + len(self.pending)
        self.taken[sequence] = self.model.copy()

    @precondition(lambda self: not self.pending)
    @rule()
    def snapshot(self) -> None:
        row = self.rig.snapshot("mine")
        assert row.sequence == self.rig.journal.position.sequence
        self.taken[row.sequence] = self.model.copy()

    @rule(limit=st.sampled_from([1, 3, 1000]))
    def fold(self, limit: int) -> None:
        self.rig.fold.fold(limit)

    @rule()
    def restart(self) -> None:
        self.rig.reopen()

    @precondition(lambda self: not self.pending)
    @rule()
    def check(self) -> None:
        self.compare()

    def compare(self) -> None:
        if self.pending:
            self.rig.send(PATHS, self.pending)
            self.pending = []
        assert listing(self.rig.live()) == self.model.listing()
        shown = {row.sequence: (row.files, row.logical_bytes) for row in self.rig.reader.ledger.snapshots()}
        assert shown == {sequence: sizes(model) for sequence, model in self.taken.items()}
        for sequence, model in self.taken.items():
            assert listing(self.rig.reader.view(sequence)) == model.listing(), sequence
        assert self.rig.fold.totals == sizes(self.model)

    @invariant()
    def state_tells_misfits(self) -> None:
        if not hasattr(self, "rig") or self.pending or self.rig.fold.sequence < self.rig.journal.durable.sequence:
            return
        count = self.rig.reader.query("SELECT count(*) FROM problem")[0][0]
        assert count == self.model.misfits


FoldMachine.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
TestFoldAgainstModel = FoldMachine.TestCase


def test_a_mirror_over_an_existing_tree_leaves_exactly_what_it_states(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    plain = Attributes(0o644, 0, 0, 7)
    old, new = rig.put(b"old"), rig.put(b"new content")
    names = [b"d", b"d/keep", b"d/gone", b"f", b"link"]
    first: list[Change] = [
        Mirror(True),
        Create(0, Kind.FOLDER, plain),
        Create(1, Kind.FILE, plain, old),
        Create(2, Kind.FILE, plain, old),
        Create(3, Kind.FILE, plain, old),
        Link(4, 3),
        Mirror(False),
    ]
    rig.send(names, first)
    before = rig.snapshot()
    kept_node = rig.live().node_at(b"d/keep").id  # type: ignore[arg-type]
    again: list[Change] = [
        Mirror(True),
        Create(0, Kind.FOLDER, plain),
        Create(1, Kind.FILE, plain, new),
        Create(3, Kind.FOLDER, plain),
        Mirror(False),
    ]
    rig.send(names, again)
    after = listing(rig.live())
    assert set(after) == {b"", b"d", b"d/keep", b"f"}
    assert after[b"d/keep"][2] == b"new content"
    assert after[b"f"][0] is Kind.FOLDER
    assert rig.live().node_at(b"d/keep").id == kept_node  # type: ignore[arg-type]
    assert set(listing(rig.reader.view(before.sequence))) == {b"", *names}
    assert rig.fold.state == ("good", "")
    rig.close()


def test_a_link_to_a_file_that_a_snapshot_shows(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"a", b"b"], [Create(0, Kind.FILE, Attributes(0o644, 0, 0, 0)), Barrier(""), Link(1, 0)])
    assert set(listing(rig.live())) == {b"", b"a", b"b"}
    assert listing(rig.reader.view(2)).keys() == {b"", b"a"}
    rig.send([b"a", b"b"], [Unlink(0)])
    assert set(listing(rig.live())) == {b"", b"b"}
    rig.close()


PLAIN = Attributes(0o644, 0, 0, 7)


def mirrored(rig: ShareRig, names: list[bytes], changes: list[Change]) -> dict[bytes, tuple[object, ...]]:
    rig.send(names, [Mirror(True), *changes, Mirror(False)])
    return listing(rig.live())


def test_a_mirror_that_states_two_names_of_one_node_apart_makes_two_nodes(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    one, two = rig.put(b"one"), rig.put(b"two!")
    mirrored(rig, [b"a", b"b"], [Create(0, Kind.FILE, PLAIN, one), Link(1, 0)])
    found = mirrored(rig, [b"a", b"b"], [Create(0, Kind.FILE, PLAIN, one), Create(1, Kind.FILE, PLAIN, two)])
    assert (found[b"a"][2], found[b"b"][2]) == (b"one", b"two!")
    found = mirrored(rig, [b"a", b"b"], [Create(0, Kind.FILE, PLAIN, one), Link(1, 0)])
    assert found[b"b"][4] == b"a"
    rig.close()


def test_a_mirror_keeps_what_it_renamed_and_a_second_begin_starts_over(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    mirrored(rig, [b"old"], [Create(0, Kind.FILE, PLAIN)])
    assert set(mirrored(rig, [b"a", b"b"], [Create(0, Kind.FILE, PLAIN), Rename(0, 1)])) == {b"", b"b"}
    begun: list[Change] = [Create(0, Kind.FILE, PLAIN), Create(1, Kind.FILE, PLAIN), Mirror(True)]
    assert set(mirrored(rig, [b"a", b"b"], [*begun, Create(0, Kind.FILE, PLAIN)])) == {b"", b"a"}
    rig.close()


def test_an_undone_group_leaves_no_wrong_owner_behind(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    alice, bob = (Attributes(0o644, 0, 0, 0, name, name) for name in (b"alice", b"bob"))
    rig.send([b"a"], [Create(0, Kind.FILE, PLAIN), Group((SetAttributes(0, alice), SetAttributes(0, alice), Link(0, 0)))])
    rig.send([b"a"], [SetAttributes(0, bob)])
    assert listing(rig.live())[b"a"][1] == bob
    rig.close()


def test_huge_files_of_holes_cost_nothing(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"a", b"b"], [Create(n, Kind.FILE, PLAIN) for n in (0, 1)])
    rig.send([b"a", b"b"], [Truncate(0, 2**62), Truncate(1, 2**62), Write(0, 2**61, b"in the middle")])
    view = rig.live()
    node = view.node_at(b"a")  # type: ignore[arg-type]
    assert node.size_bytes == 2**62 and view.read(node.content, 2**61 - 1, 15) == b"\0in the middle\0"
    assert rig.fold.totals == (2, 2**63)
    rig.close()
