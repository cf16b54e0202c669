"""The commands that bring an application to rest before a barrier and let it go on behind it (docs/consistency.md).

They stand in `hooks.toml` in the state directory, by share. A file that others could have written is refused: its commands
run as the agent does.
"""

import os
import stat
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from core.errors import Refused

_Words = Annotated[tuple[str, ...], Meta(min_length=1)]
_Seconds = Annotated[float, Meta(ge=0.01, le=86_400)]
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class HooksUnreadable(Refused):
    """`hooks.toml` cannot be understood, or not be trusted."""


class Hooks(Struct, frozen=True, forbid_unknown_fields=True):
    """What is run around the barriers of a share."""

    before: tuple[_Words, ...] = ()
    after: tuple[_Words, ...] = ()
    before_seconds: _Seconds = 30.0  # for all commands of `before` together
    after_seconds: _Seconds = 30.0  # for each command of `after`
    hold_seconds: _Seconds = 60.0  # from the end of `before` on; then `after` is run, whatever is still to be looked at


def read_hooks(path: Path, share: str) -> Hooks | None:
    """Return the hooks of a share, None when it has none; raise `HooksUnreadable`."""
    try:
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            found = msgspec.convert(tomllib.load(file), dict[str, Hooks])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.ValidationError) as error:
        raise HooksUnreadable(
            f"{path} cannot be read: {error}", remedy="correct or remove it; see docs/consistency.md"
        ) from error
    return found.get(share)


def _check_owner(path: Path, found: os.stat_result) -> None:
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & _OTHERS_WRITE:
        raise HooksUnreadable(
            f"others may write into {path}, whose commands the agent would run", remedy=f"chown {os.geteuid()} and chmod 0600 it"
        )
