"""What `python -m bench` consists of: for each section the commands that make it up, at each scale, and how they are run.

A command is run as a process of its own, so that none is slower or larger for what ran before it; its figures come with its own
wall and CPU seconds, and with the words that alone repeat it.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.figure import Figure, Told

SCALES = ("tiny", "small", "full")


class SectionFailed(Exception):
    """A command of a section ended with an error; what the others found is kept."""


@dataclass(frozen=True, slots=True)
class Command:
    """A module of the bench and its arguments by scale."""

    module: str
    arguments: Mapping[str, str]

    def words(self, scale: str) -> list[str]:
        """Return the module's arguments at a scale."""
        return self.arguments[scale].split()

    def shown(self, scale: str) -> str:
        """Return what somebody types to repeat it."""
        return " ".join(["python -m", self.module, *self.words(scale)])


@dataclass(frozen=True, slots=True)
class Section:
    """Some commands, and which aims they are for."""

    aims: str
    commands: Sequence[Command]


def _one(aims: str, module: str, **arguments: str) -> Section:
    return Section(aims, [Command(module, arguments)])


def _writers(spread: str) -> Section:
    words = f"writers --spread {spread} --writes"
    sizes = {"tiny": f"{words} 500 --agents 2", "small": f"{words} 20000", "full": f"{words} 50000"}
    return Section(f"batched writes into {spread} chunks", [Command("bench.load", sizes)])


SECTIONS: Mapping[str, Section] = {
    "beside": _one(
        "baseline, restore and small changes beside restic, borg and rsync", "bench.beside",
        tiny="--scale tiny --runs 1", small="--scale small --runs 3", full="--scale full --runs 3",
    ),
    "flat": _one(
        "restoring ten times as much takes no more memory", "bench.flat",
        tiny="--megabytes 2", small="--megabytes 20", full="--megabytes 100",
    ),
    "same": _writers("same"),
    "distinct": _writers("distinct"),
    "branches": _one(
        "500 branches, 50 of them writing", "bench.load",
        tiny="branches --branches 4 --writing 2 --seconds 31",
        small="branches --branches 500 --writing 50 --seconds 65",
        full="branches --branches 500 --writing 50 --seconds 185",
    ),
    "million": _one(
        "snapshots, folders, versions and memory at a million files", "bench.million",
        tiny="--files 2000 --snapshots 5 --agents 2 --writes 500",
        small="--files 100000 --snapshots 100 --writes 10000",
        full="--files 1000000 --snapshots 500 --writes 50000",
    ),
    "held": _one(
        "acknowledgements during fold, snapshot, prune and collect", "bench.held",
        tiny="--files 1000 --snapshots 5 --backlog 500 --seconds 1",
        small="--files 100000 --snapshots 100 --backlog 20000 --seconds 20",
        full="--files 1000000 --snapshots 200 --backlog 50000 --seconds 60",
    ),
    "hot": _one("versions of one hot chunk", "bench.hot", tiny="--edits 12", small="--edits 200", full="--edits 200"),
    "differences": _one(
        "difference of two snapshots", "bench.differences",
        tiny="--files 500 --changes 20", small="--files 20000 --changes 100", full="--files 100000 --changes 1000",
    ),
    "find": Section(
        "finding a name",
        [
            Command("bench.find", {"tiny": "--names 2000 --rounds 1", "small": "--names 200000", "full": "--names 1000000"}),
            Command("bench.find", {
                "tiny": "--direct --names 2000 --rounds 1", "small": "--direct --names 1000000",
                "full": "--direct --names 10000000",
            }),
        ],
    ),
    "rebuild": _one(
        "rebuilding lost databases", "bench.rebuild",
        tiny="--versions 2000 --rounds 4", small="--versions 200000", full="--versions 1000000",
    ),
    "collect": Section(
        "memory of collect, and a run over many shares",
        [
            Command("bench.collect", {
                "tiny": "slope --millions 0.02 0.04", "small": "slope --millions 0.5 1 2", "full": "slope --millions 1 2 4 8",
            }),
            Command("bench.collect", {"tiny": "shares --shares 2 --files 50", "small": "shares --shares 50", "full": "shares"}),
        ],
    ),
}  # fmt: skip
"""In the order in which they are run: what everybody asks for first."""


def run_command(command: Command, scale: str, folder: Path | None) -> tuple[list[Figure], dict[str, Any]]:
    """Run a command and return its figures and what else it told; raise `SectionFailed`."""
    where = [] if folder is None else ["--folder", str(folder)]
    with tempfile.NamedTemporaryFile(suffix=".json") as told:
        words = [sys.executable, "-m", command.module, *command.words(scale), *where, "--figures", told.name]
        before, began = os.times(), time.perf_counter()
        ended = subprocess.run(words, stdout=subprocess.DEVNULL, check=False)
        wall, after = time.perf_counter() - began, os.times()
        if ended.returncode:
            raise SectionFailed(f"{command.shown(scale)} ended with {ended.returncode}")
        found = msgspec.json.decode(Path(told.name).read_bytes(), type=Told)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    took = {"command": command.shown(scale), "wall_seconds": wall, "cpu_seconds": cpu}
    return [msgspec.structs.replace(figure, **took) for figure in found.figures], found.more
