"""Names for members whose path is longer than Linux takes in one call.

GNU tar opens every member by its whole name, and PATH_MAX is 4096 bytes, yet trees of 3000 levels exist. A folder
whose name in the archive is long gets a symbolic link in the archive's top folder (`.cartridge-deep-N`), and what is
below it is named through that link. Without `..` in its target tar makes the link at once and follows it: tried with
GNU tar 1.34. To tar such a name is outside of the folders above it, so that it sets their times too early: these
folders are repeated once all that they hold is there.
"""

from dataclasses import dataclass

from core.relpath import RelPath, is_within

ALIAS_PREFIX = b".cartridge-deep-"
LONGEST_FOLDER_BYTES = 3800  # plus a separator and a name of 255 bytes stays below PATH_MAX (4096 with the NUL)


@dataclass(frozen=True, slots=True)
class NamedFolder:
    """A folder of the share and its name in the archive."""

    path: RelPath
    name: bytes


@dataclass(frozen=True, slots=True)
class Alias:
    """A folder's link in the archive's top folder."""

    path: RelPath
    name: bytes
    target: bytes


class DeepPaths:
    """Names the paths of one tree, visited as `TreeView.walk` does, below the archive folder `top`."""

    def __init__(self, top: bytes, first_number: int) -> None:
        self._top = top
        self._aliases: list[Alias] = []
        self._to_repeat: list[NamedFolder] = []  # each inside the one before
        self.next_number = first_number

    def leave_for(self, path: RelPath | None) -> list[NamedFolder]:
        """Return the folders to repeat, innermost first, before a walk goes on at `path` (None: before it ends)."""
        left = []
        while self._to_repeat and (path is None or not is_within(path, self._to_repeat[-1].path)):
            left.append(self._to_repeat.pop())
        while self._aliases and (path is None or not is_within(path, self._aliases[-1].path)):
            self._aliases.pop()
        return left

    def name(self, path: RelPath) -> bytes:
        """Return the name in the archive of the path that the walk is at."""
        if self._aliases:
            deepest = self._aliases[-1]
            return deepest.name + path[len(deepest.path) :]
        return self._top + b"/" + path if path else self._top

    def enter(self, path: RelPath, name: bytes) -> Alias | None:
        """Return the alias to write behind the folder `path`, or None when its name is short enough."""
        if len(name) <= LONGEST_FOLDER_BYTES:
            return None
        known = len(self._to_repeat[-1].path) if self._to_repeat else -1
        self._to_repeat += [
            NamedFolder(RelPath(path[:length]), name[: len(name) - len(path) + length] if length else self._top)
            for length in _folder_lengths(path)
            if length > known
        ]
        alias = Alias(path, ALIAS_PREFIX + b"%d" % self.next_number, name)
        self.next_number += 1
        self._aliases.append(alias)
        return alias


def _folder_lengths(path: RelPath) -> list[int]:
    return [0, *(index for index, byte in enumerate(path) if byte == 0x2F), len(path)]
