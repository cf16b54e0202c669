"""The root of all errors, and the five reactions a caller can have to one.

Concrete errors live beside the code that raises them and derive from exactly one reaction. The outermost layer
(command line, API) maps the reaction to an exit code or a status and prints `type`, `message` and `remedy`.
"""


class StagekeeperError(Exception):
    """Root of every error raised on purpose; `remedy` tells the reader what to do next."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    @property
    def type(self) -> str:
        """Return the error's name as printed in answers, for example `share_not_found`."""
        name = type(self).__name__
        return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


class NotFound(StagekeeperError):
    """The thing that was named does not exist: say so."""


class Refused(StagekeeperError):
    """The peer or the user asked for what may not be: refuse by name, keep nothing."""


class Damaged(StagekeeperError):
    """Stored bytes are wrong: never serve them, quarantine, alarm."""


class TryLater(StagekeeperError):
    """The moment is wrong (busy, no space, unreachable): the same call may succeed later."""


class Stopped(StagekeeperError):
    """Durability can no longer be promised: stop taking data until recovery."""
