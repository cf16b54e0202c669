"""`stagekeeper share|branch delete|undelete` and `purge`: what goes, and what comes back while there is time."""

import sys
from typing import Any

import click

from appliance.cli.branch import branch
from appliance.cli.call import Call, raw_path, split_moment, with_call
from appliance.cli.printing import count, local_time, say
from appliance.cli.share import share
from web.query import encode_token


def _act(call: Call, address: str, told: str) -> None:
    def show(row: Any) -> None:
        say(told.format(**{**row, "drops": local_time(row["drops_at"])}))

    with call.console() as console:
        call.show(console.ask("POST", address), show)


@share.command()
@click.argument("name", metavar="B/S")
@with_call
def delete(call: Call, name: str) -> None:
    """Delete a share with all its snapshots; until it goes, `undelete` takes it back."""
    told = "{share} goes after {drops}; take it back with `share undelete`"
    _act(call, f"shares/{split_moment(name)[0]}/delete", told)


@share.command()
@click.argument("name", metavar="B/S")
@with_call
def undelete(call: Call, name: str) -> None:
    """Take the deletion of a share back."""
    _act(call, f"shares/{split_moment(name)[0]}/undelete", "{share} stays")


@branch.command("delete")
@click.argument("name")
@with_call
def delete_branch(call: Call, name: str) -> None:
    """Delete a branch: it may send no more, and its shares go after their delay; until then `undelete` takes all back."""
    _act(call, f"branches/{name}/delete", "{name} may send no more; it goes after {drops}, take it back with `branch undelete`")


@branch.command("undelete")
@click.argument("name")
@with_call
def undelete_branch(call: Call, name: str) -> None:
    """Take the deletion of a branch back, with its shares and the credential that it had."""
    _act(call, f"branches/{name}/undelete", "{name} stays")


@click.command()
@click.argument("name", metavar="B/S")
@click.argument("path", metavar="PATH")
@click.option("--yes", is_flag=True, help="Do not ask; needed where nobody can be asked.")
@with_call
def purge(call: Call, name: str, path: str, yes: bool) -> None:
    """Remove a path, and all below it, from every snapshot of a share, at once and for good."""
    raw = raw_path(path)
    if not yes:
        _confirm(name, path)
    body = {"path_base64": encode_token(raw)}

    def show(row: Any) -> None:
        said = f"{row['share']}/{row['path']}: {count(row['names'], 'name')} and {count(row['versions'], 'version')} removed"
        say(f"{said}; the bytes are freed by collect after {local_time(row['freed_after'])}")
        if row["was_live"]:
            say("It stood in the live state: if it still stands on the branch, the agent's next look brings it back.")
        for barcode in row["cartridges"]:
            say(f"Cartridge {barcode} holds it still.")
        for barcode in row["cartridges_to_check"]:
            say(f"Cartridge {barcode} holds snapshots that are gone here, and may hold it.")

    with call.console() as console:
        call.show(console.ask("POST", f"shares/{split_moment(name)[0]}/purge", body=body), show)


def _confirm(name: str, path: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("a purge cannot be undone: say --yes")
    typed = click.prompt(f"This removes {name}/{path} from every snapshot, and cannot be undone. Type the path again", err=True)
    if typed != path:
        raise click.Abort
