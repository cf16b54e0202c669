"""What a run of the bench leaves: one JSON document, written anew after each section, and its tables.

Its fields `scale`, `files`, `bytes`, `cpus`, `runs` and `results` are those of the comparison with the peers, which was all that
the documents of earlier releases held: they are read as they are. `sections` holds the figures with their aims.
"""

import json
import os
import platform
import statistics
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from bench.figure import Figure, quantity, shown

Document = dict[str, Any]


def new_document(scale: str) -> Document:
    """Return the document of a run that begins."""
    return {"scale": scale, "cpus": os.cpu_count(), "machine": platform.platform(), "python": platform.python_version()}


def read_document(path: Path, scale: str) -> Document:
    """Return the document of an earlier run at this scale to go on with, a new one if there is none."""
    if not path.exists():
        return new_document(scale)
    found: Document = json.loads(path.read_bytes())
    if found["scale"] != scale:
        raise SystemExit(f"{path} is of a run at scale {found['scale']}; give another file with --json")
    return found


def write_document(path: Path, document: Document) -> None:
    """Replace the file as a whole: whoever interrupts the bench keeps what there was."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(document, indent=1) + "\n")
    beside.replace(path)


def note_section(document: Document, name: str, figures: list[Figure], failures: list[str], load: float) -> None:
    """Put a section in, in place of what an earlier run found; `load` is the machine's from before it."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    document.setdefault("sections", {})[name] = {
        "ended": now, "load_before": load, "failures": failures, "figures": msgspec.to_builtins(figures),
    }  # fmt: skip


def tables(document: Document) -> str:
    """Return all that a document shows, as it stands in docs/benchmarks.md."""
    parts = []
    if "results" in document:
        parts.append(peers_table(document))
    if document.get("sections"):
        parts.append(_sections_table(document))
    return "\n".join(parts)


def peers_table(document: Document) -> str:
    """Return the comparison with the peers: medians, and our ratio to restic and borg."""
    results: dict[str, dict[str, list[float]]] = document["results"]
    megabytes = document["bytes"] / 1e6
    names = list(results)
    lines = [
        f"{document['files']} files, {megabytes:.0f} MB, {document['cpus']} CPUs, median of {document['runs']}",
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


def _sections_table(document: Document) -> str:
    return "\n".join([f"Scale {document['scale']}, {document['cpus']} CPUs", "", *_section_lines(document)]) + "\n"


def _section_lines(document: Document) -> Iterator[str]:
    yield "| section | figure | value | aim | |"
    yield "|---|---|---|---|---|"
    commands: dict[str, Figure] = {}
    failures = []
    for name, section in document["sections"].items():
        failures += [f"{name}: {failure}" for failure in section["failures"]]
        for figure in msgspec.convert(section["figures"], list[Figure]):
            commands.setdefault(figure.command, figure)
            verdict = {True: "kept", False: "missed", None: ""}[figure.is_kept]
            yield f"| {name} | {figure.name} | {quantity(figure)} | {figure.aim} | {verdict} |"
    yield ""
    yield "| command | wall s | CPU s |"
    yield "|---|---|---|"
    for command, figure in commands.items():
        yield f"| `{command}` | {shown(figure.wall_seconds)} | {shown(figure.cpu_seconds)} |"
    yield from (f"\nFAILED: {failure}" for failure in failures)
