"""Cutting a content into chunks by what it holds (FastCDC 2020), with long zero runs as holes.

The same bytes give the same cuts wherever they stand in a stream of blocks: a cut before the end of what the cutter sees
does not depend on what follows, only such cuts are taken, and a zero run counts as one hole however the blocks fall.
"""

from collections.abc import Generator, Iterable, Iterator
from typing import Literal

from pyfastcdc import FastCDC

from staging.chunk_format import MAX_CHUNK_BYTES

MIN_CHUNK_BYTES = 16 * 1024
AVERAGE_CHUNK_BYTES = 64 * 1024
MIN_HOLE_BYTES = 64 * 1024  # shorter zero runs compress well enough inside their chunk
BLOCK_BYTES = 4 * 1024 * 1024  # a good size for the blocks given to `cut_blocks`

_PROBE = bytes(MIN_HOLE_BYTES // 2)  # every run of MIN_HOLE_BYTES holds an aligned run of half that
_NORMALIZED: Literal[1] = 1
_CUTTER = FastCDC(  # keeps nothing between two contents, so every thread may use it
    AVERAGE_CHUNK_BYTES, min_size=MIN_CHUNK_BYTES, max_size=MAX_CHUNK_BYTES, normalized_chunking=_NORMALIZED
)

Run = bytes | memoryview | int
"""What a cut content consists of: the bytes of one chunk, or the length of a hole."""


def cut_blocks(blocks: Iterable[bytes | int], gather_bytes: int = BLOCK_BYTES) -> Iterator[Run]:
    """Cut a content given as consecutive blocks (a number stands for that many zeros); yield chunks and holes in order.

    Each time `gather_bytes` more have come, what can be cut is given out; the cuts do not depend on it.
    """
    behind: list[bytes | memoryview] = []  # what stands behind the last cut
    length, enough = 0, gather_bytes
    for run in _split_zero_runs(blocks):
        if isinstance(run, int):
            yield from _cut_all(_joined(behind))
            behind, length, enough = [], 0, gather_bytes
            yield run
            continue
        behind.append(run)
        length += len(run)
        if length >= enough:
            behind = [(yield from _cut_stable(behind))]
            length = len(behind[0])
            enough = length + gather_bytes
    yield from _cut_all(_joined(behind))


def _cut_all(data: bytes | memoryview) -> Iterator[bytes | memoryview]:
    if len(data) <= MIN_CHUNK_BYTES:
        if data:
            yield data
        return
    for chunk in _CUTTER.cut_buf(data):
        yield chunk.data


def _cut_stable(parts: list[bytes | memoryview]) -> Generator[bytes | memoryview, None, bytes | memoryview]:
    """Yield the chunks that nothing behind the parts can move, and return what is left.

    The last part is mostly long. It is cut where it stands; only what a chunk from before it may take of it is copied.
    """
    *before, last = parts
    place = 0
    if before:
        seam = _joined([*before, last[: MAX_CHUNK_BYTES + 1]])  # one more: a chunk that ends with it may be cut short by that
        start = len(seam) - min(len(last), MAX_CHUNK_BYTES + 1)
        end = 0
        for chunk in _CUTTER.cut_buf(seam):
            if end >= start or chunk.offset + chunk.length == len(seam):
                break
            yield chunk.data
            end = chunk.offset + chunk.length
        if end < start:
            return memoryview(seam)[end:]
        place = end - start
    rest = memoryview(last)[place:]
    done = 0
    for chunk in _CUTTER.cut_buf(rest):
        if chunk.offset + chunk.length == len(rest):
            break
        yield chunk.data
        done = chunk.offset + chunk.length
    return rest[done:]


def _joined(parts: list[bytes | memoryview]) -> bytes | memoryview:
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _split_zero_runs(blocks: Iterable[bytes | int]) -> Iterator[bytes | memoryview | int]:
    """Yield data and the lengths of zero runs >= MIN_HOLE_BYTES; shorter runs stay data."""
    zeros = 0  # zeros at the end of what was seen, not yet given out
    for block in blocks:
        if isinstance(block, int):
            zeros += block
            continue
        start = 0
        for run_start, run_end in _zero_runs(block):
            if run_start > start:
                yield from _zeros(zeros)
                zeros = 0
                yield memoryview(block)[start:run_start]
            zeros += run_end - run_start
            start = run_end
        if start < len(block):
            yield from _zeros(zeros)
            zeros = 0
            yield memoryview(block)[start:]
    yield from _zeros(zeros)


def _zeros(count: int) -> Iterator[bytes | int]:
    if count >= MIN_HOLE_BYTES:
        yield count
    elif count:
        yield bytes(count)


def _zero_runs(block: bytes) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the block's zero runs that are long inside it or touch one of its ends."""
    probe_bytes, size = len(_PROBE), len(block)
    position = 0
    if size and block[0] == 0:
        position = _run_end(block, 0)
        yield 0, position
    probe = -(-position // probe_bytes) * probe_bytes
    while probe + probe_bytes <= size:
        if not block.startswith(_PROBE, probe):
            probe += probe_bytes
            continue
        before = block[max(position, probe - probe_bytes) : probe]
        start = probe - (len(before) - len(before.rstrip(b"\0")))
        end = _run_end(block, probe)
        if end - start >= MIN_HOLE_BYTES or end == size:
            yield start, end
        position = end
        probe = -(-end // probe_bytes) * probe_bytes
    if position < size and block[-1] == 0:
        tail = block[max(position, size - 2 * probe_bytes) :]
        yield size - (len(tail) - len(tail.rstrip(b"\0"))), size


def _run_end(block: bytes, start: int) -> int:
    step = len(_PROBE)
    while block.startswith(_PROBE, start):
        start += step
    rest = block[start : start + step]
    return start + len(rest) - len(rest.lstrip(b"\0"))
