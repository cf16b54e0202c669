"""`python -m bench.load`: what one appliance takes from many agents at once.

`writers`: eight agents send batched small writes, which meet in the same chunks or fall into distinct ones; told are the
writes that are accepted durably and those that are folded, from the first frame on, and the chunks that folding made.
`branches`: hundreds are enrolled and connected; some write a little all the time, the others poll as idle agents do.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from bench.agents import at_once, poll_idly, send_now_and_then, send_writes
from bench.figure import Figure, at_least, at_most, of_times, parser_of, reading, tell
from bench.fleet import SHARE, Fleet
from bench.measure import peak_mb_of

_SPREAD_BYTES = {"same": 1_000_000, "distinct": 900_000_000}
_STARVED = 0.5  # of what the median branch got


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one scenario."""
    parser = parser_of("bench.load", __doc__)
    parser.add_argument("scenario", choices=["writers", "branches"])
    parser.add_argument("--agents", type=int, default=8, help="writers: how many")
    parser.add_argument("--writes", type=int, default=100_000, help="writers: by each agent")
    parser.add_argument("--spread", choices=sorted(_SPREAD_BYTES), default="same", help="writers: which chunks they fall into")
    parser.add_argument("--branches", type=int, default=500, help="branches: how many are enrolled")
    parser.add_argument("--writing", type=int, default=50, help="branches: how many of them write")
    parser.add_argument("--seconds", type=float, default=60.0, help="branches: for how long")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="stagekeeper-load-") as name:
        fleet = Fleet(Path(name))
        try:
            found = (_writers if options.scenario == "writers" else _branches)(fleet, options)
            bound = at_most(300) if options.scenario == "writers" else None
            found.append(reading("peak memory of the serving process", peak_mb_of(fleet.server.pid), "MB", bound))
        finally:
            fleet.end()
    tell(options, found)


def _writers(fleet: Fleet, options: argparse.Namespace) -> list[Figure]:
    made = [fleet.enrol(f"agent{number}") for number in range(options.agents)]
    size = _SPREAD_BYTES[options.spread]
    seconds = max(at_once([partial(send_writes, branch, options.writes, size, number) for number, branch in enumerate(made)]))
    began = time.perf_counter()
    fleet.wait_folded(*(f"{branch.name}/{SHARE}" for branch in made))
    folded_seconds = time.perf_counter() - began + seconds
    total = options.agents * options.writes
    chunks = fleet.console.ask("GET", "stats")["chunks"]
    what = f"writes of {options.agents} agents into {options.spread} chunks"
    bounds = {"same": (at_least(50_000), None), "distinct": (None, at_least(2_000))}[options.spread]
    return [
        reading(f"{what}, accepted durably", total / seconds, "/s", at_least(200_000)),
        reading(f"{what}, folded", total / folded_seconds, "/s", bounds[0]),
        reading(f"chunks that folding made of {what} (nodes of recipes too)", chunks / folded_seconds, "/s", bounds[1]),
    ]


def _branches(fleet: Fleet, options: argparse.Namespace) -> list[Figure]:
    made = [fleet.enrol(f"branch{number}") for number in range(options.branches)]
    writing, idle = made[: options.writing], made[options.writing :]
    *found, polls = at_once(
        [
            *(partial(send_now_and_then, branch, options.seconds) for branch in writing),
            partial(poll_idly, idle, options.seconds),
        ]
    )
    what = f"acknowledgement, {options.branches} branches, {options.writing} writing"
    counts = sorted(len(each) for each in found)
    median = statistics.median(counts)
    figures = of_times(what, (seconds for each in found for seconds in each), p99=at_most(2_000))
    figures.append(reading("acknowledgements of the median branch", median, ""))
    figures.append(reading("acknowledgements of the branch with the fewest", counts[0], "", at_least(_STARVED * median)))
    if idle:
        figures += of_times(f"poll of {len(idle)} idle branches", (seconds for each in polls for seconds in each))
        figures.append(reading("polls of the idle branch with the fewest", min(map(len, polls)), "", at_least(1)))
    return figures


if __name__ == "__main__":
    main(sys.argv[1:])
