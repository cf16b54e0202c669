"""`stagekeeper branch`: who may send data."""

from typing import Any

import click

from appliance.cli.call import Call, with_call
from appliance.cli.printing import local_time, print_table, say


@click.group()
def branch() -> None:
    """Branch servers: add, list, revoke, delete."""


@branch.command()
@click.argument("name")
@with_call
def add(call: Call, name: str) -> None:
    """Make a branch and print the one-time code that its agent enrolls with."""

    def show(made: Any) -> None:
        say(f"Code for {made['name']}, good once, until {local_time(made['expires_at'])}:")
        say(f"  {made['code']}")
        say("On the branch server: stagekeeper-agent enroll https://THIS-HOST:PORT CODE")

    with call.console() as console:
        call.show(console.ask("POST", "branches", body={"name": name}), show)


@branch.command("list")
@with_call
def list_branches(call: Call) -> None:
    """List all branches."""
    with call.console() as console:
        call.show(console.ask_all("branches", "branches"), lambda found: _print(found["branches"]))


@branch.command()
@click.argument("name")
@with_call
def revoke(call: Call, name: str) -> None:
    """End a branch's right to send, at once; what it sent stays."""
    with call.console() as console:
        call.show(console.ask("POST", f"branches/{name}/revoke"), lambda row: _print([row]))


def _print(branches: list[dict[str, Any]]) -> None:
    rows = (
        (row["name"], row["state"], local_time(row["enrolled_at"]), local_time(row["last_seen_at"]), row["shares"])
        for row in branches
    )
    print_table(("branch", "state", "enrolled", "last seen", "shares"), rows, numbers=("shares",))
