"""`python -m bench.differences`: what the difference of two snapshots costs, by the tree and by the difference.

Two trees, one ten times as large as the other, get the same changes between three snapshots: some, then ten times as
many (a tenth each are renames, new files and removals; the rest change attributes). Told of each difference: CPU of the
asking thread, rows that the catalogue answers, and steps of SQLite's machine, which also count what is read and thrown away.
"""

import itertools
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.figure import Figure, at_most, parser_of, reading, tell
from bench.laying import FILES_A_FOLDER, PLAIN, LaidShare, file_path, make_root
from core.database import Connection, open_database
from snapshots.chunk_store import ChunkStore
from snapshots.difference import differences
from snapshots.ledger_db import SnapshotRow
from staging.changes import Attributes, Change, Create, Kind, Rename, SetAttributes, Unlink

_TIMES_AS_MANY = 10
_ROUNDS = 5
_STEPS_A_CALL = 100  # how finely SQLite's steps are counted
_FLAT = at_most(1.5)  # a deeper B-tree is allowed, another tree walk is not
_PROPORTIONAL = at_most(1.2 * _TIMES_AS_MANY)


@dataclass(frozen=True, slots=True)
class Cost:
    """What one difference took."""

    found: int
    cpu_ms: float
    rows: int
    steps: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Lay, change, compare."""
    parser = parser_of("bench.differences", __doc__)
    parser.add_argument("--files", type=int, default=100_000, help="of the smaller tree")
    parser.add_argument("--changes", type=int, default=100, help="of the smaller difference")
    options = parser.parse_args(arguments)
    costs: list[tuple[Cost, Cost]] = []
    for files in (options.files, _TIMES_AS_MANY * options.files):
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="stagekeeper-differences-") as name:
            costs.append(_tree(Path(name), files, options.changes))
    tell(options, _figures(costs, options.files, options.changes))


def _figures(costs: list[tuple[Cost, Cost]], files: int, changes: int) -> list[Figure]:
    (small_few, small_many), (large_few, large_many) = costs
    found = []
    for size, few, many in ((files, small_few, small_many), (_TIMES_AS_MANY * files, large_few, large_many)):
        for count, cost in ((changes, few), (_TIMES_AS_MANY * changes, many)):
            what = f"difference of {count} changes in {size} files"
            found.append(reading(f"{what}, CPU", cost.cpu_ms, "ms"))
            found.append(reading(f"{what}, rows answered", cost.rows, "rows"))
            found.append(reading(f"{what}, steps of SQLite", cost.steps, "steps"))
    for word, one, other in (("fewer", small_few, large_few), ("more", small_many, large_many)):
        found.append(reading(f"tree × {_TIMES_AS_MANY}, {word} changes: steps", other.steps / one.steps, "×", _FLAT))
        found.append(reading(f"tree × {_TIMES_AS_MANY}, {word} changes: CPU", other.cpu_ms / one.cpu_ms, "×"))
    for word, one, other in (("smaller", small_few, small_many), ("larger", large_few, large_many)):
        ratio = other.steps / one.steps
        found.append(reading(f"changes × {_TIMES_AS_MANY}, {word} tree: steps", ratio, "×", _PROPORTIONAL))
        found.append(reading(f"changes × {_TIMES_AS_MANY}, {word} tree: CPU", other.cpu_ms / one.cpu_ms, "×"))
    return found


def _tree(folder: Path, files: int, changes: int) -> tuple[Cost, Cost]:
    """Lay one tree with its three snapshots; return what the smaller and the larger difference cost."""
    laid = LaidShare(make_root(folder), "tree/data")
    laid.lay_tree(files)
    places = random.Random(files).sample(range(files), (1 + _TIMES_AS_MANY) * changes)
    snapshots = [laid.snapshot("laid")]
    for count in (changes, _TIMES_AS_MANY * changes):
        _change(laid, [places.pop() for _ in range(count)])
        snapshots.append(laid.snapshot(f"{count} changes"))
    catalogue, store = laid.share.fold.path, laid.vault.store
    connection = open_database(catalogue, read_only=True).conn
    try:
        first, second = (_cost(connection, store, *pair) for pair in itertools.pairwise(snapshots))
    finally:
        connection.close()
        laid.close()
    if (first.found, second.found) != (changes, _TIMES_AS_MANY * changes):
        raise SystemExit(f"{first.found} and {second.found} differences were found of {changes} and {_TIMES_AS_MANY * changes}")
    return first, second


def _change(laid: LaidShare, places: list[int]) -> None:
    """Make one difference at each of these places in the tree."""
    paths: list[bytes] = []
    changes: list[Change] = []
    for number, place in enumerate(places):
        folder, kind = place // FILES_A_FOLDER, number % 10
        here = file_path(folder, place % FILES_A_FOLDER)
        new = b"d%05d/new %d" % (folder, place)
        paths += [here, new]
        at = len(paths) - 2
        if kind == 0:
            changes.append(Rename(at, at + 1))
        elif kind == 1:
            changes.append(Create(at + 1, Kind.FILE, PLAIN))
        elif kind == 2:
            changes.append(Unlink(at))
        else:
            changes.append(SetAttributes(at, Attributes(0o600, 0, 0, 1 + laid.share.journal.position.sequence)))
    laid.send(paths, changes)


def _cost(connection: Connection, store: ChunkStore, before: SnapshotRow, after: SnapshotRow) -> Cost:
    """Ask for a difference some times; return the counts of one and the median of the CPU times."""
    rows = calls = 0

    def count_call() -> int:
        nonlocal calls
        calls += 1
        return 0

    def query(statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        nonlocal rows
        answered: list[tuple[Any, ...]] = connection.execute(statement, values).fetchall()
        rows += len(answered)
        return answered

    times = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        found = sum(1 for _ in differences(query, store.node, before.sequence, after.sequence))
        times.append(1000 * (time.thread_time() - began))
    rows = 0
    connection.set_progress_handler(count_call, _STEPS_A_CALL)
    for _ in differences(query, store.node, before.sequence, after.sequence):
        pass
    connection.set_progress_handler(None, 0)
    return Cost(found, statistics.median(times), rows, calls * _STEPS_A_CALL)


if __name__ == "__main__":
    main(sys.argv[1:])
