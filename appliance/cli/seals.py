"""`stagekeeper rebuild` and `verify-seal`: databases made again, and proof that they are what was sealed."""

from pathlib import Path
from typing import Any

import click
import msgspec

from appliance.cli.backup import read_key_file, say_own_files
from appliance.cli.call import Call, split_moment, with_call
from appliance.cli.failures import DAMAGED
from appliance.cli.late import load
from appliance.cli.printing import count, print_table, say


@click.command()
@click.option("--recovery-key-file", type=click.Path(path_type=Path, allow_dash=True), metavar="F",
              help="Put the appliance's own files back too, from a backup that the recovery key in F opens.")  # fmt: skip
@click.option("--backup", "number", type=int, metavar="N", help="The backup to use instead of the newest.")
@click.option("--overwrite", is_flag=True, help="Put back what is sound as well.")
@with_call
def rebuild(call: Call, recovery_key_file: Path | None, number: int | None, overwrite: bool) -> int | None:
    """Make all databases of the store again from packs and journals; the appliance must not run.

    The old ones are moved aside. A rebuild that was cut off goes on when it is started again.
    """
    recovery = None
    if recovery_key_file is not None:
        recovery = load("appliance.rebuilding:Recovery")(read_key_file(recovery_key_file), number, overwrite)
    elif number is not None or overwrite:
        raise click.UsageError("--backup and --overwrite need --recovery-key-file")
    with call.progress() as on_progress:
        report = load("appliance.rebuilding:rebuild")(call.root, lambda step: on_progress(msgspec.to_builtins(step)), recovery)
    document = msgspec.to_builtins(report)

    def show(found: Any) -> None:
        say(f"{count(found['chunks'], 'chunk')} in {count(found['packs'], 'pack')}; the old databases are in {found['aside']}")
        say_own_files(found)
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
