"""Which names of a share are left out: patterns in an order, of which the last that matches decides.

Each is read as a line of `.gitignore` (`branch.ignore_pattern`): `!` takes in again, `/` anchors, `**` stands for folders. What
is left out goes with all below it, so nothing in a folder that is left out can be taken in again.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

from branch.ignore_pattern import IgnorePattern, parse_pattern

_Pattern = re.Pattern[bytes] | None


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbours in the order that say the same, put together: for everything and for folders, by name and by path."""

    takes_in: bool
    of_names: _Pattern
    of_paths: _Pattern
    of_folder_names: _Pattern
    of_folder_paths: _Pattern

    def matches(self, path: bytes, name: bytes, is_folder: bool) -> bool:
        if self.of_names is not None and self.of_names.fullmatch(name):
            return True
        if self.of_paths is not None and self.of_paths.fullmatch(path):
            return True
        if not is_folder:
            return False
        if self.of_folder_names is not None and self.of_folder_names.fullmatch(name):
            return True
        return self.of_folder_paths is not None and self.of_folder_paths.fullmatch(path) is not None


class Excludes:
    """The patterns of a share, compiled."""

    def __init__(self, patterns: Iterable[bytes] = ()) -> None:
        """Compile patterns given as raw bytes, in their order."""
        self._patterns = [parse_pattern(pattern) for pattern in patterns]
        self._runs = [_run(takes_in, list(same)) for takes_in, same in groupby(self._patterns, lambda each: each.takes_in)]
        self._runs.reverse()
        self.is_empty = all(each.takes_in or each.regex is None for each in self._patterns)

    def match(self, path: bytes, name: bytes, is_folder: bool) -> bool:
        """Tell whether the entry `name` at `path` is left out (its folders are asked before it)."""
        for run in self._runs:
            if run.matches(path, name, is_folder):
                return not run.takes_in
        return False

    def deciding(self, path: bytes, name: bytes, is_folder: bool) -> bytes | None:
        """Return the pattern that leaves an entry out, None when it is taken: the slow answer, for who wants to know."""
        for each in reversed(self._patterns):
            if _run(each.takes_in, [each]).matches(path, name, is_folder):
                return None if each.takes_in else each.text
        return None


def _run(takes_in: bool, patterns: list[IgnorePattern]) -> _Run:
    unions = (
        _union(each for each in patterns if (each.only_folders, each.of_path) == kind)
        for kind in ((False, False), (False, True), (True, False), (True, True))
    )
    return _Run(takes_in, *unions)


def _union(patterns: Iterable[IgnorePattern]) -> _Pattern:
    parts = [each.regex for each in patterns if each.regex is not None]
    return re.compile(b"|".join(parts), re.DOTALL) if parts else None
