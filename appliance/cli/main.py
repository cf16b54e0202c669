"""The program `stagekeeper`: all commands, and how each of them ends."""

import errno
import os
import sys
from collections.abc import Sequence

import click

from appliance.cli.audit import audit
from appliance.cli.backup import backup, recovery_key
from appliance.cli.branch import branch
from appliance.cli.call import Setup
from appliance.cli.demo import demo
from appliance.cli.difference import diff
from appliance.cli.export import export
from appliance.cli.failures import (
    DONE,
    FAULT,
    INTERRUPTED,
    TRY_LATER,
    USAGE,
    error_document,
    exit_code,
    print_error,
)
from appliance.cli.files import cat, ls, restore, versions
from appliance.cli.find import find
from appliance.cli.group import Commands
from appliance.cli.journal import journal
from appliance.cli.keeping import prune
from appliance.cli.late import open_locally
from appliance.cli.maintenance import collect, scrub
from appliance.cli.removal import purge
from appliance.cli.schedule import schedule
from appliance.cli.seals import rebuild, verify_seal
from appliance.cli.service import PROGRAM, completion, init, serve
from appliance.cli.share import share, snapshot, stats
from appliance.cli.user import user
from appliance.console import ApiError, OpenLocally
from appliance.settings import read_environment
from core.errors import StagekeeperError


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def stagekeeper() -> None:
    """Stagekeeper, the backup staging appliance."""


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

COMMANDS = (
    init, serve, demo, branch, user, share, snapshot, ls, cat, versions, find, restore, export, schedule, audit, stats,
    prune, rebuild, verify_seal, journal, backup, recovery_key, collect, scrub, purge,
)  # fmt: skip
for command in COMMANDS:
    stagekeeper.add_command(command)
stagekeeper.add_command(completion)
snapshot.add_command(diff)


def main(arguments: Sequence[str] | None = None, open_here: OpenLocally = open_locally) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    setup = Setup(read_environment(), open_here)
    try:
        code = stagekeeper.main(words, prog_name=PROGRAM, standalone_mode=False, obj=setup)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except click.ClickException as error:
        return _usage(error, as_json)
    except (StagekeeperError, ApiError) as error:
        print_error(error_document(error), as_json)
        return exit_code(error)
    except (BrokenPipeError, SystemExit):  # click turns the first into the second, and does so for nothing else here
        return _reader_gone(words)
    except OSError as error:
        if error.errno in _FULL:
            return _no_room(error, as_json)
        print_error({"type": "fault", "message": f"{error}", "remedy": "see what is wrong with it"}, as_json)
        return FAULT
    return code if isinstance(code, int) else DONE


def _usage(error: click.ClickException, as_json: bool) -> int:
    misplaced = isinstance(error, click.NoSuchOption) and error.option_name in ("--json", "--root")
    if as_json or misplaced:
        context = error.ctx if isinstance(error, click.UsageError) else None
        page = f"see `{context.command_path if context else PROGRAM} --help`"
        remedy = "write it behind the subcommand" if misplaced else page
        print_error({"type": "usage", "message": error.format_message(), "remedy": remedy}, as_json)
    else:
        error.show()
    return USAGE


def _no_room(error: OSError, as_json: bool) -> int:
    """Say that the disk behind our output is full: nothing is wrong with the appliance."""
    message = f"the output cannot be written: {error.strerror}"
    print_error({"type": "no_space", "message": message, "remedy": "free space where it goes, then try again"}, as_json)
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter tries what is left at its end
    return TRY_LATER


def _reader_gone(words: Sequence[str]) -> int:
    """End quietly when whoever reads our output has enough; an archive that nobody took is not done, though."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter complains at its end
    return TRY_LATER if words[:1] == ["export"] else DONE
