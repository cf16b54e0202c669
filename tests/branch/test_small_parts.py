"""Excludes, pauses, pieces, marks, paths of watches, the wire bill: pure parts, each with its rule."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branch.backoff import FIRST_SECONDS, Backoff
from branch.excludes import Excludes
from branch.held import HeldChunks
from branch.marks import MAX_NAMES_A_FOLDER, Marks
from branch.pieces import OldPieces, encode_pieces
from branch.scope import Scope
from branch.state_db import RootMark
from branch.watch_tree import WatchTree
from branch.wire import WireBill, WireMeter
from core.clock import SystemClock
from core.digest import ZERO_DIGEST, Digest
from core.relpath import ROOT, RelPath
from staging.recipe_format import Piece


@pytest.mark.parametrize(
    ("pattern", "path", "is_folder", "expected"),
    [
        (b"*.tmp", b"a/b.tmp", False, True),
        (b"*.tmp", b"a/b.tmpx", False, False),
        (b"cache/", b"a/cache", True, True),
        (b"cache/", b"a/cache", False, False),
        (b"var/cache/*", b"var/cache/x", False, True),
        (b"var/cache/*", b"other/var/cache/x", False, False),
        (b"/build", b"build", True, True),
        (b"/build", b"src/build", True, False),
        (b"\xff?", b"d/\xffx", False, True),
        (b"[ab]", b"b", False, True),
    ],
)
def test_excludes(pattern: bytes, path: bytes, is_folder: bool, expected: bool) -> None:
    assert Excludes([pattern]).match(path, path.rpartition(b"/")[2], is_folder) is expected


def test_pauses_grow_to_their_limit_and_begin_again_after_a_success() -> None:
    backoff = Backoff(Random(1), 10.0)
    pauses = [backoff.next_seconds() for _ in range(12)]
    assert FIRST_SECONDS / 2 <= pauses[0] <= FIRST_SECONDS and 5.0 <= pauses[-1] <= 10.0
    backoff.reset()
    assert backoff.next_seconds() <= FIRST_SECONDS


def piece(name: bytes) -> Piece:
    return Piece(10, Digest(name * 32))


def test_a_changed_chunk_replaces_the_one_in_its_place() -> None:
    old = OldPieces(encode_pieces([piece(b"a"), piece(b"b"), piece(b"c"), piece(b"d")]))
    assert old.holds(b"a" * 32) and not old.holds(b"X" * 32)
    assert old.replaced() == b"b" * 32
    assert old.holds(b"c" * 32) and not old.holds(b"Y" * 32)
    assert old.replaced() == b"d" * 32 and old.replaced() == ZERO_DIGEST


def test_a_chunk_that_the_content_held_twice_leads_on_from_where_it_stands_next() -> None:
    old = OldPieces(encode_pieces([piece(b"a"), piece(b"b"), piece(b"c"), piece(b"a"), piece(b"d")]))
    assert old.holds(piece(b"a").digest)
    assert old.replaced() == piece(b"b").digest


def test_an_inserted_chunk_does_not_shift_what_follows() -> None:
    old = OldPieces(encode_pieces([piece(b"a"), piece(b"b"), piece(b"c")]))
    assert old.holds(b"a" * 32)
    old.replaced()
    assert old.holds(b"b" * 32) and old.holds(b"c" * 32)


def test_the_oldest_held_chunk_is_forgotten_first() -> None:
    held = HeldChunks(2)
    for name in (b"a", b"b", b"c"):
        held.add(Digest(name * 32))
    assert b"a" * 32 not in held and b"c" * 32 in held


def test_a_root_is_known_by_inode_and_disk() -> None:
    mark = RootMark(8, 99, 2)
    assert mark.is_same(RootMark(8, 1, 2)) and mark.is_same(RootMark(9, 99, 2))
    assert not mark.is_same(RootMark(9, 98, 2)) and not mark.is_same(RootMark(8, 99, 3))
    assert not RootMark(8, 0, 2).is_same(RootMark(9, 0, 2))  # a file system without an id proves nothing


def test_marks_become_coarser_and_are_never_dropped() -> None:
    marks = Marks(SystemClock())
    for number in range(MAX_NAMES_A_FOLDER + 1):
        marks.mark(RelPath(b"d"), b"%d" % number)
    marks.mark(ROOT, b"x")
    scope = marks.take()
    assert scope.folders == {b"d": None, b"": {b"x"}} and scope.noticed_ns > 0
    assert marks.take().is_empty


def test_restored_marks_keep_their_age() -> None:
    marks = Marks(SystemClock())
    marks.mark(ROOT, b"new")
    marks.restore(Scope(False, {RelPath(b"d"): {b"a"}, RelPath(b"e"): None, RelPath(b"f"): set()}, 5))
    scope = marks.take()
    assert scope.noticed_ns == 5
    assert scope.folders == {b"": {b"new"}, b"d": {b"a"}, b"e": None, b"f": set()}


def test_everything_outweighs_single_marks() -> None:
    marks = Marks(SystemClock())
    marks.mark_all()
    marks.mark(ROOT, b"x")
    assert marks.take().is_full


def moved(tree: WatchTree, old: bytes, folder: bytes, name: bytes) -> None:
    node = tree.take_out(RelPath(old))
    assert node is not None
    tree.put_in(node, RelPath(folder), name)


def test_watches_follow_renamed_folders() -> None:
    tree = WatchTree()
    for watch, path in enumerate((b"", b"a", b"a/b", b"a/b/c")):
        tree.place(RelPath(path), watch)
    moved(tree, b"a", b"", b"z")
    assert [tree.path_of(watch) for watch in range(4)] == [b"", b"z", b"z/b", b"z/b/c"]
    node = tree.take_out(RelPath(b"z/b"))
    assert tree.path_of(3) is None and node is not None
    assert sorted(tree.discard(node)) == [2, 3] and len(tree) == 2


def test_a_folder_that_was_found_first_is_left_where_it_was_found() -> None:
    tree = WatchTree()
    tree.place(RelPath(b"a"), 1)
    tree.place(RelPath(b"a/sub"), 2)
    tree.place(RelPath(b"b"), 1)  # the look was faster than the events
    moved(tree, b"a", b"", b"b")
    tree.place(RelPath(b"b/sub"), 2)
    assert [tree.path_of(watch) for watch in (1, 2)] == [b"b", b"b/sub"]


def test_a_folder_renamed_over_an_empty_one_takes_its_place() -> None:
    tree = WatchTree()
    tree.place(RelPath(b"a"), 1)
    tree.place(RelPath(b"b"), 2)
    moved(tree, b"a", b"", b"b")
    tree.forget(2)  # its own end is told afterwards
    assert [tree.path_of(watch) for watch in (1, 2)] == [b"b", None]


def test_a_new_folder_in_the_place_of_a_moved_one_keeps_its_watch() -> None:
    tree = WatchTree()
    tree.place(RelPath(b"a"), 1)
    node = tree.take_out(RelPath(b"a"))
    tree.place(RelPath(b"a"), 2)
    assert node is not None and tree.discard(node) == [1]
    assert tree.path_of(2) == b"a"


def test_a_folder_in_the_place_of_another_is_followed_too() -> None:
    tree = WatchTree()
    tree.place(RelPath(b"a"), 1)
    tree.place(RelPath(b"a"), 2)
    assert tree.path_of(1) is None
    moved(tree, b"a", b"", b"b")
    assert tree.path_of(2) == b"b"


def test_a_watch_placed_anew_stands_for_its_new_path() -> None:
    tree = WatchTree()
    tree.place(RelPath(b"a"), 1)
    tree.place(RelPath(b"b/c"), 1)
    assert tree.path_of(1) == b"b/c" and len(tree) == 1


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=20))
def test_the_wire_bill_adds_up(requests: list[tuple[int, int]]) -> None:
    meter = WireMeter(WireBill())
    for framing, compressed in requests:
        meter.add(framing + compressed, 2 * compressed, compressed)
    bill = meter.bill
    assert bill.framing_bytes + bill.compressed_bytes == sum(f + c for f, c in requests)
    assert bill.payload_bytes == 2 * bill.compressed_bytes
