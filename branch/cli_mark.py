"""The command `mark`: parse, make one call, print the answer."""

import logging
import secrets
import sys
import threading
from random import Random

import click

from branch.agent import Agent, Interrupted
from branch.cli_errors import DIFFERENCES, DONE, INTERRUPTED
from branch.cli_given import Given, common_options
from branch.mark_round import MarkRound
from branch.settings import read_settings
from core.clock import SystemClock
from core.durable import OS_FILES
from core.signals import at_ending_signal
from core.zones import machine_time
from staging.changes import MAX_LABEL_CHARACTERS, Consistency


@click.command()
@click.argument("label")
@click.option("--share", metavar="SHARE", help="The share to mark; may be left out when there is only one.")
@click.option("--level", type=click.Choice(["crash", "application"]), default="crash", show_default=True,
              help="What the snapshot promises; with `application` the commands of hooks.toml run around the look.")  # fmt: skip
@click.option("--timeout", "timeout_seconds", type=click.FloatRange(min=0), default=300.0, show_default=True,
              help="Give up after so many seconds.")  # fmt: skip
@common_options
def mark(given: Given, label: str, share: str | None, level: str, timeout_seconds: float) -> int:
    """Take a snapshot of a share as it is now, with LABEL, and return when the appliance has it."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if len(label) > MAX_LABEL_CHARACTERS:
        raise click.BadParameter(f"a label has at most {MAX_LABEL_CHARACTERS} characters", param_hint="LABEL")
    directory, stopping = given.directory, threading.Event()
    name = share or _only_share(given)
    settings, clock = read_settings(directory), SystemClock()

    def new_agent() -> Agent:
        return Agent(directory, settings, clock, machine_time, OS_FILES, lambda: Random(secrets.randbits(64)), stopping)

    with at_ending_signal(stopping.set):
        try:
            marked = MarkRound(directory, settings, clock, new_agent, stopping).run(
                name, label, Consistency[level.upper()], timeout_seconds
            )
        except Interrupted:
            return INTERRUPTED
    snapshot, notes = marked.snapshot, [{"what": what, "why": why} for what, why in marked.notes]
    lines = [f"snapshot {snapshot['id']} of {name}, change {snapshot['sequence']}: {label}, {snapshot['consistency']} level"]
    lines += [f"  {note['what']}: {note['why']}" for note in notes]
    given.answer({**snapshot, "not_applied": notes}, "\n".join(lines))
    return DIFFERENCES if notes else DONE


def _only_share(given: Given) -> str:
    names = [record.name for record in given.database().shares()]
    if len(names) != 1:
        raise click.UsageError(f"name one with --share: {', '.join(names)}" if names else "no folder is protected yet")
    return names[0]
