"""`python -m bench.million`: a share of a million files with hundreds of snapshots, laid through frames and fold over TLS.

Tells how long a snapshot takes while another agent writes, how long a folder as of any snapshot and the versions of a file take
(asked over the control socket), those of files that were written into since the last snapshot, so that most of their versions
stand in the journal alone, and the memory of the serving process after eight agents wrote as fast as they could beside all that.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from appliance.console import Console
from bench.agents import at_once, send_writes, timed_send
from bench.figure import Figure, at_most, of_times, parser_of, reading, tell
from bench.fleet import PLAIN, SHARE, Fleet, Sender
from bench.measure import peak_mb_of
from staging.changes import Attributes, Change, Create, Kind, Mirror, SetAttributes, Write

_FILES_A_FOLDER = 500
_FOLDERS_A_FRAME = 20
_ASKED = 300
_BIG = f"big/{SHARE}"
_WRITTEN_FILES = 100
_WRITTEN_ROUNDS = 20  # so many versions of each of these files stand in the journal, all but the last in it alone
_WRITTEN_BYTES = 4000
_WRITERS_SPREAD_BYTES = 900_000_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Lay the share, take the snapshots, ask, write."""
    parser = parser_of("bench.million", __doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--snapshots", type=int, default=500)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--writes", type=int, default=50_000, help="by each of the agents")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="stagekeeper-million-") as name:
        fleet = Fleet(Path(name))
        try:
            found = _run(fleet, options)
        finally:
            fleet.end()
    tell(options, found)


def _run(fleet: Fleet, options: argparse.Namespace) -> list[Figure]:
    folders = options.files // _FILES_A_FOLDER
    files = folders * _FILES_A_FOLDER
    sender = Sender(fleet.enrol("big"))
    began = time.perf_counter()
    _lay(sender, folders)
    accepted = time.perf_counter() - began
    fleet.wait_folded(_BIG)
    folded = time.perf_counter() - began
    found = [
        reading(f"{files} files laid: durable after", accepted, "s"),
        reading(f"{files} files laid: folded after", folded, "s"),
    ]
    found += _snapshots(fleet, sender, options.snapshots, folders)
    found += _questions(fleet.console, folders)
    found += _journal_questions(fleet, sender, folders)
    quiet = peak_mb_of(fleet.server.pid)
    branches = [fleet.enrol(f"agent{number}") for number in range(options.agents)]
    at_once([partial(send_writes, one, options.writes, _WRITERS_SPREAD_BYTES, at) for at, one in enumerate(branches)])
    fleet.wait_folded(*(f"{branch.name}/{SHARE}" for branch in branches))
    what = f"memory of the serving process at {files} files"
    return [
        *found,
        reading(f"{what}, before {options.agents} agents write", quiet, "MB"),
        reading(f"{what}, {options.agents} agents writing", peak_mb_of(fleet.server.pid), "MB", at_most(300)),
    ]


def _path(folder: int, file: int) -> bytes:
    return b"d%05d/file %04d.txt" % (folder, file)


def _lay(sender: Sender, folders: int) -> None:
    sender.send(sender.seal([b""], [Mirror(True)]))
    for first in range(0, folders, _FOLDERS_A_FRAME):
        paths: list[bytes] = []
        changes: list[Change] = []
        for folder in range(first, min(first + _FOLDERS_A_FRAME, folders)):
            paths.append(b"d%05d" % folder)
            changes.append(Create(len(paths) - 1, Kind.FOLDER, PLAIN))
            for file in range(_FILES_A_FOLDER):
                paths.append(_path(folder, file))
                changes.append(Create(len(paths) - 1, Kind.FILE, PLAIN))
        sender.send(sender.seal(paths, changes))
    sender.send(sender.seal([b""], [Mirror(False)]))


def _snapshots(fleet: Fleet, sender: Sender, count: int, folders: int) -> list[Figure]:
    """Take snapshots, each behind some changes, while another agent writes without a pause."""
    other = Sender(fleet.enrol("other"))
    other.begin(b"file")
    acknowledged: list[float] = []
    stopping = threading.Event()

    def write() -> None:
        chance = random.Random(1)
        while not stopping.is_set():
            acknowledged.append(timed_send(other, chance, 100))

    writer = threading.Thread(target=write)
    writer.start()
    chance = random.Random(2)
    times = []
    for number in range(count):
        paths = [_path(chance.randrange(folders), chance.randrange(_FILES_A_FOLDER)) for _ in range(50)]
        changed = Attributes(0o600 + number % 64, 0, 0, number)
        sender.send(sender.seal(paths, [SetAttributes(index, changed) for index in range(len(paths))]))
        began = time.perf_counter()
        fleet.console.ask("POST", f"shares/{_BIG}/snapshots", body={"label": f"number {number}"})
        times.append(time.perf_counter() - began)
    stopping.set()
    writer.join()
    fleet.wait_folded(_BIG)
    return [
        *of_times(f"snapshot, {count} taken", times, p95=at_most(50)),
        *of_times("acknowledgement meanwhile", acknowledged, longest=at_most(100)),
    ]


def _questions(console: Console, folders: int) -> list[Figure]:
    chance = random.Random(3)
    ids = [row["id"] for row in console.ask_all(f"shares/{_BIG}/snapshots", "snapshots")["snapshots"]]

    def folder() -> None:
        query = {"at": str(chance.choice(ids)), "path": b"d%05d" % chance.randrange(folders), "limit": 1000}
        entries = console.ask("GET", f"shares/{_BIG}/ls", query)["entries"]  # type: ignore[arg-type]
        _check(len(entries) == _FILES_A_FOLDER, f"{len(entries)} entries in a folder of {_FILES_A_FOLDER}")

    def versions() -> None:
        path = _path(chance.randrange(folders), chance.randrange(_FILES_A_FOLDER))
        _check(bool(console.ask("GET", f"shares/{_BIG}/versions", {"path": path})["versions"]), f"no versions of {path!r}")

    of_folder = of_times(f"folder of {_FILES_A_FOLDER} as of one of {len(ids)} snapshots", _times(folder), p95=at_most(20))
    return of_folder + of_times("versions of a file", _times(versions), p95=at_most(20))


def _journal_questions(fleet: Fleet, sender: Sender, folders: int) -> list[Figure]:
    """Write into some files again and again without a snapshot, then ask for their versions."""
    chance = random.Random(4)
    files = [_path(chance.randrange(folders), number) for number in range(_WRITTEN_FILES)]
    for _ in range(_WRITTEN_ROUNDS):
        changes: list[Change] = [
            Write(index, chance.randrange(_WRITTEN_BYTES), chance.randbytes(150)) for index in range(len(files))
        ]
        sender.send(sender.seal(files, changes))
    fleet.wait_folded(_BIG)

    def versions() -> None:
        found = fleet.console.ask("GET", f"shares/{_BIG}/versions", {"path": chance.choice(files)})["versions"]
        alone = sum(1 for version in found[1:] if not version["snapshots"])
        _check(alone >= _WRITTEN_ROUNDS - 1, f"{alone} of {_WRITTEN_ROUNDS} versions of the journal were told")

    what = f"versions of a file, {_WRITTEN_ROUNDS - 1} of them in the journal alone"
    return of_times(what, _times(versions), p95=at_most(20))


def _check(is_so: bool, otherwise: str) -> None:
    if not is_so:
        raise SystemExit(otherwise)


def _times(ask: Callable[[], None]) -> list[float]:
    times = []
    for _ in range(_ASKED):
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    return times


if __name__ == "__main__":
    main(sys.argv[1:])
