"""`stagekeeper snapshot label|hold|release|delete|undelete`, `share policy` and `prune`: what stays, and for how long."""

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from appliance.cli.call import Call, split_moment, with_call
from appliance.cli.printing import local_time, print_table, say, size
from appliance.cli.share import share, snapshot


def _act(call: Call, name: str, number: int, verb: str, body: dict[str, Any], told: str) -> None:
    with call.console() as console:
        answer = console.ask("POST", f"shares/{split_moment(name)[0]}/snapshots/{number}/{verb}", body=body)
    call.show(answer, lambda row: say(told.format(**{**row, "drops": local_time(row["drops_at"]) if row["drops_at"] else ""})))


@snapshot.command()
@click.argument("name", metavar="B/S")
@click.argument("number", metavar="ID", type=int)
@click.argument("text", metavar="LABEL")
@with_call
def label(call: Call, name: str, number: int, text: str) -> None:
    """Give a snapshot another label."""
    _act(call, name, number, "label", {"label": text}, "Snapshot {id} is labelled")


@snapshot.command()
@click.argument("name", metavar="B/S")
@click.argument("number", metavar="ID", type=int)
@click.option("--name", "hold_name", default="hold", help="What the hold is known by; a snapshot may have several.")
@click.option("--reason", default="", help="Why it is to stay.")
@click.option("--until", metavar="TIME", help="When the hold ends by itself, like 2027-01-31T00:00:00Z.")
@with_call
def hold(call: Call, name: str, number: int, hold_name: str, reason: str, until: str | None) -> None:
    """Keep a snapshot, whatever the policy says."""
    _act(call, name, number, "hold", {"name": hold_name, "reason": reason, "until": until}, "Snapshot {id} is held")


@snapshot.command()
@click.argument("name", metavar="B/S")
@click.argument("number", metavar="ID", type=int)
@click.option("--name", "hold_name", default="hold", help="The hold to let go of.")
@with_call
def release(call: Call, name: str, number: int, hold_name: str) -> None:
    """Let go of a hold; the policy decides again."""
    _act(call, name, number, "release", {"name": hold_name}, "Snapshot {id} is released")


@snapshot.command()
@click.argument("name", metavar="B/S")
@click.argument("number", metavar="ID", type=int)
@with_call
def delete(call: Call, name: str, number: int) -> None:
    """Delete a snapshot; until it goes, `undelete` takes it back."""
    _act(call, name, number, "delete", {}, "Snapshot {id} goes after {drops}; take it back with `snapshot undelete`")


@snapshot.command()
@click.argument("name", metavar="B/S")
@click.argument("number", metavar="ID", type=int)
@with_call
def undelete(call: Call, name: str, number: int) -> None:
    """Take the deletion of a snapshot back."""
    _act(call, name, number, "undelete", {}, "Snapshot {id} stays")


@snapshot.command()
@click.argument("name", metavar="B/S")
@click.argument("first", metavar="ID", type=click.IntRange(0))
@click.argument("last", metavar="[LAST]", type=click.IntRange(0), required=False)
@with_call
def weigh(call: Call, name: str, first: int, last: int | None) -> None:
    """Tell what deleting a snapshot, or all from one to another, would free.

    What only the kept journal needs besides, or a restore that runs, is freed when that has ended.
    """
    with call.console() as console, call.progress() as on_progress:
        answer = console.follow(f"shares/{split_moment(name)[0]}/weigh", {"first": first, "last": last}, on_progress)

    def show(weight: Any) -> None:
        rows = ((row["id"], local_time(row["taken_at"]), size(row["alone_bytes"]), row["label"]) for row in weight["snapshots"])
        print_table(("id", "taken", "alone at most", "label"), rows, numbers=("id", "alone at most"))
        say(f"Deleting {'it' if len(weight['snapshots']) == 1 else 'them together'} frees {size(weight['frees_bytes'])}.")

    call.show(answer, show)


@share.command()
@click.argument("name", metavar="B/S")
@click.option("--set", "file", type=click.Path(path_type=Path, allow_dash=True), metavar="FILE",
              help="Replace the policy by the JSON document in FILE (- reads standard input).")  # fmt: skip
@with_call
def policy(call: Call, name: str, file: Path | None) -> None:
    """Show or replace the policy of a share: schedule, retention, thresholds, limits, quota."""
    path = f"shares/{split_moment(name)[0]}/policy"
    with call.console() as console:
        answer = console.ask("GET", path) if file is None else console.ask("PUT", path, body=_read_document(file))

    def show(document: Any) -> None:
        for line in msgspec.json.format(msgspec.json.encode(document), indent=2).decode().splitlines():
            say(line)

    call.show(answer, show)


@click.command()
@click.argument("name", metavar="[B/S]", required=False)
@click.option("--dry-run", is_flag=True, help="Only show what would be kept and dropped, and why.")
@with_call
def prune(call: Call, name: str | None, dry_run: bool) -> None:
    """Delete the snapshots that the policy does not keep; they go after its delay."""
    body = {"share": split_moment(name)[0] if name else None, "dry_run": dry_run}

    def show(answer: Any) -> None:
        rows = (
            (
                row["share"],
                row["snapshot"],
                "keep" if row["keep"] else "drop",
                size(row["frees_bytes"]),
                "; ".join(row["reasons"]),
            )
            for row in answer["decisions"]
        )
        print_table(("share", "snapshot", "decision", "frees at most", "why"), rows, numbers=("snapshot", "frees at most"))

    with call.console() as console:
        call.show(console.ask("POST", "prune", body=body), show)


def _read_document(file: Path) -> Any:
    try:
        data = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return msgspec.json.decode(data)
    except OSError as error:
        raise click.UsageError(f"{file} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{file} is no JSON: {error}") from error
