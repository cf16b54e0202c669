"""`stagekeeper share delete|undelete`: what goes after a delay, and comes back until then."""

from typing import Any

import click

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
