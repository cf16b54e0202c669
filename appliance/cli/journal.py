"""`stagekeeper journal`: how far back every instant can be read, and which bytes of a file changed when."""

from typing import Any

import click

from appliance.cli.call import Call, raw_path, split_moment, with_call
from appliance.cli.group import Noun
from appliance.cli.printing import local_time, print_table, say, size

_CHANGES_A_PAGE = 10_000


@click.group(cls=Noun)
def journal() -> None:
    """Journals."""


@journal.command("list")
@click.argument("share", metavar="B/S")
@with_call
def list_journal(call: Call, share: str) -> None:
    """List the segments of a share's journal, and the times whose every instant can be read."""

    def show(found: Any) -> None:
        rows = (
            (
                f"{row['first_sequence']}-{row['last_sequence']}" if row["changes"] else "",
                local_time(row["opened_at"]),
                local_time(row["closed_at"]),
                size(row["size_bytes"]),
                row["changes"],
            )
            for row in found["segments"]
        )
        print_table(("sequences", "opened", "closed", "size", "changes"), rows, numbers=("size", "changes"))
        window = found["window"]
        if window["from"] is not None:
            say(f"Every instant from {local_time(window['from'])} to {local_time(window['until'])} can be read")

    with call.console() as console:
        call.show(console.ask("GET", f"shares/{split_moment(share)[0]}/journal"), show)


@journal.command("show")
@click.argument("share", metavar="B/S")
@click.argument("path", type=raw_path, default="")
@with_call
def show_journal(call: Call, share: str, path: bytes) -> None:
    """Tell what happened to a path, newest last; each line's state can be read as B/S@seq:SEQUENCE."""

    def show(found: Any) -> None:
        rows = (
            (
                row["sequence"],
                local_time(row["at"]),
                row["what"],
                "" if row["offset"] is None else f"{row['offset']}+{row['length']}",
                "" if row["size_bytes"] is None else size(row["size_bytes"]),
                "" if row["path"] is None else row["path"] or "/",
            )
            for row in found["changes"]
        )
        print_table(("sequence", "at", "what", "bytes", "size", "path"), rows, numbers=("sequence", "bytes", "size"))

    query: dict[str, str | bytes | int] = {"path": path, "limit": _CHANGES_A_PAGE}
    with call.console() as console:
        call.show(console.ask_all(f"shares/{split_moment(share)[0]}/journal/changes", "changes", query), show)
