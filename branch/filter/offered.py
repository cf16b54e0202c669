"""Whether a folder can be captured by the filter at all: asked before it is protected, answered by name."""

import os
import sys
from pathlib import Path

from branch.filter.mounting import check_available
from core.errors import Refused
from core.relpath import show_path

_SYSTEM = (b"/etc", b"/proc", b"/sys", b"/dev", b"/run", b"/usr/bin", b"/usr/lib", b"/usr/share/zoneinfo")


class NotFiltered(Refused):
    """The filter capture does not serve this."""


def check_offered(root: bytes, state: Path, has_rules: bool) -> None:
    """Raise `NotFiltered` or `FilterUnavailable` when the folder `root` cannot be captured.

    The agent serves all who enter the folder, so nothing that it needs itself may lie there: it would wait for itself.
    """
    check_available()
    if has_rules:
        raise NotFiltered(
            "the filter capture leaves nothing out in this release",
            remedy="give no rules, or use --capture watch",
        )
    for needed in _needed(state):
        if _is_in(needed, root) or _is_in(root, needed):
            raise NotFiltered(
                f"the agent itself needs {show_path(needed)}, so {show_path(root)} cannot be captured by the filter",
                remedy="protect a folder beside it, keep the agent's state elsewhere, or use --capture watch",
            )


def _needed(state: Path) -> set[bytes]:
    own = [state.absolute(), Path(sys.prefix), Path(sys.base_prefix) / "lib", Path(__file__).parents[2] / "branch"]
    return {*_SYSTEM, *(os.path.realpath(os.fsencode(path)) for path in own)}


def _is_in(path: bytes, folder: bytes) -> bool:
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")
