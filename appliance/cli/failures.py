"""How commands fail: what is printed, and the exit code for each kind of failure.

An answer's status tells most. Where it cannot (an operation that fails on its way, damage against a fault of ours), the
error's type does: it is the name of an error class, whose reaction is found among the classes of this very release.
"""

import sys
from typing import Any

import msgspec

from appliance.cli.late import load_all
from appliance.console import ApiError
from core.errors import Damaged, NotFound, Refused, StagekeeperError, Stopped, TryLater

DONE, FAULT, USAGE, NOT_FOUND, REFUSED, DIFFERENT, DAMAGED, TRY_LATER = range(8)
INTERRUPTED = 130

_BY_REACTION: tuple[tuple[type[StagekeeperError], int], ...] = (
    (NotFound, NOT_FOUND),
    (Refused, REFUSED),
    (Damaged, DAMAGED),
    (TryLater, TRY_LATER),
    (Stopped, TRY_LATER),
)
_BY_STATUS = {404: NOT_FOUND, 429: TRY_LATER, 503: TRY_LATER}


def exit_code(error: StagekeeperError | ApiError) -> int:
    """Return the exit code for an error."""
    if isinstance(error, StagekeeperError):
        return _code_of_class(type(error))
    if 400 <= error.status < 500 or error.status in _BY_STATUS:
        return _BY_STATUS.get(error.status, REFUSED)
    name = str(error.document.get("type", ""))
    kind = _class_named(name)
    if kind is None:
        load_all()
        kind = _class_named(name)
    return FAULT if kind is None else _code_of_class(kind)


def error_document(error: StagekeeperError | ApiError) -> dict[str, Any]:
    """Return what an error's answer says."""
    if isinstance(error, ApiError):
        return error.document
    return {"type": error.type, "message": error.message, "remedy": error.remedy}


def print_error(document: dict[str, Any], as_json: bool) -> None:
    """Print an error on stderr, as one document or as sentences."""
    if as_json:
        sys.stderr.write(msgspec.json.encode({"error": document}).decode() + "\n")
        return
    sys.stderr.write(f"stagekeeper: {plain(str(document.get('message', '')))}\n")
    remedy = str(document.get("remedy", ""))
    if remedy:
        sys.stderr.write(f"             {plain(remedy)}\n")


def plain(text: str) -> str:
    """Return a text without anything that could steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _code_of_class(kind: type[StagekeeperError]) -> int:
    return next((code for reaction, code in _BY_REACTION if issubclass(kind, reaction)), FAULT)


def _class_named(type_name: str) -> type[StagekeeperError] | None:
    """Return the error class that is printed as `type_name`."""
    waiting: list[type[StagekeeperError]] = [StagekeeperError]
    while waiting:
        kind = waiting.pop()
        printed = "".join("_" + c.lower() if c.isupper() else c for c in kind.__name__).lstrip("_")
        if printed == type_name:
            return kind
        waiting += kind.__subclasses__()
    return None
