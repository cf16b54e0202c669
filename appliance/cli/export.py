"""`stagekeeper export`: static snapshots to cartridges."""

import os
import secrets
import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from appliance.cli.call import Call, named_place, with_call
from appliance.cli.failures import DAMAGED, DIFFERENT, plain
from appliance.cli.group import Noun
from appliance.cli.printing import count, print_table, say, size, write_raw
from appliance.places import place_of


@click.group(cls=Noun)
def export() -> None:
    """Exports to cartridges."""


@export.command()
@click.argument("sources", nargs=-1, required=True, metavar="B/S[@M]…")
@click.option(
    "--to",
    "target",
    required=True,
    callback=named_place,
    metavar="DIR|-",
    help="Where cartridges are written; - streams one tar.",
)
@click.option("--kind", type=click.Choice(["full", "differential", "incremental"]), default="full")
@with_call
def run(call: Call, sources: tuple[str, ...], target: str, kind: str) -> int | None:
    """Export snapshots, read them back, and report."""
    if target == "-":
        return _stream(call, list(sources))
    folder = Path(os.path.abspath(target))
    body = {"sources": list(sources), "to": str(folder), "kind": kind, "seen": place_of(folder)}
    with call.console() as console, call.progress() as on_progress:
        report = console.follow("exports", body, on_progress)
    call.show(report, _print_report)
    if not report["verified"]:
        return DAMAGED
    return DIFFERENT if report.get("not_exported") else None


def _stream(call: Call, sources: list[str]) -> int | None:
    """Write the archive to standard output; what it does not hold is told on the other."""
    name = secrets.token_hex(16)
    with call.console() as console:
        write_raw(console.pieces("POST", "exports/stream", body={"sources": sources, "name": name}))
        report = console.ask("GET", f"exports/stream/{name}")
    missed = report.get("not_exported", [])
    if missed and call.as_json:
        sys.stderr.write(msgspec.json.encode({"not_exported": missed}).decode() + "\n")
    elif missed:
        sys.stderr.write("".join(plain(_not_exported(row)) + "\n" for row in missed))
    return DIFFERENT if missed else None


def _print_report(report: Any) -> None:
    verified = "read back and verified" if report["verified"] else "NOT VERIFIED"
    say(f"Set {report['set']}: {count(report['members'], 'member')}, {size(report['bytes'])}, {verified}")
    rows = ((row["sequence"], row["barcode"], size(row["size_bytes"]), row["path"]) for row in report["cartridges"])
    print_table(("sequence", "barcode", "size", "path"), rows, numbers=("sequence", "size"))
    for row in report.get("not_exported", []):
        say(_not_exported(row))


def _not_exported(row: dict[str, str]) -> str:
    return "not exported: " + ", ".join(f"{name} {value}" for name, value in row.items())
