"""`stagekeeper schedule`: what happens by itself."""

import os
from typing import Any

import click

from appliance.cli.call import Call, split_moment, with_call
from appliance.cli.failures import DIFFERENT
from appliance.cli.group import Noun
from appliance.cli.printing import local_time, print_table, say, warn_of_unknown
from appliance.cron import PRESETS

Names = tuple[str, ...]


@click.group(cls=Noun)
def schedule() -> None:
    """Schedules."""


@schedule.command()
@click.argument("name")
@click.option("--cron", required=True, help=f"Five fields in quotes, or one of {', '.join(PRESETS)}.")
@click.option("--tz", default="UTC", show_default=True, help="Time zone of the wall clock that is meant.")
@click.option("--action", required=True, type=click.Choice(["snapshot", "export", "prune", "scrub"]))
@click.option("--share", "shares", multiple=True, metavar="B/S", help="Not needed for scrub.")
@click.option("--to", "target", default="", metavar="DIR", help="Where an export writes its cartridges.")
@click.option("--kind", type=click.Choice(["full", "differential", "incremental"]), default="full")
@click.argument("more_shares", nargs=-1, metavar="[B/S]…")
@with_call
def add(
    call: Call, name: str, cron: str, tz: str, action: str, kind: str, target: str, shares: Names, more_shares: Names
) -> None:
    """Make a schedule."""
    body = {
        "name": name,
        "cron": cron,
        "tz": tz,
        "action": action,
        "kind": kind,
        "shares": [split_moment(share)[0] for share in (*shares, *more_shares)],
        "to": os.path.abspath(target) if target else "",
    }
    with call.console() as console:
        row = console.ask("POST", "schedules", body=body)
    call.show(row, lambda shown: _print([shown]))
    warn_of_unknown(row, call.as_json)


@schedule.command("list")
@with_call
def list_schedules(call: Call) -> None:
    """List all schedules."""
    with call.console() as console:
        call.show(console.ask_all("schedules", "schedules"), lambda found: _print(found["schedules"]))


@schedule.command("next")
@click.argument("name")
@click.option("--count", default=10, show_default=True, type=click.IntRange(1, 1000))
@with_call
def next_runs(call: Call, name: str, count: int) -> None:
    """Show when a schedule runs next."""

    def show(found: Any) -> None:
        for run in found["runs"]:
            say(local_time(run))

    with call.console() as console:
        call.show(console.ask("GET", f"schedules/{name}/next", {"count": count}), show)


@schedule.command()
@click.argument("name")
@click.option("--no-wait", is_flag=True, help="Return at once; `schedule list` tells how it ends. Only while the service runs.")
@with_call
def run(call: Call, name: str, no_wait: bool) -> int | None:
    """Run a schedule now, and wait for it to end."""
    with call.console() as console:
        row = console.ask("POST", f"schedules/{name}/{'start' if no_wait else 'run'}")
    call.show(row, lambda shown: _print([shown]))
    return DIFFERENT if row["last_outcome"] == "differences" else None


@schedule.command()
@click.argument("name")
@with_call
def enable(call: Call, name: str) -> None:
    """Let a schedule run by itself again; what came due meanwhile is not caught up."""
    with call.console() as console:
        call.show(console.ask("POST", f"schedules/{name}/enable"), lambda row: _print([row]))


@schedule.command()
@click.argument("name")
@with_call
def disable(call: Call, name: str) -> None:
    """Keep a schedule from running by itself."""
    with call.console() as console:
        call.show(console.ask("POST", f"schedules/{name}/disable"), lambda row: _print([row]))


@schedule.command()
@click.argument("name")
@with_call
def delete(call: Call, name: str) -> None:
    """Remove a schedule."""
    with call.console() as console:
        call.show(console.ask("DELETE", f"schedules/{name}"), lambda _: say(f"Schedule {name} is gone"))


def _print(schedules: list[dict[str, Any]]) -> None:
    rows = (
        (
            row["name"],
            row["cron"],
            row["tz"],
            row["action"],
            row["shares"],
            row["enabled"],
            local_time(row["last_run_at"]),
            f"{row['last_outcome']} {row['last_message']}".strip(),
            local_time(row["next_run_at"]),
        )
        for row in schedules
    )
    print_table(("schedule", "cron", "zone", "action", "shares", "on", "last run", "outcome", "next run"), rows)
