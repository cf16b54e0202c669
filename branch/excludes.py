"""Which names of a share are left out.

A pattern is a shell pattern (`*`, `?`, `[…]`; `*` also matches `/`). Without `/` it is matched against every name on the
way (`*.tmp`, `node_modules`); with one (at the end does not count) against the path from the share's root
(`var/cache/*`, `/build`). A trailing `/` matches folders only. What is left out goes with all below it; there is no way
to take a part of it in again.
"""

import fnmatch
import re
from collections.abc import Iterable


class Excludes:
    """The patterns of a share, compiled."""

    def __init__(self, patterns: Iterable[bytes] = ()) -> None:
        """Compile patterns given as raw bytes."""
        names: list[tuple[bytes, bool]] = []
        paths: list[tuple[bytes, bool]] = []
        for pattern in patterns:
            only_folders = pattern.endswith(b"/")
            bare = pattern.rstrip(b"/")
            if bare:
                (paths if b"/" in bare else names).append((bare.lstrip(b"/"), only_folders))
        self._of_names, self._of_folder_names = _compile(names)
        self._of_paths, self._of_folder_paths = _compile(paths)
        self.is_empty = not names and not paths

    def match(self, path: bytes, name: bytes, is_folder: bool) -> bool:
        """Tell whether the entry `name` at `path` is left out (its folders are asked before it)."""
        if self._of_names is not None and self._of_names.match(name):
            return True
        if self._of_paths is not None and self._of_paths.match(path):
            return True
        if not is_folder:
            return False
        if self._of_folder_names is not None and self._of_folder_names.match(name):
            return True
        return self._of_folder_paths is not None and self._of_folder_paths.match(path) is not None


_Pattern = re.Pattern[bytes] | None


def _compile(patterns: list[tuple[bytes, bool]]) -> tuple[_Pattern, _Pattern]:
    """Return (pattern for everything, pattern for folders only); None matches nothing."""
    return _union(p for p, only_folders in patterns if not only_folders), _union(p for p, only in patterns if only)


def _union(patterns: Iterable[bytes]) -> _Pattern:
    texts = [fnmatch.translate(pattern.decode("latin-1")) for pattern in patterns]
    return re.compile("|".join(texts).encode("latin-1")) if texts else None
