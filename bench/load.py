"""`python -m bench.load`: what one appliance takes from many agents at once; prints each figure with what it was measured on."""

import argparse
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.fleet import Branch, Fleet, Sender
from bench.measure import peak_mb_of
from staging.changes import Change, Write

WRITE_BYTES = 150
_FRAME_CHANGES = 10_000
_SPREAD_BYTES = {"same chunks": 1_000_000, "distinct chunks": 900_000_000}


def main() -> None:
    """Run the scenarios that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    parser.add_argument("scenario", choices=["writers", "branches"], nargs="*", default=["writers", "branches"])
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--writes", type=int, default=100_000, help="by each agent")
    parser.add_argument("--branches", type=int, default=500)
    parser.add_argument("--writing", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    for scenario in options.scenario:
        with tempfile.TemporaryDirectory(prefix="stagekeeper-load-") as name:
            (writers if scenario == "writers" else branches)(Path(name), options)


def writers(folder: Path, options: argparse.Namespace) -> None:
    """Measure batched small writes: accepted durably, then folded."""
    for spread, size in _SPREAD_BYTES.items():
        folder_here = folder / spread.replace(" ", "-")
        folder_here.mkdir()
        fleet = Fleet(folder_here)
        try:
            made = [fleet.enrol(f"agent{number}") for number in range(options.agents)]
            arguments = [(branch, options.writes, size, number) for number, branch in enumerate(made)]
            seconds = max(_at_once(_send_writes, arguments))
            total = options.agents * options.writes
            began = time.perf_counter()
            _wait_folded(fleet, made)
            folded = time.perf_counter() - began + seconds
            _say(f"{options.agents} agents, {total} writes of {WRITE_BYTES} bytes, {spread}: "
                 f"accepted {total / seconds:,.0f}/s, folded {total / folded:,.0f}/s, "
                 f"peak {peak_mb_of(fleet.server.pid):.0f} MB")  # fmt: skip
        finally:
            fleet.end()


def branches(folder: Path, options: argparse.Namespace) -> None:
    """Measure how long acknowledgements take while many branches write a little."""
    fleet = Fleet(folder)
    try:
        made = [fleet.enrol(f"branch{number}") for number in range(options.branches)]
        arguments = [(branch, options.seconds) for branch in made[: options.writing]]
        found = _at_once(_send_now_and_then, arguments)
        times = sorted(seconds for each in found for seconds in each)
        fewest = min(len(each) for each in found)
        _say(f"{options.branches} branches, {options.writing} writing for {options.seconds:.0f} s: "
             f"{len(times)} acknowledgements, p50 {_at(times, 0.5) * 1000:.0f} ms, "
             f"p99 {_at(times, 0.99) * 1000:.0f} ms, longest {times[-1] * 1000:.0f} ms, "
             f"fewest of one branch {fewest}, peak {peak_mb_of(fleet.server.pid):.0f} MB")  # fmt: skip
    finally:
        fleet.end()


def _send_writes(branch: Branch, writes: int, size: int, seed: int, ready: Callable[[], None]) -> float:
    chance = random.Random(seed)
    sender = Sender(branch)
    sender.begin(b"file")
    frames = []
    for first in range(0, writes, _FRAME_CHANGES):
        count = min(_FRAME_CHANGES, writes - first)
        changes: list[Change] = [Write(0, chance.randrange(size), chance.randbytes(WRITE_BYTES)) for _ in range(count)]
        frames.append(sender.seal([b"file"], changes))
    ready()
    began = time.perf_counter()
    for frame in frames:
        sender.send(frame)
    return time.perf_counter() - began


def _send_now_and_then(branch: Branch, seconds: float, ready: Callable[[], None]) -> list[float]:
    chance = random.Random(branch.name)
    sender = Sender(branch)
    sender.begin(b"file")
    ready()
    times = []
    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        frame = sender.seal([b"file"], [Write(0, chance.randrange(10_000_000), chance.randbytes(WRITE_BYTES)) for _ in range(10)])
        began = time.perf_counter()
        sender.send(frame)
        times.append(time.perf_counter() - began)
        time.sleep(0.1)
    return times


def _at_once(work: Callable[..., Any], arguments: list[tuple[Any, ...]]) -> list[Any]:
    """Run the work in a process for each set of arguments; all begin together once each of them is ready."""
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(len(arguments))
    answers: Any = context.SimpleQueue()

    def one(values: tuple[Any, ...]) -> None:
        answers.put(work(*values, barrier.wait))

    processes = [context.Process(target=one, args=(values,)) for values in arguments]
    for process in processes:
        process.start()
    found = [answers.get() for _ in processes]
    for process in processes:
        process.join()
    return found


def _wait_folded(fleet: Fleet, made: list[Branch]) -> None:
    while True:
        rows = fleet.ask("share", "list")["shares"]
        if len(rows) >= len(made) and all(row["folded_sequence"] == row["durable_sequence"] for row in rows):
            return
        time.sleep(0.1)


def _at(times: list[float], part: float) -> float:
    return times[min(int(len(times) * part), len(times) - 1)]


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
