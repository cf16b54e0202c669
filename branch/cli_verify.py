"""The commands `verify` and `resync`: parse, make one call, print the answer."""

import logging
import secrets
import sys
import threading
from random import Random

import click
import msgspec

from branch.agent import Agent, Interrupted
from branch.cli_errors import DIFFERENCES, DONE, INTERRUPTED
from branch.cli_given import Given, common_options
from branch.settings import read_settings
from branch.verification_db import Action, Verified
from branch.verify_round import VerifyRound
from core.clock import SystemClock
from core.durable import OS_FILES
from core.signals import at_ending_signal
from core.zones import machine_time

_timeout = click.option(
    "--timeout", "timeout_seconds", type=click.FloatRange(min=0), default=86_400.0, show_default=True,
    help="Give up after so many seconds.",
)  # fmt: skip


@click.command()
@click.argument("share")
@click.option("--report-only", is_flag=True, help="Tell what is different, and repair nothing.")
@_timeout
@common_options
def verify(given: Given, share: str, report_only: bool, timeout_seconds: float) -> int:
    """Read all files of SHARE, compare them by digests with what the appliance has, and send what is different anew."""
    verified = _run(given, share, Action.REPORT if report_only else Action.VERIFY, timeout_seconds)
    if verified is None:
        return INTERRUPTED
    lines = [f"{verified.compared} names compared, {verified.different} different, {verified.repaired} repaired"]
    lines += [f"  {verified.unsure} not compared: they changed meanwhile, or cannot be read"] if verified.unsure else []
    lines += [f"  different: {entry.path or '/'}" for entry in verified.paths]
    given.answer(msgspec.to_builtins(verified), "\n".join(lines))
    return DIFFERENCES if verified.different else DONE


@click.command()
@click.argument("share")
@_timeout
@common_options
def resync(given: Given, share: str, timeout_seconds: float) -> int:
    """Forget what was sent of SHARE and send it as at first; what the appliance holds does not travel again."""
    if _run(given, share, Action.RESYNC, timeout_seconds) is None:
        return INTERRUPTED
    given.answer({"share": share}, f"{share} was laid anew, and is durable on the appliance")
    return DONE


def _run(given: Given, share: str, action: Action, timeout_seconds: float) -> Verified | None:
    logging.basicConfig(level=logging.ERROR, format="%(message)s", stream=sys.stderr)
    given.database().close()  # made when it is missing, so that what follows says what is wrong
    directory, stopping = given.directory, threading.Event()
    settings, clock = read_settings(directory), SystemClock()

    def new_agent() -> Agent:
        return Agent(directory, settings, clock, machine_time, OS_FILES, lambda: Random(secrets.randbits(64)), stopping)

    with at_ending_signal(stopping.set):
        try:
            return VerifyRound(directory, clock, new_agent, stopping).run(share, action, timeout_seconds)
        except Interrupted:
            return None
