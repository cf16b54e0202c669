"""The web side's own refusals, and the status that every kind of error gets.

The root's five reactions decide (`core.errors`); the few classes that mean something particular in HTTP are named
here. `appliance` raises `AccessDenied` and `TooManyAttempts`, which need a status of their own.
"""

from core.clock import TimeUnreadable
from core.errors import Damaged, NotFound, Refused, StagekeeperError, Stopped, TryLater
from core.relpath import PathRefused


class AccessDenied(Refused):
    """The actor is known, and may not do this (403)."""


class SignInRequired(Refused):
    """Nobody is signed in, or the session or token is no longer good (401)."""


class SignInRefused(Refused):
    """Account and password do not go together (401)."""


class TooManyAttempts(TryLater):
    """Too many wrong passwords from this account or address (429); may carry `retry_after_seconds`."""

    def __init__(self, message: str, *, remedy: str = "", retry_after_seconds: int = 30) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_seconds = retry_after_seconds


class RequestForged(Refused):
    """A changing request came without the token that our own pages carry (403)."""


class RequestUnreadable(Refused):
    """A parameter or body is not of the form that was asked for (400)."""


class BodyCutShort(Refused):
    """Fewer bytes arrived than the request announced; nothing of it was used (400)."""


class LengthMissing(Refused):
    """The request does not say how long its body is (411)."""


class BodyTooLarge(Refused):
    """The body is longer than this address takes (413)."""


class RangeRefused(Refused):
    """The asked range lies behind the end of the file (416)."""

    def __init__(self, message: str, *, remedy: str = "", size_bytes: int = 0) -> None:
        super().__init__(message, remedy=remedy)
        self.size_bytes = size_bytes


class AnswerBroken(Damaged):
    """A content gave more or fewer bytes than its size; the answer is cut off so that nobody takes it for whole."""


_STATUS: tuple[tuple[type[StagekeeperError], int], ...] = (  # the first that fits counts
    (SignInRequired, 401),
    (SignInRefused, 401),
    (AccessDenied, 403),
    (RequestForged, 403),
    (RequestUnreadable, 400),
    (PathRefused, 400),
    (TimeUnreadable, 400),
    (BodyCutShort, 400),
    (LengthMissing, 411),
    (BodyTooLarge, 413),
    (RangeRefused, 416),
    (TooManyAttempts, 429),
    (NotFound, 404),
    (Refused, 409),
    (TryLater, 503),
    (Stopped, 503),
    (Damaged, 500),
)


def status_of(error: StagekeeperError) -> int:
    """Return the HTTP status for an error."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
