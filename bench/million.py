"""`python -m bench.million`: a share of a million files with hundreds of snapshots, laid through frames and fold.

Prints how long a snapshot takes while another agent writes, how long a folder as of any snapshot and the versions of a file take
(asked over the control socket), and the memory of the serving process.
"""

import argparse
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from appliance.cli.late import open_locally
from appliance.console import Console, open_console
from appliance.settings import Environment
from bench.fleet import PLAIN, SHARE, Fleet, Sender
from bench.measure import peak_mb_of
from staging.changes import Change, Create, Kind, Mirror, SetAttributes, Write

_FILES_A_FOLDER = 500
_FOLDERS_A_FRAME = 20
_ASKED = 300


def main() -> None:
    """Lay the share, take the snapshots, ask."""
    parser = argparse.ArgumentParser(prog="python -m bench.million", description=__doc__)
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--snapshots", type=int, default=500)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="stagekeeper-million-") as name, ExitStack() as stack:
        fleet = Fleet(Path(name))
        stack.callback(fleet.end)
        sender = Sender(fleet.enrol("big"))
        folders = options.files // _FILES_A_FOLDER
        began = time.perf_counter()
        _lay(sender, folders)
        accepted = time.perf_counter() - began
        console = open_console(fleet.root, Environment(None, None), open_locally, stack)
        _wait_folded(console)
        folded = time.perf_counter() - began
        _say(f"{folders * _FILES_A_FOLDER} files laid: durable after {accepted:.1f} s, folded after {folded:.1f} s, "
             f"peak {peak_mb_of(fleet.server.pid):.0f} MB")  # fmt: skip
        _snapshots(console, sender, fleet, options.snapshots, folders)
        _questions(console, folders)
        _say(f"peak memory of the serving process {peak_mb_of(fleet.server.pid):.0f} MB")


def _lay(sender: Sender, folders: int) -> None:
    sender.send(sender.seal([b""], [Mirror(True)]))
    for first in range(0, folders, _FOLDERS_A_FRAME):
        paths: list[bytes] = []
        changes: list[Change] = []
        for folder in range(first, min(first + _FOLDERS_A_FRAME, folders)):
            paths.append(b"d%05d" % folder)
            changes.append(Create(len(paths) - 1, Kind.FOLDER, PLAIN))
            for file in range(_FILES_A_FOLDER):
                paths.append(b"d%05d/file %04d.txt" % (folder, file))
                changes.append(Create(len(paths) - 1, Kind.FILE, PLAIN))
        sender.send(sender.seal(paths, changes))
    sender.send(sender.seal([b""], [Mirror(False)]))


def _snapshots(console: Console, sender: Sender, fleet: Fleet, count: int, folders: int) -> None:
    """Take snapshots, each behind some changes, while another agent writes without a pause."""
    other = Sender(fleet.enrol("other"))
    other.begin(b"file")
    acknowledged: list[float] = []
    stopping = threading.Event()

    def write() -> None:
        chance = random.Random(1)
        while not stopping.is_set():
            frame = other.seal([b"file"], [Write(0, chance.randrange(10**7), chance.randbytes(150)) for _ in range(100)])
            began = time.perf_counter()
            other.send(frame)
            acknowledged.append(time.perf_counter() - began)

    writer = threading.Thread(target=write)
    writer.start()
    chance = random.Random(2)
    times = []
    for number in range(count):
        paths = [b"d%05d/file %04d.txt" % (chance.randrange(folders), chance.randrange(_FILES_A_FOLDER)) for _ in range(50)]
        changed = PLAIN.__class__(0o600 + number % 64, 0, 0, number)
        sender.send(sender.seal(paths, [SetAttributes(index, changed) for index in range(len(paths))]))
        began = time.perf_counter()
        console.ask("POST", f"shares/big/{SHARE}/snapshots", body={"label": f"number {number}"})
        times.append(time.perf_counter() - began)
    stopping.set()
    writer.join()
    _tell(f"snapshot, {count} taken", times)
    _tell("acknowledgement meanwhile", acknowledged)
    _wait_folded(console)


def _questions(console: Console, folders: int) -> None:
    chance = random.Random(3)
    ids = [row["id"] for row in console.ask_all(f"shares/big/{SHARE}/snapshots", "snapshots")["snapshots"]]

    def folder() -> None:
        query = {"at": str(chance.choice(ids)), "path": b"d%05d" % chance.randrange(folders), "limit": 1000}
        assert len(console.ask("GET", f"shares/big/{SHARE}/ls", query)["entries"]) == _FILES_A_FOLDER  # type: ignore[arg-type]

    def versions() -> None:
        path = b"d%05d/file %04d.txt" % (chance.randrange(folders), chance.randrange(_FILES_A_FOLDER))
        assert console.ask("GET", f"shares/big/{SHARE}/versions", {"path": path})["versions"]

    _tell(f"folder of {_FILES_A_FOLDER} as of one of {len(ids)} snapshots", _times(folder))
    _tell("versions of a file", _times(versions))


def _times(ask: Callable[[], None]) -> list[float]:
    times = []
    for _ in range(_ASKED):
        began = time.perf_counter()
        ask()
        times.append(time.perf_counter() - began)
    return times


def _wait_folded(console: Console) -> None:
    while True:
        row: Any = console.ask("GET", f"shares/big/{SHARE}")
        if row["folded_sequence"] == row["durable_sequence"]:
            return
        time.sleep(0.1)


def _tell(what: str, times: list[float]) -> None:
    times.sort()
    p50, p95 = (times[int(len(times) * part)] * 1000 for part in (0.5, 0.95))
    _say(f"{what}: p50 {p50:.1f} ms, p95 {p95:.1f} ms, longest {times[-1] * 1000:.1f} ms")


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
