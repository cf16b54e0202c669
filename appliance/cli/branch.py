"""`stagekeeper branch`: who may send data."""

import re
from decimal import Decimal
from typing import Any

import click

from appliance.cli.call import Call, with_call
from appliance.cli.group import Noun
from appliance.cli.printing import local_time, print_table, say, size

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGT]i?)?B?")


def _read_quota(context: click.Context, parameter: click.Parameter, text: str) -> int | None:
    """Return the bytes that a size means, None for `none`."""
    found = _SIZE.fullmatch(text)
    if text == "none":
        return None
    if found is None:
        raise click.BadParameter(f"not a size: {text} (write it like 500G, 2Ti or none)")
    number, unit = found.groups()
    base = 1024 if unit and unit.endswith("i") else 1000
    return int(Decimal(number) * base ** (" KMGT".index(unit[0]) if unit else 0))


@click.group(cls=Noun)
def branch() -> None:
    """Branch servers."""


@branch.command()
@click.argument("name")
@with_call
def add(call: Call, name: str) -> None:
    """Make a branch and print the one-time code that its agent enrolls with."""

    def show(made: Any) -> None:
        say(f"Code for {made['name']}, good once, until {local_time(made['expires_at'])}; one made for it before is void:")
        say(f"  {made['code']}")
        say("On the branch server: stagekeeper-agent enroll https://HOST:8443 CODE")
        say("(HOST is this appliance as the branch reaches it; the port is that of `serve --listen`.)")

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


@branch.command()
@click.argument("name")
@click.argument("size_bytes", metavar="SIZE", callback=_read_quota)
@with_call
def quota(call: Call, name: str, size_bytes: int | None) -> None:
    """Set how much a branch may take on the appliance's disk: SIZE like 500G or 2Ti, or `none`."""
    with call.console() as console:
        call.show(console.ask("PUT", f"branches/{name}/quota", body={"quota_bytes": size_bytes}), lambda row: _print([row]))


def _quota_of(row: dict[str, Any]) -> str:
    """Return a branch's quota for people."""
    return size(row["quota_bytes"]) if row["quota_bytes"] is not None else ""


def _print(branches: list[dict[str, Any]]) -> None:
    rows = (
        (
            row["name"],
            row["state"],
            local_time(row["enrolled_at"]),
            local_time(row["last_seen_at"]),
            row["shares"],
            _quota_of(row),
        )
        for row in branches
    )
    print_table(("branch", "state", "enrolled", "last seen", "shares", "quota"), rows, numbers=("shares", "quota"))
