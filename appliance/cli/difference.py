"""`stagekeeper snapshot diff`: what changed between two moments of a share."""

from typing import Any

import click

from appliance.cli.call import Call, split_moment, with_call
from appliance.cli.failures import DIFFERENT
from appliance.cli.printing import count, print_table, say, size


@click.command()
@click.argument("name", metavar="B/S")
@click.argument("before", metavar="A")
@click.argument("after", metavar="[B]", default="")
@with_call
def diff(call: Call, name: str, before: str, after: str) -> int | None:
    """Show what changed from moment A to moment B; exit code 5 when anything did.

    Moments are written as behind B/S@: a snapshot's ID or latest, a time, seq:N. Without B, or for a lone @, the live state.
    """
    if not before.removeprefix("@") and not after.removeprefix("@"):
        raise click.UsageError("name a moment to compare the live state with, like @latest")
    query: dict[str, str | bytes | int] = {"from": before.removeprefix("@"), "to": after.removeprefix("@")}
    path = f"shares/{split_moment(name)[0]}/diff"
    with call.console() as console:
        answer = console.ask("GET", path, query)
        following = answer["next"]
        while following is not None:
            page = console.ask("GET", path, {**query, "after": following})
            answer["differences"] += page["differences"]
            answer["summary"], following = page["summary"], page["next"]
    answer["next"] = None
    call.show(answer, _show)
    return DIFFERENT if answer["differences"] else None


def _show(answer: Any) -> None:
    rows = ((row["what"], _path(row), row["kind"], _bytes(row)) for row in answer["differences"])
    print_table(("what", "path", "kind", "bytes"), rows, numbers=("bytes",))
    total = answer["summary"]
    say(
        f"{total['added']} added ({size(total['added_bytes'])}), {total['removed']} removed ({size(total['removed_bytes'])}), "
        f"{total['renamed']} renamed, {total['changed']} changed ({size(total['different_bytes'])} different), "
        f"{count(total['attributes'], 'change')} of attributes only"
    )


def _path(row: Any) -> str:
    path = row["path"] or "/"
    return f"{row['path_before']} -> {path}" if row.get("path_before") is not None else path


def _bytes(row: Any) -> str:
    if row["what"] == "changed":
        different = "?" if row["different_bytes"] is None else size(row["different_bytes"])
        return f"{size(row['size_before_bytes'])} -> {size(row['size_bytes'])}, {different} different"
    return "" if row["what"] in ("renamed", "attributes") else size(max(row["size_bytes"], row["size_before_bytes"]))
