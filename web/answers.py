"""Shapes of JSON answers: documents, lists, errors, and lines of progress for long operations."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from flask import Response

from core.errors import StagekeeperError
from web.errors import SignInRequired, status_of
from web.streams import close

FAULT = {
    "type": "fault",
    "message": "something went wrong on our side; it was written to the log",
    "remedy": "try again; if it happens again, tell the operator when it happened",
}


def encode(value: object) -> bytes:
    """Return a value as JSON; bytes as base64, what JSON has no form for as text."""
    return msgspec.json.encode(value, enc_hook=str)


def document(value: object, status: int = 200) -> Response:
    """Answer one JSON document."""
    return Response(encode(value) + b"\n", status, mimetype="application/json")


def listing(plural: str, values: Iterable[object], following: str | None = None) -> Response:
    """Answer a list with the token to continue behind, or null."""
    return document({plural: list(values), "next": following})


def error_document(error: StagekeeperError) -> dict[str, Any]:
    """Return what an error's answer says; `expected` is there when the error knows what would have been right."""
    answer: dict[str, Any] = {"type": error.type, "message": error.message, "remedy": error.remedy}
    expected = getattr(error, "expected", None)
    if isinstance(expected, dict):
        answer["expected"] = expected
    return answer


def error_answer(error: StagekeeperError) -> Response:
    """Answer an error with its status."""
    if isinstance(error, SignInRequired):
        return unauthorized(error)
    return document({"error": error_document(error)}, status_of(error))


def unauthorized(error: StagekeeperError) -> Response:
    """Answer that a token is needed, or that the one given is no good."""
    answer = document({"error": error_document(error)}, 401)
    answer.headers["WWW-Authenticate"] = 'Bearer realm="Stagekeeper"'
    return answer


def progress_lines(steps: Iterator[Any], progress: type) -> Response:
    """Answer a long operation line by line: `{"progress"}`…, then one `{"result"}` or `{"error"}`.

    What fails before the first step is answered with its status, as everywhere else. An operation whose reader goes
    away is closed.
    """
    first = next(steps, None)
    return Response(_lines(first, steps, progress), mimetype="application/x-ndjson")


def _lines(first: Any, steps: Iterator[Any], progress: type) -> Iterator[bytes]:
    last = first
    try:
        if isinstance(first, progress):
            yield encode({"progress": first}) + b"\n"
        for last in steps:
            if isinstance(last, progress):
                yield encode({"progress": last}) + b"\n"
        yield encode({"result": None if isinstance(last, progress) else last}) + b"\n"
    except StagekeeperError as error:
        yield encode({"error": error_document(error)}) + b"\n"
    except Exception:  # the status is long sent: the last line has to say it, and the server's log gets the cause
        yield encode({"error": FAULT}) + b"\n"
        raise
    finally:
        close(steps)
