"""`stagekeeper find`: names over all moments, deleted ones too."""

from typing import Any

import click

from appliance.cli.call import Call, split_moment, with_call
from appliance.cli.failures import DIFFERENT
from appliance.cli.printing import local_time, print_table, say, size
from appliance.console import Query

_HITS_A_PAGE = 1000


@click.command()
@click.argument("text")
@click.option(
    "--share", "share", default="", metavar="B/S[@M]", help="Look in this share only; with @M at what stood at that moment."
)
@click.option("--deleted", is_flag=True, help="Find also what stands nowhere any more.")
@with_call
def find(call: Call, text: str, share: str, deleted: bool) -> int | None:
    """Find files and folders by a part of their name, upper and lower case alike."""
    shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")  # bytes that are no UTF-8 become \\xNN
    query: Query = {"text": shown, "deleted": "true" if deleted else "false"}
    query["limit"] = _HITS_A_PAGE
    if share:
        query["share"], query["at"] = split_moment(share)
    if deleted and query.get("at"):
        raise click.UsageError("what stood at a moment was not deleted: leave --deleted or the moment out")
    with call.console() as console:
        answer = console.ask_all("find", "found", query)
    call.show(answer, _print_found)
    return DIFFERENT if answer["not_searched"] else None


def _print_found(answer: Any) -> None:
    rows = (
        (
            row["share"],
            "deleted" if row["deleted"] else size(row["size_bytes"]) if row["kind"] == "file" else row["kind"],
            local_time(row["deleted_at"] or row["last_seen_at"]),
            row["snapshots"],
            row["path"],
        )
        for row in answer["found"]
    )
    print_table(("share", "size", "last there", "snapshots", "path"), rows, numbers=("size",))
    for share in answer["not_searched"]:
        say(f"{share['share']} was not searched: {share['why']}")
