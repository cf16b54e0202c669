"""A figure: what was measured, what it is to reach, whether it does, and the command that alone repeats it.

The modules of the bench read their scenario's `Reading`s and hand them to `tell`, which prints them and, for whoever runs
them as one section of many, writes them to a file. Wall and CPU seconds of a figure are those of its whole command, with
everything that this started and waited for.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct


@dataclass(frozen=True, slots=True)
class Bound:
    """What a value is to reach."""

    limit: float
    is_floor: bool

    def is_kept_by(self, value: float) -> bool:
        """Tell whether a value reaches it."""
        return value >= self.limit if self.is_floor else value <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.is_floor else '≤'} {shown(self.limit)}"


def at_most(limit: float) -> Bound:
    """Return a bound that a value must not exceed."""
    return Bound(limit, False)


def at_least(limit: float) -> Bound:
    """Return a bound that a value must reach."""
    return Bound(limit, True)


class Figure(Struct, frozen=True):
    """One measured value; `aim` is empty and `is_kept` None where nothing is aimed at."""

    name: str
    value: float
    unit: str
    aim: str = ""
    is_kept: bool | None = None
    command: str = ""
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0


def reading(name: str, value: float, unit: str, bound: Bound | None = None) -> Figure:
    """Return a figure as a scenario finds it; the command and what it took are added by whoever ran it."""
    if bound is None:
        return Figure(name, value, unit)
    return Figure(name, value, unit, str(bound), bound.is_kept_by(value))


def of_times(name: str, seconds: Iterable[float], **bounds: Bound) -> list[Figure]:
    """Return p50, p95, p99 and the longest of some times in ms, each with its bound if one is given by that name."""
    ordered = sorted(seconds)
    if not ordered:
        raise SystemExit(f"{name}: nothing was timed")
    parts = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "longest": 1.0}
    return [
        reading(f"{name}, {word}", 1000 * ordered[min(int(len(ordered) * part), len(ordered) - 1)], "ms", bounds.get(word))
        for word, part in parts.items()
    ]


class Told(Struct):
    """What a command leaves for whoever runs it as a section; `more` goes into the document as it is."""

    figures: list[Figure]
    more: dict[str, Any] = {}


def parser_of(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that all commands of the bench have."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a temporary folder)")
    parser.add_argument("--figures", type=Path, default=None, help="also write the figures to this file (JSON)")
    return parser


def tell(options: argparse.Namespace, figures: list[Figure], more: dict[str, Any] | None = None) -> None:
    """Print figures and write them where the options say."""
    sys.stdout.write(figures_table(figures))
    sys.stdout.flush()
    if options.figures is not None:
        options.figures.write_bytes(msgspec.json.encode(Told(figures, more or {})))


def figures_table(figures: Sequence[Figure]) -> str:
    """Return figures as rows: what, value, aim, and whether it is kept."""
    lines = ["| figure | value | aim | |", "|---|---|---|---|"]
    for figure in figures:
        verdict = {True: "kept", False: "missed", None: ""}[figure.is_kept]
        lines.append(f"| {figure.name} | {quantity(figure)} | {figure.aim} | {verdict} |")
    return "\n".join(lines) + "\n"


def quantity(figure: Figure) -> str:
    """Return a figure's value with its unit, if it has one."""
    return f"{shown(figure.value)} {figure.unit}".rstrip()


def shown(value: float) -> str:
    """Return a number for people: whole ones from 100 on, with spaces between thousands; three digits below."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
