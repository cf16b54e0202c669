"""`stagekeeper backup` and `recovery-key`: the appliance's own files in the store, and the key that opens them."""

import sys
from pathlib import Path
from typing import Any

import click

from appliance.cli.call import Call, with_call
from appliance.cli.group import Noun
from appliance.cli.late import load
from appliance.cli.printing import count, local_time, print_table, say, size

_GROUPS_A_LINE = 7


@click.group(cls=Noun)
def backup() -> None:
    """Backups of the appliance's own files, encrypted in the store."""


@backup.command()
@with_call
def run(call: Call) -> None:
    """Back up accounts, schedules, inventory, certificate, settings and audit log now; by itself it happens each night."""
    with call.console() as console, call.progress() as on_progress:
        taken = console.follow("backups", {}, on_progress)
    call.show(taken, lambda row: say(f"Backup {row['number']}: {size(row['size_bytes'])}, opened by recovery key {row['key']}"))


@backup.command("list")
@with_call
def list_backups(call: Call) -> None:
    """List the backups that are kept."""

    def show(found: Any) -> None:
        rows = ((row["number"], local_time(row["taken_at"]), size(row["size_bytes"]), row["key"]) for row in found["backups"])
        print_table(("backup", "taken", "size", "recovery key"), rows, numbers=("backup", "size"))

    with call.console() as console:
        call.show(console.ask_all("backups", "backups"), show)


@backup.command()
@click.argument("number", type=click.IntRange(min=1))
@with_call
def drop(call: Call, number: int) -> None:
    """Let a backup go that cannot be restored any more; one that can is refused."""
    with call.console() as console:
        dropped = console.ask("DELETE", f"backups/{number}")
    call.show(dropped, lambda row: say(f"Backup {row['number']} of {local_time(row['taken_at'])} is kept no more"))


@click.group("recovery-key", cls=Noun)
def recovery_key() -> None:
    """The key that opens backups of the appliance's own files."""


@recovery_key.command()
@with_call
def new(call: Call) -> None:
    """Make a recovery key in place of the one before, and show it this once; earlier backups need the earlier key."""
    with call.console() as console:
        made = console.ask("POST", "recovery-key")

    def show(answer: Any) -> None:
        say_recovery_key(answer["recovery_key"])
        say("Backups from now on are encrypted to it: take one with `stagekeeper backup run`")

    call.show(made, show)


def say_recovery_key(key: str) -> None:
    """Print a recovery key for people to write down."""
    say("Recovery key, shown this once. Write it down and keep it away from this machine: it opens the backups of accounts,")
    say("schedules and certificate when all databases are lost.")
    groups = key.split("-")
    for start in range(0, len(groups), _GROUPS_A_LINE):
        say("    " + "-".join(groups[start : start + _GROUPS_A_LINE]))


def read_key_file(file: Path) -> Any:
    """Return the recovery key in a file, or on standard input for `-`."""
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"cannot read a recovery key from {file}: {error}") from error
    return load("appliance.recovery_key:read_recovery_key")(text)


def say_own_files(report: Any) -> None:
    """Print what a rebuild did about the appliance's own files."""
    own = report["own_files"]
    if own is not None:
        say(f"Backup {own['number']} of {local_time(own['taken_at'])}: {count(len(own['restored']), 'file')} put back, "
            f"{len(own['kept'])} sound and left alone")  # fmt: skip
        for name in own["restored"]:
            say(f"  {name}")
    elif not report["accounts"]:
        say("The appliance's own database is missing: put it back with `stagekeeper rebuild --recovery-key-file F`")
