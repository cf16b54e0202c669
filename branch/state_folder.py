"""Making the agent's state directory, and keeping it to its owner: it holds what proves this branch to the appliance."""

import os
import stat
from pathlib import Path

from branch.settings import StateDirectory
from core.durable import OS_FILES, FileLayer, make_directories
from core.errors import Refused

_OWN_NAMES = ("agent.db", "agent.lock", "status.json", "shares", "settings.toml", "hooks.toml", "reserve")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class StateExposed(Refused):
    """Others may write into the state directory."""


def claim_state(state: StateDirectory, files: FileLayer = OS_FILES) -> None:
    """Make the directory when it is missing, and close it to others; raise `StateExposed` when that would not do.

    A directory that holds other things as well is not the agent's to close. There only its files, which are 0600, keep its
    secrets; but where others may write they could put files of theirs in place of these.
    """
    make_directories(state.path, files)
    found = state.path.stat()
    if not found.st_mode & _OTHERS:
        return
    if found.st_uid == os.geteuid() and _is_own(state.path):
        state.path.chmod(0o700)
    elif found.st_mode & _OTHERS_WRITE:
        raise StateExposed(
            f"others may write into {state.path}", remedy="name a directory of the agent's own with --state, or chmod 0700 it"
        )


def _is_own(folder: Path) -> bool:
    """Tell whether nothing stands in a folder that the agent does not put there."""
    return all(entry.name.startswith(_OWN_NAMES) for entry in folder.iterdir())
