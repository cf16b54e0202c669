"""`stagekeeper share`, `snapshot` and `stats`: what is protected, and how well."""

from typing import Any

import click

from appliance.cli.call import Call, split_moment, with_call
from appliance.cli.group import Noun
from appliance.cli.printing import count, local_time, print_facts, print_table, say, size


@click.group(cls=Noun)
def share() -> None:
    """Shares."""


@share.command("list")
@with_call
def list_shares(call: Call) -> None:
    """List all shares."""

    def show(found: Any) -> None:
        rows = (
            (row["share"], row["state"], f"{row['lag_seconds']:.0f} s", row["files"], size(row["logical_bytes"]))
            for row in found["shares"]
        )
        print_table(("share", "state", "lag", "files", "size"), rows, numbers=("lag", "files", "size"))

    with call.console() as console:
        call.show(console.ask_all("shares", "shares"), show)


@share.command()
@click.argument("name", metavar="B/S")
@with_call
def status(call: Call, name: str) -> None:
    """Show the state of one share."""

    def show(row: Any) -> None:
        facts = {key: value for key, value in row.items() if key not in ("logical_bytes", "reason")}
        print_facts({**facts, "logical_bytes": size(row["logical_bytes"]), "reason": row["reason"]})

    with call.console() as console:
        call.show(console.ask("GET", f"shares/{split_moment(name)[0]}"), show)


@click.group(cls=Noun)
def snapshot() -> None:
    """Snapshots."""


@snapshot.command()
@click.argument("name", metavar="B/S")
@click.option("--label", default="", help="What the snapshot is to be known by.")
@with_call
def create(call: Call, name: str, label: str) -> None:
    """Take a snapshot now."""
    with call.console() as console:
        taken = console.ask("POST", f"shares/{split_moment(name)[0]}/snapshots", body={"label": label})
        call.show(taken, lambda row: say(f"Snapshot {row['id']} of {name} at sequence {row['sequence']}, {row['state']}"))


@snapshot.command("list")
@click.argument("name", metavar="B/S")
@with_call
def list_snapshots(call: Call, name: str) -> None:
    """List the snapshots of a share by sequence."""

    def show(found: Any) -> None:
        rows = (
            (
                *(row["id"], row["sequence"], local_time(row["taken_at"]), row["label"], row["trigger"], row["state"]),
                *("" if row["files"] is None else row["files"], _size_or_nothing(row["logical_bytes"])),
                "; ".join(_hold_words(hold) for hold in row["holds"]),
            )
            for row in found["snapshots"]
        )
        columns = ("id", "sequence", "taken", "label", "trigger", "state", "files", "size", "held")
        print_table(columns, rows, numbers=("id", "sequence", "files", "size"))

    with call.console() as console:
        call.show(console.ask_all(f"shares/{split_moment(name)[0]}/snapshots", "snapshots"), show)


def _hold_words(hold: dict[str, str | None]) -> str:
    """Return a hold in words: its name, whose it is, until when it lasts and why."""
    until = f" until {local_time(hold['expires_at'])}" if hold["expires_at"] else ""
    return f"{hold['name']} ({hold['owner']}){until}" + (f": {hold['reason']}" if hold["reason"] else "")


def _size_or_nothing(size_bytes: int | None) -> str:
    return "" if size_bytes is None else size(size_bytes)


@click.command()
@with_call
def stats(call: Call) -> None:
    """Show how much is protected, and what it takes."""

    def show(row: Any) -> None:
        facts: dict[str, object] = {name: size(value) for name, value in row.items() if name.endswith("_bytes")}
        print_facts({**facts, "full_at": local_time(row["full_at"]) or "not in sight"})
        if row["branches"]:
            columns = ("branch", "stored", "size", "quota")
            sizes = ("stored_bytes", "logical_bytes", "quota_bytes")
            rows = ((each["branch"], *(_size_or_nothing(each[what]) for what in sizes)) for each in row["branches"])
            print_table(columns, rows, numbers=columns[1:])
        say(f"{count(row['chunks'], 'chunk')} in {count(row['packs'], 'pack')}")

    with call.console() as console:
        call.show(console.ask("GET", "stats"), show)
