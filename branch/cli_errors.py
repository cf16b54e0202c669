"""Exit codes and the printing of failures, the same for every command of the agent."""

import json
import sys

from core.errors import Damaged, NotFound, Refused, StagekeeperError, Stopped, TryLater

DONE, OUR_FAULT, USAGE, NO_SUCH_THING, REFUSED, DIFFERENCES, DAMAGED, TRY_LATER, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130

_CODES = ((NotFound, NO_SUCH_THING), (Refused, REFUSED), (Damaged, DAMAGED), (TryLater, TRY_LATER), (Stopped, TRY_LATER))


def exit_code_of(error: StagekeeperError) -> int:
    """Return the exit code that tells the caller how to react."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), OUR_FAULT)


def print_failure(kind: str, message: str, remedy: str, as_json: bool) -> None:
    """Tell on stderr what failed and what to do next."""
    if as_json:
        text = json.dumps({"error": {"type": kind, "message": message, "remedy": remedy}})
    else:
        text = f"{message}\n  {remedy}" if remedy else message
    print(text, file=sys.stderr)
