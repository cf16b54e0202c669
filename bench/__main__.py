"""`python -m bench`: baseline, small-change round and restore for Stagekeeper and its peers, as a table of medians and ratios."""

import argparse
import filecmp
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.corpus import SCALES, build_corpus, change_corpus
from bench.measure import Measured, drop_caches
from bench.ours import Stagekeeper
from bench.peers import Borg, Candidate, Restic, Rsync, install_peers

STEPS = ("baseline", "changes", "restore")


def main() -> None:
    """Run all candidates in turn, `--runs` times, and print a table (or JSON)."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--scale", choices=sorted(SCALES), default="small")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    install_peers()
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="stagekeeper-bench-") as name:
        figures = _run(Path(name), options.scale, options.runs)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    sys.stdout.write(table(figures))


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


def table(figures: dict[str, Any]) -> str:
    """Return a run's figures as they stand in docs/benchmarks.md: medians, and our ratio to restic and borg."""
    results: dict[str, dict[str, list[float]]] = figures["results"]
    megabytes = figures["bytes"] / 1e6
    names = list(results)
    lines = [
        f"{figures['files']} files, {megabytes:.0f} MB, {figures['cpus']} CPUs, median of {figures['runs']}",
        "",
        "| | " + " | ".join(names) + " | ours ÷ restic | ours ÷ borg |",
        "|---|" + "---|" * (len(names) + 2),
    ]
    for key in results["stagekeeper"]:
        medians = {name: statistics.median(results[name][key]) for name in names if key in results[name]}
        cells = [f"{medians[name]:.1f}" if name in medians else "" for name in names]
        ratios = [f"{medians['stagekeeper'] / medians[peer]:.2f}" if medians.get(peer) else "" for peer in ("restic", "borg")]
        lines.append(f"| {key} | " + " | ".join([*cells, *ratios]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
