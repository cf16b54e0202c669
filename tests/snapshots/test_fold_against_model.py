"""Random changes through wire, journal and fold, against a naive model: every snapshot, path, content and attribute."""

from pathlib import Path

from hypothesis import HealthCheck, settings

from staging.changes import (
    Attributes,
    Barrier,
    Change,
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
from tests.share_rig import ShareRig, listing
from tests.snapshots.fold_machine import PLAIN, FoldMachine

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
