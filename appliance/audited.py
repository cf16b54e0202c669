"""Long operations in the audit log: an entry before their first step, and one that says how they ended."""

from collections.abc import Iterator
from typing import Any

import msgspec

from appliance.audit import AuditLog
from core.errors import StagekeeperError
from web.audit_words import FAULT, GIVEN_UP
from web.operations import Actor
from web.share_values import Progress
from web.streams import close


def audited_steps(
    audit: AuditLog, actor: Actor, noun: str, what: str, details: dict[str, Any], steps: Iterator[Any]
) -> Iterator[Any]:
    """Pass steps on; giving up reading ends the steps, and is an entry too."""
    audit.record(actor, f"{noun}.begin", what, "done", details)
    step: Any = None
    try:
        for step in steps:
            yield step
    except BaseException as error:  # also that nobody reads on
        audit.record(actor, f"{noun}.end", what, "failed", {**details, "error": _kind(error)})
        raise
    finally:
        close(steps)
    report = {} if isinstance(step, Progress | bytes | None) else msgspec.to_builtins(step)
    ended = {key: value for key, value in report.items() if isinstance(value, str | int | float | bool)}
    audit.record(actor, f"{noun}.end", what, "done", {**details, **ended})


def _kind(error: BaseException) -> str:
    if isinstance(error, StagekeeperError):
        return error.type
    return FAULT if isinstance(error, Exception) else GIVEN_UP
