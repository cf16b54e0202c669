"""Reading ahead: the same bytes in the same order, damage told by whom it concerns, memory within a bound."""

import threading
from collections.abc import Sequence

import pytest

from core.digest import Digest, digest_of
from core.errors import Damaged
from core.relpath import ROOT
from snapshots.read_ahead import ReadAhead
from snapshots.tree import Extent
from tests.tapeexport.memory_tree import MemoryTree

MEBIBYTE = 1024 * 1024


class CountingTree(MemoryTree):
    """Counts the bytes that were asked for in batches."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_bytes = 0
        self.largest_batch = 0
        self._lock = threading.Lock()

    def chunks(self, digests: Sequence[Digest]) -> dict[Digest, bytes | memoryview]:
        found = super().chunks(digests)
        with self._lock:
            size = sum(len(data) for data in found.values())
            self.asked_bytes += size
            self.largest_batch = max(self.largest_batch, size)
        return found


class DamagedTree(CountingTree):
    """Cannot read one chunk."""

    bad = Digest(bytes(32))

    def chunk(self, digest: Digest) -> bytes:
        if digest == self.bad:
            raise Damaged("a chunk is damaged")
        return super().chunk(digest)

    def chunks(self, digests: Sequence[Digest]) -> dict[Digest, bytes | memoryview]:
        return super().chunks([digest for digest in digests if digest != self.bad])


def test_small_files_come_in_order_with_their_bytes() -> None:
    tree = CountingTree()
    contents = {b"f%04d" % number: b"content %d" % number * (number % 50) for number in range(1500)}
    for name, data in contents.items():
        tree.file(name, data)
    with ReadAhead(tree) as ahead:
        found = {}
        for path, node in ahead.walk(ROOT):
            if path:
                found[path] = bytes(ahead.chunk(node.digest)) if node.digest else b""
    assert found == contents and list(found) == sorted(contents)


def test_extents_are_filled_in_order_with_holes() -> None:
    tree = CountingTree()
    pieces = [b"%d" % number * 9000 for number in range(300)]
    extents, offset = [], 0
    for number, piece in enumerate(pieces):
        digest = tree.keep(piece) if number % 7 else None
        extents.append(Extent(offset, len(piece), digest))
        offset += len(piece)
    with ReadAhead(tree) as ahead:
        found = list(ahead.filled(extents))
    assert [extent for extent, _ in found] == extents
    assert [data for _, data in found] == [piece if number % 7 else None for number, piece in enumerate(pieces)]


def test_what_is_damaged_is_told_where_it_is_asked_for() -> None:
    tree = DamagedTree()
    for number in range(20):
        tree.file(b"f%02d" % number, b"content %d" % number)
    tree.bad = digest_of(b"content 7")
    failed = []
    with ReadAhead(tree) as ahead:
        for path, node in ahead.walk(ROOT):
            try:
                assert not path or (node.digest is not None and ahead.chunk(node.digest))
            except Damaged:
                failed.append(path)
        with pytest.raises(Damaged):
            list(ahead.filled([Extent(0, 9, tree.bad)]))
    assert failed == [b"f07"]


def test_no_more_than_a_few_mebibytes_are_read_ahead() -> None:
    tree = CountingTree()
    distinct = [Extent(n * MEBIBYTE // 4, MEBIBYTE // 4, tree.keep(n.to_bytes(4, "big") * (MEBIBYTE // 16))) for n in range(100)]
    with ReadAhead(tree) as ahead:
        taken = 0
        for extent, _ in ahead.filled(distinct):
            taken += extent.length
            assert tree.asked_bytes - taken <= 7 * MEBIBYTE
    assert tree.asked_bytes == 25 * MEBIBYTE and tree.largest_batch <= 2 * MEBIBYTE
