"""`stagekeeper share|branch delete|undelete`: what goes after a delay, and comes back until then."""

from typing import Any

import click

from appliance.cli.branch import branch
from appliance.cli.call import Call, split_moment, with_call
from appliance.cli.printing import local_time, say
from appliance.cli.share import share


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
