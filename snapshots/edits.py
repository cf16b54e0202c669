"""Edits: the writes and truncations of one file, collected before they are applied to its content.

They are only noted as they come, and laid over each other in one pass when they are asked for: hundreds of thousands of
small writes cost a list's append each. Memory is bounded by the bytes that were written, not by how often.
"""

Extent = tuple[int, int, bytes | bytearray | memoryview]
"""(start, end, data) of bytes that stand in the new content."""

_BLOCK_BITS = 16  # of 64 KiB, the length that chunks have on average
_SETTLE_EVERY = 65_536  # noted operations at least; then what was overwritten is let go


class Edits:
    """Writes and truncations of one file, later ones over earlier ones."""

    def __init__(self, size: int) -> None:
        """Begin with a content of `size` bytes."""
        self.size = size
        self.kept = size  # old bytes from here on are gone
        self.sequence = 0
        self.blocks: set[int] = set()  # numbers of the blocks that writes fell into
        self._writes: list[tuple[int, int, bytes | bytearray | memoryview]] = []  # (offset, place in time, data)
        self._cuts: list[tuple[int, int]] = []  # (place in time, size)
        self._settle_at = _SETTLE_EVERY

    def write(self, offset: int, data: bytes) -> None:
        """Lay `data` over what is there."""
        writes = self._writes
        writes.append((offset, len(writes), data))
        end = offset + len(data)
        first, last = offset >> _BLOCK_BITS, (end - 1) >> _BLOCK_BITS
        if first == last:
            self.blocks.add(first)
        else:
            self.blocks.update(range(first, last + 1))
        if end > self.size:
            self.size = end
        if len(writes) >= self._settle_at:
            self._settle()

    def truncate(self, size: int) -> None:
        """Cut or extend to `size`; what is extended reads as zeros."""
        if size < self.size:
            while self._cuts and self._cuts[-1][1] >= size:
                self._cuts.pop()  # this one cuts all that those cut, and more
            if not self._cuts or self._cuts[-1][0] < len(self._writes):
                self._cuts.append((len(self._writes), size))
            self.kept = min(self.kept, size)
        self.size = size

    def extents(self) -> list[Extent]:
        """Return what was written and still stands: sorted, neither overlapping nor touching."""
        self._settle()
        return [(start, start + len(data), data) for start, _, data in self._writes]

    def _settle(self) -> None:
        writes = sorted(self._standing() if self._cuts else self._writes)
        settled: list[tuple[int, int, bytes | bytearray | memoryview]] = []
        first, end = 0, -1
        for index, (start, _, data) in enumerate(writes):
            if start > end and index > first:
                settled.append(_laid_together(writes[first:index], end, len(settled)))
                first = index
            end = max(end, start + len(data))
        if writes:
            settled.append(_laid_together(writes[first:], end, len(settled)))
        self._writes, self._cuts = settled, []
        self._settle_at = 2 * len(settled) + _SETTLE_EVERY

    def _standing(self) -> list[tuple[int, int, bytes | bytearray | memoryview]]:
        """Return the writes without what later truncations cut off (the sizes in `_cuts` grow)."""
        standing = []
        cuts = iter(self._cuts)
        before, limit = next(cuts)
        for offset, place, data in self._writes:
            while place >= before:
                before, limit = next(cuts, (len(self._writes), _NO_LIMIT))
            if offset + len(data) <= limit:
                standing.append((offset, place, data))
            elif offset < limit:
                standing.append((offset, place, memoryview(data)[: limit - offset]))
        return standing


_NO_LIMIT = 2**63


def _laid_together(
    writes: list[tuple[int, int, bytes | bytearray | memoryview]], end: int, place: int
) -> tuple[int, int, bytes | bytearray | memoryview]:
    """Return writes that overlap or touch, sorted by offset, as one."""
    start = writes[0][0]
    if len(writes) == 1:
        return start, place, writes[0][2]
    whole = bytearray(end - start)
    for offset, _, data in sorted(writes, key=_place_in_time):
        whole[offset - start : offset - start + len(data)] = data
    return start, place, whole


def _place_in_time(write: tuple[int, int, bytes | bytearray | memoryview]) -> int:
    return write[1]
