"""`python -m bench.held`: the longest that an acknowledgement is held by fold, snapshot, prune and collect, each told apart.

A large share is laid under a clock that stands six days back, with snapshots and with chunks that nothing names, which a collect
of three days ago has condemned. Then the appliance serves. The share's agent sends frames of ten small writes, and beside it
there are, one after another: prune, by which all deleted snapshots go and rows are swept; nothing; snapshots of the share; the
fold of another agent's backlog of distinct chunks; and collect, which marks, removes and copies. An acknowledgement counts for
what ran at any time while it was waited for. The agent's own writes are folded all the time.
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from appliance.root import Root
from bench.agents import at_once, send_writes, timed_send
from bench.figure import Figure, at_most, of_times, parser_of, reading, tell
from bench.fleet import SHARE, Fleet, Sender
from bench.laying import FILES_A_FOLDER, PLAIN, LaidShare, file_path, make_root, share_id_of
from core.clock import NANOSECONDS
from core.database import open_database
from core.durable import make_directories
from snapshots.collect import Collector, CollectPlace, CollectReport
from snapshots.control_format import SnapshotDeleted
from snapshots.mark import JournalPart, Roots
from staging.changes import Attributes, Create, Kind, SetAttributes
from staging.chunk_format import ChunkKind

_BIG = "big/data"
_LAID_DAYS_AGO, _CONDEMNED_DAYS_AGO = 6.0, 3.0
_CHANGES_A_SNAPSHOT = 50
_CONTENTS_EVERY = 10  # files: the others are empty
_GARBAGE_A_CONTENT = 0.2
_DUE_SECONDS = 30  # from being laid on; the appliance serves and an agent writes by then
_BACKLOG_BYTES = 900_000_000
_QUIET_LOOKS = 10  # a tenth of a second apart: then the keeper has nothing more to sweep
_BOUND = at_most(100)


def main(arguments: Sequence[str] | None = None) -> None:
    """Lay, serve, write, and see who waits for what."""
    parser = parser_of("bench.held", __doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--snapshots", type=int, default=200, help="so many are laid and pruned, and as many taken")
    parser.add_argument("--backlog", type=int, default=50_000, help="writes into distinct chunks")
    parser.add_argument("--seconds", type=float, default=20.0, help="with nothing beside the agent")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="stagekeeper-held-") as name:
        root = make_root(Path(name))
        garbage = _lay(root, options.files, options.snapshots)
        condemned = _condemn(root).condemned
        if not 0.95 * garbage <= condemned <= garbage:
            raise SystemExit(f"{condemned} of {garbage} chunks that nothing names were condemned")
        due_ns = _delete_snapshots(root)
        fleet = Fleet.of(root.path)
        try:
            found = _serve(fleet, options, due_ns, garbage)
        finally:
            fleet.end()
    tell(options, found)


def _lay(root: Root, files: int, snapshots: int) -> int:
    """Lay the share and its snapshots; return how many chunks of it nothing names."""
    laid = LaidShare(root, _BIG, _LAID_DAYS_AGO)
    laid.lay_tree(files, _CONTENTS_EVERY)
    garbage = int(files / _CONTENTS_EVERY * _GARBAGE_A_CONTENT)
    for first in range(0, garbage, 1000):
        laid.put_all([b"nothing names chunk %d\n" % number for number in range(first, min(first + 1000, garbage))])
    chance = random.Random(1)
    for number in range(snapshots):
        _change(laid, files, number, chance)
        laid.snapshot(f"number {number}")
    laid.share.sealer.seal()
    laid.close()
    return garbage


def _change(laid: LaidShare, files: int, number: int, chance: random.Random) -> None:
    places = [chance.randrange(files) for _ in range(_CHANGES_A_SNAPSHOT)]
    paths = [file_path(place // FILES_A_FOLDER, place % FILES_A_FOLDER) for place in places]
    changed = Attributes(0o600 + number % 64, 0, 0, number)
    laid.send(paths, [SetAttributes(index, changed) for index in range(len(paths))])


def _condemn(root: Root) -> CollectReport:
    """Collect as of some days ago."""
    laid = LaidShare(root, _BIG, _CONDEMNED_DAYS_AGO)
    share = laid.share
    folder = root.db / "collect"
    make_directories(folder)

    def roots() -> Roots:
        journal = [JournalPart(str(path), size) for path, size in share.journal.extents()]
        seals: list[tuple[int, bytes]] = [(ChunkKind.SEAL, seal.digest) for seal in share.reader.ledger.seals()]
        return Roots([journal], [str(share.fold.path)], seals)

    collector = Collector(laid.vault.store, CollectPlace(folder, partial(os.urandom, 8)))
    with closing(laid):
        return collector.run(roots, lambda: False, lambda what, count: None)


def _delete_snapshots(root: Root) -> int:
    """Order the deletion of all snapshots but the newest; return when they go."""
    laid = LaidShare(root, _BIG)
    now_ns = time.time_ns()
    due_ns = now_ns + _DUE_SECONDS * NANOSECONDS
    for row in laid.share.reader.ledger.snapshots()[:-1]:
        laid.share.fold.order(lambda number, _, id=row.id: SnapshotDeleted(number, id, now_ns, due_ns, "bench"))  # type: ignore[misc]
    laid.close()
    return due_ns


class Witness:
    """An agent that writes without a pause, and knows when it waited for each acknowledgement."""

    def __init__(self, sender: Sender) -> None:
        """Begin to write."""
        self._sender = sender
        self._waits: list[tuple[float, float]] = []
        self._spans: dict[str, tuple[float, float]] = {}
        self._stopping = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    @contextmanager
    def beside(self, what: str) -> Iterator[None]:
        """Attribute what is waited for meanwhile."""
        began = time.perf_counter()
        yield
        self._spans[what] = (began, time.perf_counter())
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Stop writing."""
        self._stopping.set()
        self._thread.join()

    def figures(self) -> list[Figure]:
        """Return p50 to the longest for each span, and how long it was."""
        return [figure for what, span in self._spans.items() for figure in held_during(what, span, self._waits)]

    def _write(self) -> None:
        chance = random.Random(5)
        try:
            while not self._stopping.is_set():
                began = time.perf_counter()
                seconds = timed_send(self._sender, chance, 10)
                self._waits.append((began, began + seconds))
                self._stopping.wait(0.002)
        except Exception as error:  # told by `beside`, in the thread that measures
            self._failure = error


def held_during(what: str, span: tuple[float, float], waits: Sequence[tuple[float, float]]) -> list[Figure]:
    """Return how long those acknowledgements took that were waited for at any time within a span."""
    began, ended = span
    held = [until - since for since, until in waits if since < ended and until > began]
    return [
        reading(f"{what}: lasted", ended - began, "s"),
        *of_times(f"acknowledgement during {what}", held, longest=_BOUND),
    ]


def _serve(fleet: Fleet, options: argparse.Namespace, due_ns: int, garbage: int) -> list[Figure]:
    sender = Sender(fleet.enrol("big"), share_id_of(_BIG))
    sender.send(sender.seal([b"file"], [Create(0, Kind.FILE, PLAIN)]))
    backlog = fleet.enrol("backlog")
    witness = Witness(sender)
    try:
        _prune(fleet, witness, due_ns)
        with witness.beside("nothing else"):
            time.sleep(options.seconds)
        taken = []
        with witness.beside("snapshot"):
            for number in range(options.snapshots):
                began = time.perf_counter()
                fleet.console.ask("POST", f"shares/{_BIG}/snapshots", body={"label": f"taken {number}"})
                taken.append(time.perf_counter() - began)
        at_once([partial(send_writes, backlog, options.backlog, _BACKLOG_BYTES, 1)])
        with witness.beside("fold"):
            fleet.wait_folded(f"backlog/{SHARE}")
        with witness.beside("collect"):
            report = fleet.console.follow("collect", {}, lambda progress: None)
    finally:
        witness.end()
    if report["removed_chunks"] < 0.95 * garbage:
        raise SystemExit(f"collect removed {report['removed_chunks']} of {garbage} chunks")
    return [*witness.figures(), *of_times(f"snapshot of {options.files} files, its agent writing", taken, p95=at_most(50))]


def _prune(fleet: Fleet, witness: Witness, due_ns: int) -> None:
    """Let the deleted snapshots go: their drop is ordered, and rows that nobody sees any more are swept."""
    snapshots = f"shares/{_BIG}/snapshots"
    early = _count(fleet, "SELECT count(*) FROM snapshot")
    time.sleep(max(0.0, (due_ns - time.time_ns()) / NANOSECONDS + 0.1))
    if _count(fleet, "SELECT count(*) FROM snapshot") != early:
        raise SystemExit("snapshots went before they were due")
    with witness.beside("prune"):
        taken = fleet.console.ask("POST", snapshots, body={"label": "to be deleted"})
        fleet.console.ask("POST", f"{snapshots}/{taken['id']}/delete", body={})  # this tells the keeper that there is work
        fleet.console.ask("POST", "prune", body={"share": _BIG, "dry_run": False})
        left, unchanged = (early, 0), 0
        while left[0] > 2 or unchanged < _QUIET_LOOKS:
            time.sleep(0.1)
            now = (_count(fleet, "SELECT count(*) FROM snapshot"), _count(fleet, "SELECT count(*) FROM sweep"))
            unchanged, left = (unchanged + 1 if now == left else 0), now


def _count(fleet: Fleet, statement: str) -> int:
    with closing(open_database(fleet.root / "db" / "shares" / f"{_BIG}.db", read_only=True).conn) as connection:
        (found,) = connection.execute(statement).fetchone()
        return int(found)


if __name__ == "__main__":
    main(sys.argv[1:])
