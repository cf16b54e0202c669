"""`python -m bench.beside`: baseline, small-change round and restore, Stagekeeper and its peers in turn: medians and ratios."""

import filecmp
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.corpus import SCALES, build_corpus, change_corpus
from bench.document import peers_table
from bench.figure import Figure, at_most, parser_of, reading, tell
from bench.measure import Measured, drop_caches
from bench.ours import Stagekeeper
from bench.peers import Borg, Candidate, Restic, Rsync, install_peers

_COMPARED = ("stagekeeper", "restic", "borg")
STEPS = ("baseline", "changes", "restore")
Results = dict[str, dict[str, list[float]]]
"""By candidate and by what was measured: one value a run."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run all candidates in turn, `--runs` times, and print a table."""
    parser = parser_of("bench.beside", __doc__)
    parser.add_argument("--scale", choices=sorted(SCALES), default="small")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args(arguments)
    install_peers()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="stagekeeper-bench-") as name:
        found = _run(Path(name), options.scale, options.runs)
    sys.stdout.write(peers_table(found) + "\n")
    tell(options, aims(found["results"]), found)


def aims(results: Results) -> list[Figure]:
    """Return what is aimed at beside the peers."""
    ours, restic, borg = ({key: statistics.median(runs) for key, runs in results[name].items()} for name in _COMPARED)
    largest = max(ours[f"{step} peak MB"] for step in STEPS)
    return [
        reading("baseline ÷ restic", ours["baseline s"] / restic["baseline s"], "×", at_most(0.7)),
        reading("baseline ÷ borg", ours["baseline s"] / borg["baseline s"], "×", at_most(0.8)),
        reading("wire for the round of small changes", ours["changes wire MB"], "MB", at_most(1.5)),
        reading("stored for the same, without the journal", ours["changes stored without journal MB"], "MB", at_most(1.0)),
        reading("stored for the same, with the journal, by du", ours["changes stored MB"], "MB"),
        reading("restore of everything ÷ restic", ours["restore s"] / restic["restore s"], "×", at_most(1.0)),
        reading("memory of the larger process in all three steps", largest, "MB", at_most(300)),
    ]


def _run(work: Path, scale: str, runs: int) -> dict[str, Any]:
    original = work / "original"
    files, size = build_corpus(original, SCALES[scale])
    results: dict[str, dict[str, list[float]]] = {}
    for run in range(runs):
        for make in (Stagekeeper, Restic, Borg, Rsync):
            candidate: Candidate = make()
            sys.stderr.write(f"run {run + 1}/{runs}: {candidate.name}\n")
            _one(candidate, work / f"{candidate.name}-{run}", original, results.setdefault(candidate.name, {}))
    return {"scale": scale, "files": files, "bytes": size, "cpus": os.cpu_count(), "runs": runs, "results": results}


def _one(candidate: Candidate, work: Path, original: Path, figures: dict[str, list[float]]) -> None:
    work.mkdir()
    source = work / "source"
    shutil.copytree(original, source, symlinks=True)
    try:
        candidate.begin(work)
        for step in ("baseline", "changes"):
            if step == "changes":
                change_corpus(source)
            drop_caches()
            before = candidate.stored_bytes()
            kept = candidate.stored_without_journal_bytes() if isinstance(candidate, Stagekeeper) else 0
            _note(figures, step, candidate.protect(source))
            figures.setdefault(f"{step} stored MB", []).append((candidate.stored_bytes() - before) / 1e6)
            if isinstance(candidate, Stagekeeper):
                grown = candidate.stored_without_journal_bytes() - kept
                figures.setdefault(f"{step} stored without journal MB", []).append(grown / 1e6)
                figures.setdefault(f"{step} wire MB", []).append(candidate.wire_bytes / 1e6)
        target = work / "restored"
        target.mkdir()
        drop_caches()
        _note(figures, "restore", candidate.restore(target))
        _compare(source, target)
    finally:
        candidate.end()
        shutil.rmtree(work)


def _note(figures: dict[str, list[float]], step: str, measured: Measured) -> None:
    figures.setdefault(f"{step} s", []).append(measured.wall_seconds)
    figures.setdefault(f"{step} CPU s", []).append(measured.cpu_seconds)
    figures.setdefault(f"{step} peak MB", []).append(measured.peak_mb)


def _compare(source: Path, restored: Path) -> None:
    """Every candidate must give everything back, or its time is worth nothing."""
    top = next(path for path in (restored, *restored.rglob("source")) if (path / "large.bin").exists())
    for path in source.rglob("*"):
        other = top / path.relative_to(source)
        if path.is_file() and not filecmp.cmp(path, other, shallow=False):
            raise SystemExit(f"{other} was not restored as it was")


if __name__ == "__main__":
    main(sys.argv[1:])
