"""`stagekeeper rebuild` and `verify-seal`: databases made again, and proof that they are what was sealed."""

from typing import Any

import click
import msgspec

from appliance.cli.call import Call, split_moment, with_call
from appliance.cli.failures import DAMAGED
from appliance.cli.late import load
from appliance.cli.printing import count, print_table, say


@click.command()
@with_call
def rebuild(call: Call) -> int | None:
    """Make all databases of the store again from packs and journals; the appliance must not run.

    The old ones are moved aside. A rebuild that was cut off goes on when it is started again.
    """
    with call.progress() as on_progress:
        report = load("appliance.rebuilding:rebuild")(call.root, lambda step: on_progress(msgspec.to_builtins(step)))
    document = msgspec.to_builtins(report)

    def show(found: Any) -> None:
        say(f"{count(found['chunks'], 'chunk')} in {count(found['packs'], 'pack')}; the old databases are in {found['aside']}")
        rows = (
            (row["share"], row["files"], row["snapshots"], row["folded_sequence"], row["error"] or "made again")
            for row in found["shares"]
        )
        print_table(("share", "files", "snapshots", "sequence", "state"), rows, numbers=("files", "snapshots", "sequence"))

    call.show(document, show)
    return DAMAGED if any(row["error"] for row in document["shares"]) else None


@click.command("verify-seal")
@click.argument("name", metavar="B/S")
@with_call
def verify_seal(call: Call, name: str) -> int | None:
    """Compare the catalogue of a share with its chain of seals."""
    with call.console() as console, call.progress() as on_progress:
        report = console.follow(f"shares/{split_moment(name)[0]}/verify-seal", {}, on_progress)

    def show(found: Any) -> None:
        verdict = "equals" if found["equal"] else "DIFFERS FROM"
        say(f"The catalogue {verdict} its {count(found['seals'], 'seal')} up to sequence {found['sequence']}: "
            f"{count(found['rows'], 'row')} compared")  # fmt: skip
        say(f"Head of the chain: {found['digest']}")
        for difference in found["differences"]:
            say(difference)

    call.show(report, show)
    return None if report["equal"] else DAMAGED
