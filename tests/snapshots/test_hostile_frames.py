"""Frames that are well formed and mean nonsense: the share that gets them is folded, and the same again from the journal."""

import random
from pathlib import Path

import pytest

from core.relpath import ROOT
from staging.changes import (
    MAX_SIZE,
    Attributes,
    Barrier,
    Change,
    Consistency,
    Content,
    ContentRef,
    Create,
    Group,
    Kind,
    Link,
    Mirror,
    Rename,
    SetAttributes,
    SimpleChange,
    Truncate,
    Unlink,
    Write,
)
from tests.share_rig import ShareRig

PLAIN = Attributes(0o644, 0, 0, 0)
PATHS = [b"", b"a", b"b", b"a/b", b"b/a", b"a/b/c", b"\xff\n", b"x" * 255, b"a/" + b"y" * 255, b"b/b", b"c", b"c/d"]
EDGES = [0, 1, 4095, 4096, 2**31 - 1, 2**32, 2**40, 2**61, MAX_SIZE - 1, MAX_SIZE]


@pytest.fixture
def rig(tmp_path: Path) -> ShareRig:
    return ShareRig(tmp_path)


def test_a_write_behind_the_largest_size_leaves_a_file_of_a_snapshot_as_it_was(rig: ShareRig) -> None:
    content = rig.put(b"kept")
    rig.send([b"a"], [Mirror(True), Create(0, Kind.FILE, PLAIN, content), Mirror(False)])
    kept = rig.snapshot()
    rig.send([b"a"], [Write(0, MAX_SIZE, b"x")])
    assert rig.live().node_at(PATHS[1]).content == content  # type: ignore[arg-type]
    assert rig.fold.state == ("resync", f"change {kept.sequence + 1} did not fit: write: the file would be too large")
    rig.send([b"b"], [Create(0, Kind.FILE, PLAIN)])
    assert {path for path, _ in rig.live().walk(ROOT)} == {b"", b"a", b"b"}


class Sender:
    """Makes changes of the right form without looking at what they mean."""

    def __init__(self, chance: random.Random, contents: list[ContentRef]) -> None:
        self.chance, self.contents = chance, contents

    def frame(self) -> list[Change]:
        return [self.change() for _ in range(self.chance.randrange(1, 30))]

    def change(self) -> Change:
        kind = self.chance.random()
        if kind < 0.75:
            return self.simple()
        if kind < 0.85:
            return Group(tuple(self.simple() for _ in range(self.chance.randrange(1, 6))))
        if kind < 0.93:
            return Mirror(self.chance.random() < 0.5)
        return Barrier(self.chance.choice(["", "two\nlines \x1b[31m", "\u202e"]), self.chance.choice(list(Consistency)))

    def simple(self) -> SimpleChange:
        choice, path = self.chance.choice, self.chance.randrange(len(PATHS))
        other = self.chance.randrange(len(PATHS))
        makers = [
            lambda: Create(path, choice(list(Kind)), self.attributes(), choice(self.contents), choice([b"", b"../.."])),
            lambda: Create(path, choice([Kind.FILE, Kind.FOLDER]), self.attributes()),
            lambda: Link(path, other),
            lambda: Write(path, choice(EDGES), self.chance.randbytes(choice([1, 10, 5000]))),
            lambda: Content(path, choice(self.contents), choice([None, self.attributes()])),
            lambda: Truncate(path, choice(EDGES)),
            lambda: Rename(path, other, self.chance.random() < 0.3),
            lambda: Unlink(path),
            lambda: SetAttributes(path, self.attributes()),
        ]
        return choice(makers)()  # type: ignore[no-any-return, no-untyped-call]

    def attributes(self) -> Attributes:
        choice = self.chance.choice
        xattrs = choice([(), ((b"user.a", b"1"), (b"user.a", b"2")), ((b"\xff" * 255, b""),)])
        owners = choice([0, 2**32 - 1]), choice([0, 2**32 - 1])
        return Attributes(choice([0, 0o7777]), *owners, choice([-(2**63), 2**63 - 1]), b"\xff" * 255, b"", xattrs)


@pytest.mark.parametrize("seed", range(10))
def test_nonsense_is_folded_and_gives_the_same_again_when_the_catalogue_is_lost(rig: ShareRig, seed: int) -> None:
    chance = random.Random(seed)
    sender = Sender(chance, [None, rig.put(b"x"), rig.put(chance.randbytes(5000)), rig.put(chance.randbytes(300_000))])
    for _ in range(25):
        rig.send(PATHS, sender.frame())
        rig.fold.fold_all()
        if chance.random() < 0.3:
            rig.snapshot()
        if chance.random() < 0.2:
            rig.sealer.seal()
    found = shown(rig)
    rig.lose_catalogue()
    assert shown(rig) == found


def shown(rig: ShareRig) -> object:
    """Return all that a share says of itself, but for the bytes of its files, which may be longer than any disk."""
    view = rig.live()
    nodes = [(path, node.kind, node.attributes, node.content, node.target, node.device) for path, node in view.walk(ROOT)]
    return nodes, rig.fold.state, rig.fold.totals, [row.sequence for row in rig.reader.ledger.snapshots()]
