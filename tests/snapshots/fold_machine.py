"""A share and a naive model driven side by side by random changes: the set-up of every test against the model."""

import random
import shutil

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
from tests.in_memory import make_folder
from tests.naive_tree import NaiveTree
from tests.share_rig import ShareRig, listing

PLAIN = Attributes(0o644, 0, 0, 7)
FOLDER = Attributes(0o755, 0, 0, 7)
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


def history(chance: random.Random, contents: list[object], count: int) -> list[Change]:
    """Return changes of all kinds, mirrors among them; many do not fit."""

    def one() -> Change:
        path, other = (chance.randrange(3 if chance.random() < 0.6 else len(PATHS)) for _ in range(2))  # mostly what is there
        content = chance.choice(contents)
        simple: list[Change] = [
            Create(path, Kind.FILE, PLAIN, content),  # type: ignore[arg-type]
            Create(path, Kind.FOLDER, FOLDER),
            Write(path, chance.randrange(100_000), chance.randbytes(50)),
            Truncate(path, chance.randrange(100_000)),
            Content(path, content),  # type: ignore[arg-type]
            Rename(path, other),
            Rename(path, other, exchange=True),
            Link(path, other),
            Unlink(path),
            SetAttributes(path, Attributes(chance.choice([0o600, 0o640]), 0, 0, chance.randrange(9))),
        ]
        kind = chance.randrange(14)
        if kind < 10:
            return simple[kind]
        return [
            Mirror(True), Mirror(False), Barrier("mark"),
            Group((Write(path, 5, b"in a group"), Rename(path, other), Truncate(other, 3))),
        ][kind - 10]  # fmt: skip

    return [one() for _ in range(count)]


class FoldMachine(RuleBasedStateMachine):
    """Drives a share and the model side by side."""

    @initialize()
    def start(self) -> None:
        self.folder = make_folder()
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
