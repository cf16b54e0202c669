"""`stagekeeper audit`: who did what."""

from typing import Any

import click

from appliance.cli.call import Call, with_call
from appliance.cli.failures import DAMAGED
from appliance.cli.group import Noun
from appliance.cli.printing import local_time, print_table, say
from appliance.console import Query
from web.audit_words import details_words


@click.group(cls=Noun)
def audit() -> None:
    """The audit log."""


@audit.command("list")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000), help="How many entries.")
@click.option("--before", type=click.IntRange(1), help="Only entries before this sequence.")
@with_call
def list_audit(call: Call, limit: int, before: int | None) -> None:
    """List entries, newest first."""
    query: Query = {"limit": limit}
    if before is not None:
        query["before"] = before

    def show(found: Any) -> None:
        rows = (
            (
                row["sequence"],
                local_time(row["at"]),
                row["account"],
                row["address"],
                row["action"],
                row["what"],
                row["outcome"],
                details_words(row["details"]),
            )
            for row in found["audit"]
        )
        print_table(("no.", "time", "account", "address", "action", "what", "outcome", "details"), rows, numbers=("no.",))

    with call.console() as console:
        call.show(console.ask("GET", "audit", query), show)


@audit.command()
@with_call
def verify(call: Call) -> int | None:
    """Check every entry and the chain through all of them."""

    def show(row: Any) -> None:
        if row["intact"]:
            say(f"all {row['entries']} entries are intact; the chain ends with {row['head']}")
        else:
            bad = row["first_bad"]
            say(f"DAMAGED at entry {bad['sequence']} ({bad['file']}, byte {bad['offset']}): {bad['reason']}")

    with call.console() as console:
        answer = console.ask("GET", "audit/verify")
    call.show(answer, show)
    return None if answer["intact"] else DAMAGED
