"""Runs a mark in a process of its own: a plan comes in by a file, lists of digests go out by files, progress by lines.

Lists are digests without anything between them, in the order of the index: `fresh` may be condemned, `deltas` and `wholes` are
condemned and still not named, `back` is condemned and named again. A last line tells what stands in each pack.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec

from core.database import DatabaseError
from core.digest import DIGEST_BYTES, Digest
from core.errors import StagekeeperError, TryLater
from snapshots import garbage_db
from snapshots.bit_filter import BitFilter
from snapshots.chunk_reader import ChunkReader
from snapshots.index_db import ChunkLookup
from snapshots.mark import BITS_A_CHUNK, MAX_BITS, MarkAborted, Marker, Roots
from snapshots.pack_reader import PackReader

FRESH, DELTAS, WHOLES, BACK = "fresh", "deltas", "wholes", "back"
LISTS = (FRESH, DELTAS, WHOLES, BACK)
_REPORT_EVERY = 20_000
_NICE = 10


class MarkStopped(TryLater):
    """A mark was told to stop."""


class MarkPlan(msgspec.Struct, frozen=True):
    """What a mark is told. `old_before_ns`: chunks of packs appended to since then are not listed as fresh."""

    index: str
    packs: str
    store_id: bytes
    roots: Roots
    salt: bytes
    old_before_ns: int
    folder: str


class Marked(msgspec.Struct, frozen=True):
    """What a mark found. `packs`: (number, chunks in it, bytes of their records)."""

    chunks: int
    named: int
    packs: list[tuple[int, int, int]]
    lists: dict[str, int]


class _Line(msgspec.Struct, omit_defaults=True):
    seen: int = 0
    marked: Marked | None = None
    error: str = ""
    remedy: str = ""


Report = Callable[[int], None]
RunMark = Callable[[MarkPlan, Callable[[], bool], Report], Marked]


def run_mark(plan: MarkPlan, stopping: Callable[[], bool], report: Report) -> Marked:
    """Mark in a child process; raise `MarkAborted`, or `MarkStopped` when `stopping` says so."""
    plan_file = Path(plan.folder) / "plan"
    plan_file.write_bytes(msgspec.msgpack.encode(plan))
    with subprocess.Popen([sys.executable, "-m", __name__, str(plan_file)], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        try:
            for text in child.stdout:
                line = msgspec.json.decode(text, type=_Line)
                if line.error:
                    raise MarkAborted(line.error, remedy=line.remedy)
                if line.marked is not None:
                    return line.marked
                if stopping():
                    raise MarkStopped("the mark was stopped; nothing was removed", remedy="run collect again")
                report(line.seen)
        finally:
            child.terminate()
    raise MarkAborted(f"the mark ended early (exit code {child.returncode}); nothing was removed", remedy="see the log")


def mark_here(plan: MarkPlan, report: Report) -> Marked:
    """Mark in this process; raise `MarkAborted`."""
    index = ChunkLookup(Path(plan.index))
    packs = PackReader(Path(plan.packs), plan.store_id)
    try:
        reader = ChunkReader(index, packs, lambda digest: None)
        chunks, _ = index.counts()
        marked = BitFilter(min(chunks * BITS_A_CHUNK, MAX_BITS), plan.salt)
        old = garbage_db.old_packs(index, plan.old_before_ns)
        marker = Marker(index, reader, marked, report)
        marker.walk(plan.roots)
        marker.spread_to_bases(old)
        return _list(plan, index, marked, old)
    finally:
        packs.close()
        index.close()


def read_list(plan: MarkPlan, name: str, size: int) -> Iterator[list[Digest]]:
    """Yield a list's digests in batches."""
    with (Path(plan.folder) / name).open("rb") as file:
        while data := file.read(size * DIGEST_BYTES):
            yield [Digest(data[at : at + DIGEST_BYTES]) for at in range(0, len(data), DIGEST_BYTES)]


def _list(plan: MarkPlan, index: ChunkLookup, marked: BitFilter, old: set[int]) -> Marked:
    counts = dict.fromkeys(LISTS, 0)
    packs: dict[int, list[int]] = {}
    chunks = named = 0
    with ExitStack() as stack:
        files = {name: stack.enter_context((Path(plan.folder) / name).open("wb")) for name in LISTS}
        for page in garbage_db.chunks(index):
            members = marked.among([row[0] for row in page])
            chunks, named = chunks + len(page), named + len(members)
            for digest, pack, stored_bytes, is_delta, is_condemned in page:
                totals = packs.setdefault(pack, [0, 0])
                totals[0] += 1
                totals[1] += stored_bytes
                name = _list_of(digest in members, is_delta, is_condemned, pack in old)
                if name:
                    _append(files[name], digest)
                    counts[name] += 1
    return Marked(chunks, named, [(number, *totals) for number, totals in sorted(packs.items())], counts)  # type: ignore[misc]


def _list_of(is_named: bool, is_delta: bool, is_condemned: bool, is_old: bool) -> str | None:
    if is_named:
        return BACK if is_condemned else None
    if is_condemned:
        return DELTAS if is_delta else WHOLES
    return FRESH if is_old else None


def _append(file: BinaryIO, digest: Digest) -> None:
    file.write(digest)


def _print(line: _Line) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


def main() -> int:
    """Run the plan named on the command line."""
    os.nice(_NICE)
    plan = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=MarkPlan)
    told = 0

    def report(seen: int) -> None:
        nonlocal told
        if seen - told >= _REPORT_EVERY:
            told = seen
            _print(_Line(seen=seen))

    try:
        _print(_Line(marked=mark_here(plan, report)))
    except StagekeeperError as error:
        _print(_Line(error=error.message, remedy=error.remedy))
        return 1
    except (OSError, DatabaseError) as error:
        _print(_Line(error=f"the mark cannot read: {error}", remedy="see what is wrong with it; nothing was removed"))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
