"""`stagekeeper ls`, `cat`, `versions` and `restore`: looking at files as they were, and taking them back."""

import base64
import os
from pathlib import Path
from typing import Any

import click

from appliance.cli.call import Call, named_place, raw_path, split_moment, with_call
from appliance.cli.failures import DIFFERENT
from appliance.cli.printing import count, local_time, local_time_ns, print_table, say, size, write_raw
from appliance.console import Query
from appliance.places import place_of

_ENTRIES_A_PAGE = 10_000
_KINDS = {"folder": "d", "file": "-", "symlink": "l", "fifo": "p"}


@click.command()
@click.argument("share", metavar="B/S[@M]")
@click.argument("path", type=raw_path, default="")
@with_call
def ls(call: Call, share: str, path: bytes) -> None:
    """List a folder as of a moment."""
    name, moment = split_moment(share)
    query: Query = {"at": moment, "path": path, "limit": _ENTRIES_A_PAGE}
    with call.console() as console:
        call.show(console.ask_all(f"shares/{name}/ls", "entries", query), _print_entries)


@click.command()
@click.argument("share", metavar="B/S[@M]")
@click.argument("path", type=raw_path)
@with_call
def cat(call: Call, share: str, path: bytes) -> None:
    """Write a file's bytes to standard output."""
    name, moment = split_moment(share)
    with call.console() as console:
        write_raw(console.download(f"shares/{name}/cat", {"at": moment, "path": path}))


@click.command()
@click.argument("share", metavar="B/S[@M]")
@click.argument("path", type=raw_path)
@with_call
def versions(call: Call, share: str, path: bytes) -> None:
    """List all versions of what stands or stood at a path (up to moment M), newest first.

    One without snapshots stands in the journal alone: `cat B/S@seq:SEQUENCE PATH` gives its bytes.
    """
    name, moment = split_moment(share)

    def show(found: Any) -> None:
        rows = (
            (
                row["sequence"],
                local_time(row["changed_at"]),
                "deleted" if row["deleted"] else size(row["size_bytes"]),
                row["snapshots"] or ("between snapshots" if number else ""),
                row["path"],
            )
            for number, row in enumerate(found["versions"])
        )
        print_table(("sequence", "changed", "size", "snapshots", "path"), rows, numbers=("sequence", "size"))

    with call.console() as console:
        call.show(console.ask_all(f"shares/{name}/versions", "versions", {"path": path, "at": moment}), show)


@click.command()
@click.argument("share", metavar="B/S[@M]")
@click.argument("path", type=raw_path, default="")
@click.option(
    "--to", "target", required=True, callback=named_place, metavar="DIR", help="The directory that becomes the share's root."
)
@click.option("--overwrite", is_flag=True, help="Restore also into a directory that is not empty.")
@with_call
def restore(call: Call, share: str, path: bytes, target: str, overwrite: bool) -> int | None:
    """Restore a share, folder or file into a directory of this machine."""
    name, moment = split_moment(share)
    body = {
        "at": moment,
        "path_base64": base64.b64encode(path).decode(),
        "to": os.path.abspath(target),
        "overwrite": overwrite,
        "seen": place_of(Path(os.path.abspath(target))),
    }
    with call.console() as console, call.progress() as on_progress:
        report = console.follow(f"shares/{name}/restore", body, on_progress)
    call.show(report, _print_report)
    return DIFFERENT if report["not_applied"] else None


def _print_entries(found: Any) -> None:
    rows = (
        (
            f"{_KINDS.get(entry['kind'], '?')}{entry['mode']}",
            entry["uid"],
            entry["gid"],
            size(entry["size_bytes"]) if entry["kind"] == "file" else "",
            local_time_ns(entry["mtime_ns"]),
            entry["name"] + (f" -> {entry['target']}" if entry.get("target") is not None else ""),
        )
        for entry in found["entries"]
    )
    print_table(("mode", "uid", "gid", "size", "changed", "name"), rows, numbers=("uid", "gid", "size"))


def _print_report(report: Any) -> None:
    say(f"Restored {count(report['files'], 'file')}, {size(report['bytes'])}")
    if report["not_applied"]:
        say(f"{count(len(report['not_applied']), 'thing')} could not be applied:")
        print_table(("path", "what", "why"), ((row["path"], row["what"], row["why"]) for row in report["not_applied"]))
