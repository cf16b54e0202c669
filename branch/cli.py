"""The command `stagekeeper-agent`: parse, make one call, print the answer."""

import logging
import os
import re
import secrets
import sys
from collections.abc import Sequence
from random import Random

import click
import msgspec

from branch.agent import Agent, AgentRunning, Interrupted, StateLock
from branch.cli_errors import DIFFERENCES, DONE, INTERRUPTED, OUR_FAULT, USAGE, exit_code_of, print_failure
from branch.cli_given import Given, common_options
from branch.cli_mark import mark
from branch.cli_rules import GivenRules, dry_run_answer, rule_options
from branch.cli_verify import resync, verify
from branch.enrolment import AlreadyEnrolled, enroll
from branch.filter.mounting import is_mounted
from branch.filter.offered import check_offered
from branch.filter.share_root import is_dead, release_dead
from branch.folders import OpenFolders
from branch.leftovers import remove_leftovers
from branch.limit_rule import LimitUnreadable, parse_limit
from branch.look import OTHER_FILE_SYSTEM
from branch.root import mark_of
from branch.settings import read_settings
from branch.state_db import RootMark
from branch.status import GapStatus, LimitStatus, ShareStatus, read_status
from core.clock import NANOSECONDS, SystemClock, parse_time
from core.collector import collect_seldom
from core.durable import OS_FILES
from core.errors import NotFound, Refused, StagekeeperError
from core.relpath import show_path
from core.signals import at_ending_signal
from core.zones import machine_time

_SHARE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class NotOffered(Refused):
    """A way of working that this release does not have."""


class NoSuchFolder(NotFound):
    """The folder to protect is not there."""


@click.group()
@common_options
def agent(given: Given) -> None:
    """Protect folders of this server: bring every change to a Stagekeeper appliance."""


@agent.command("enroll")
@click.argument("url")
@click.argument("code")
@common_options
def enroll_command(given: Given, url: str, code: str) -> int:
    """Make this server known to the appliance at URL with the one-time CODE of `stagekeeper branch add`."""
    database = given.database()
    if database.is_enrolled():
        known = database.enrolment()
        raise AlreadyEnrolled(f"this is branch {known.branch} of {known.url}", remedy="use another state directory")
    enrolment = enroll(url, code, read_settings(given.directory).request_timeout_seconds)
    database.set_enrolment(enrolment)
    given.answer({"branch": enrolment.branch, "url": enrolment.url}, f"enrolled as {enrolment.branch} at {enrolment.url}")
    return DONE


@agent.command()
@click.argument("path", type=click.Path(path_type=bytes))
@click.option("--as", "share", required=True, metavar="SHARE", help="The share's name on the appliance.")
@click.option("--capture", type=click.Choice(["watch", "filter"]), default="watch",
              help="watch: what changed is compared; filter: each change is written down as it is made (as root).")  # fmt: skip
@click.option("--mode", type=click.Choice(["async", "sync"]), default="async", help="Only async is offered yet.")
@click.option("--limit", "limits", multiple=True, metavar="RULE",
              help="Send no faster: 2Mbit, 250KB@08:00-18:00, 2Mbit@Mon-Fri 08:00-18:00, pause@Sat,Sun, off@22:00-06:00. Of"
              " several rules the one that covers the least of a week holds; local time. Without --limit: no limit.")  # fmt: skip
@rule_options
@click.option("--dry-run", is_flag=True, help="Only tell what would be taken, and what each rule leaves out.")
@common_options
def protect(
    given: Given, path: bytes, share: str, capture: str, mode: str, limits: Sequence[str], rules: GivenRules,
    dry_run: bool,
) -> int:  # fmt: skip
    """Protect the folder PATH as SHARE; a protected one takes new rules and limits and is taken as it stands now."""
    if not _SHARE_NAME.fullmatch(share):
        raise click.BadParameter(f"{share!r} is no name of a share: letters, digits, dot, dash, underscore", param_hint="--as")
    _check_limits(limits)
    if mode != "async":
        raise NotOffered(f"mode {mode} is not offered in this release", remedy="use --mode async")
    root = os.path.realpath(path)
    if capture == "filter":
        check_offered(root, given.directory.path, not rules.is_empty())
    mark = _mark_of(given, root, share)
    if dry_run:
        given.answer(*dry_run_answer(share, rules.survey(root)))
        return DONE
    given.database().protect(share, root, secrets.token_bytes(16), rules.patterns, rules.file_rules, limits, mark, capture)
    shown = {"share": share, "path": show_path(root), "capture": capture, "mode": mode}
    document = {**shown, **rules.shown(), "limits": list(limits)}
    given.answer(document, f"{show_path(root)} is protected as {share} while `stagekeeper-agent run` runs")
    return DONE


@agent.command()
@common_options
def release(given: Given) -> int:
    """Take away what the filter capture of an agent that was killed left mounted; a running agent is left alone."""
    database = given.database()
    shares = [record for record in [*database.shares(), *database.ended_shares()] if is_dead(record.path)]
    for record in shares:
        release_dead(record.path)
    names = [record.name for record in shares]
    given.answer({"released": names}, f"released: {', '.join(names)}" if names else "nothing was left mounted")
    return DONE


@agent.command()
@click.argument("share")
@common_options
def unprotect(given: Given, share: str) -> int:
    """End the protection of SHARE; what the appliance has stays there, and goes on when SHARE is protected again."""
    directory, database = given.directory, given.database()
    database.unprotect(share)
    try:
        lock = StateLock(directory)
    except AgentRunning:
        pass  # the running agent notices, and removes what it kept
    else:
        remove_leftovers(directory, database, OS_FILES)
        lock.close()
    given.answer({"share": share}, f"{share} is no longer protected")
    return DONE


@agent.command()
@click.option("--once", is_flag=True, help="Look once, return when everything is durable.")
@click.option("--timeout", "timeout_seconds", type=click.FloatRange(min=0), default=300.0, show_default=True,
              help="With --once: give up after so many seconds without progress; the outbox is kept.")  # fmt: skip
@common_options
def run(given: Given, once: bool, timeout_seconds: float) -> int:
    """Watch the protected folders and send every change (or, with --once, what has changed until now)."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    settings = read_settings(given.directory)
    running = Agent(given.directory, settings, SystemClock(), machine_time, OS_FILES, lambda: Random(secrets.randbits(64)))
    with at_ending_signal(running.stopping.set):
        if not once:
            running.run()
            return DONE
        try:
            statuses = running.run_once(timeout_seconds)
        except Interrupted:
            return INTERRUPTED
    _answer_statuses(given, statuses)
    unreadable = any(entry.reason != OTHER_FILE_SYSTEM for status in statuses for entry in status.not_protected)
    return DIFFERENCES if unreadable else DONE


@agent.command("status")
@common_options
def status_command(given: Given) -> int:
    """Tell how each share is doing; works beside a running agent."""
    directory = given.directory
    now_ns = SystemClock().now_ns()
    shares = given.database().shares()
    statuses = [read_status(directory.status, record, now_ns, machine_time) for record in shares]
    _answer_statuses(given, statuses, given.database().is_enrolled())
    return DONE


agent.add_command(mark)
agent.add_command(verify)
agent.add_command(resync)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, as a process of its own, and exit with its code."""
    collect_seldom()
    sys.exit(execute(sys.argv[1:] if arguments is None else arguments))


def execute(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; failures are printed."""
    as_json = "--json" in arguments
    try:
        code = agent.main(args=list(arguments), prog_name="stagekeeper-agent", standalone_mode=False)
        return code if isinstance(code, int) else DONE
    except click.ClickException as error:
        print_failure("usage", error.format_message(), "see stagekeeper-agent --help", as_json)
        return USAGE
    except click.Abort:
        return INTERRUPTED
    except StagekeeperError as error:
        print_failure(error.type, error.message, error.remedy, as_json)
        return exit_code_of(error)
    except Exception as error:  # the outermost layer: whatever is left is a fault of ours
        logging.getLogger("stagekeeper.agent").exception("a fault of the agent")
        print_failure("fault", f"{type(error).__name__}: {error}", "report this", as_json)
        return OUR_FAULT


def _mark_of(given: Given, root: bytes, share: str) -> RootMark:
    """Return the mark of a folder; when the filter lies over it that of the share, as the folder itself cannot be seen."""
    if is_mounted(root):
        for record in given.database().shares():
            if (record.name, record.path) == (share, root) and record.root is not None:
                return record.root
        raise NotOffered(f"a share is mounted over {show_path(root)}", remedy="run: stagekeeper-agent release")
    try:
        folders = OpenFolders(root)
    except OSError as error:
        raise NoSuchFolder(f"{show_path(root)}: {error.strerror}", remedy="give a folder that exists") from error
    try:
        return mark_of(folders.root)
    finally:
        folders.close()


def _check_limits(texts: Sequence[str]) -> None:
    for text in texts:
        try:
            parse_limit(text)
        except LimitUnreadable as error:
            raise click.BadParameter(f"{error.message}; {error.remedy}", param_hint="--limit") from error


def _limit_words(limit: LimitStatus) -> str:
    """Return what holds now and until when, in local time."""
    rate = f"{limit.bytes_per_second} bytes/s" if limit.bytes_per_second else "held back"
    words = "without limit" if limit.bytes_per_second is None else rate
    return f"{words} until {machine_time(parse_time(limit.until) // NANOSECONDS):%Y-%m-%d %H:%M}" if limit.until else words


def _gap_words(share: str, gap: GapStatus) -> str:
    return (
        f"  {share} was compared, not written down, from {gap.since} to {gap.until} ({gap.reason}): {gap.changes} changes found"
    )


def _capture_words(status: ShareStatus) -> str:
    if status.capture != "watch":
        return status.capture
    return f"watch{f' by {status.watched_by}' if status.watched_by else ''} (order across files is not kept)"


def _answer_statuses(given: Given, statuses: list[ShareStatus], enrolled: bool = True) -> None:
    document = {"shares": msgspec.to_builtins(statuses), "next": None}
    lines = [
        f"{s.share}: {_capture_words(s)}, {s.state}{f' ({s.reason})' if s.reason else ''}, durable up to {s.durable_sequence},"
        f" {s.outbox_bytes} bytes waiting, {s.lag_seconds} s behind"
        for s in statuses
    ]
    lines += [
        f"  {s.share} is limited by {', '.join(s.limit.rules)}: now {_limit_words(s.limit)}" for s in statuses if s.limit.rules
    ]
    lines += [_gap_words(s.share, s.gap) for s in statuses if s.gap is not None]
    lines += [f"  not protected: {entry.path}: {entry.reason}" for s in statuses for entry in s.not_protected]
    if not enrolled:
        lines.insert(0, "this server is not enrolled, so nothing is sent: stagekeeper-agent enroll URL CODE")
    if not statuses:
        lines.append("no folder is protected yet: stagekeeper-agent protect PATH --as SHARE")
    given.answer(document, "\n".join(lines))
