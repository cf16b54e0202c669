"""Looking at what a share would hold and what each rule leaves out, without protecting it (`protect --dry-run`)."""

import os
import stat
from dataclasses import dataclass, field

from branch.excludes import Excludes
from branch.file_rules import FileRules
from branch.folders import OpenFolders
from branch.look import OTHER_FILE_SYSTEM
from core.relpath import ROOT, RelPath, join

EXAMPLES = 3  # of the paths that a rule leaves out


@dataclass(slots=True)
class Counted:
    """Files (and all else that is no folder), folders, and the files' lengths added up."""

    files: int = 0
    folders: int = 0
    logical_bytes: int = 0

    def add(self, found: os.stat_result) -> None:
        """Count one entry."""
        if stat.S_ISDIR(found.st_mode):
            self.folders += 1
        else:
            self.files += 1
            self.logical_bytes += found.st_size if stat.S_ISREG(found.st_mode) else 0


@dataclass(slots=True)
class LeftOut:
    """What one rule leaves out, with all below it; `entries` are those that it names itself, the first of them `examples`."""

    entries: int = 0
    counted: Counted = field(default_factory=Counted)
    examples: list[RelPath] = field(default_factory=list)


@dataclass(slots=True)
class Survey:
    """What would be taken, what each rule leaves out, and what cannot be protected, with the reasons."""

    taken: Counted = field(default_factory=Counted)
    left_out: dict[str, LeftOut] = field(default_factory=dict)
    not_protected: list[tuple[RelPath, str]] = field(default_factory=list)


def survey(root: bytes, excludes: Excludes, file_rules: FileRules) -> Survey:
    """Count all below `root`, also in folders that are left out; raise `OSError` when the root itself cannot be read."""
    folders = OpenFolders(root)
    try:
        return _Surveyor(folders, excludes, file_rules).run()
    finally:
        folders.close()


class _Surveyor:
    """Walks over one tree; a folder that is left out is walked for the sake of its rule."""

    def __init__(self, folders: OpenFolders, excludes: Excludes, file_rules: FileRules) -> None:
        self._folders, self._excludes, self._file_rules = folders, excludes, file_rules
        self._device = os.fstat(folders.root).st_dev
        self._found = Survey()
        self._todo: list[tuple[RelPath, Counted | None]] = [(ROOT, None)]

    def run(self) -> Survey:
        while self._todo:
            folder, outside = self._todo.pop()
            try:
                with os.scandir(self._folders.open(folder)) as entries:
                    for entry in entries:
                        self._take(folder, os.fsencode(entry.name), entry.stat(follow_symlinks=False), outside)
            except OSError as error:
                if folder == ROOT:
                    raise
                if outside is None:
                    self._found.not_protected.append((folder, error.strerror or str(error)))
        return self._found

    def _take(self, folder: RelPath, name: bytes, found: os.stat_result, outside: Counted | None) -> None:
        path = join(folder, name)
        counted = outside if outside is not None else self._left_out(path, name, found)
        if found.st_dev != self._device:
            if counted is None:
                self._found.not_protected.append((path, OTHER_FILE_SYSTEM))
            return
        (counted or self._found.taken).add(found)
        if stat.S_ISDIR(found.st_mode):
            self._todo.append((path, counted))

    def _left_out(self, path: RelPath, name: bytes, found: os.stat_result) -> Counted | None:
        """Return where an entry is counted that a rule leaves out, None when it is taken."""
        is_folder = stat.S_ISDIR(found.st_mode)
        if self._excludes.match(path, name, is_folder):
            rule = os.fsdecode(self._excludes.deciding(path, name, is_folder) or b"")
        else:
            rule = self._file_rules.deciding(found)
        if not rule:
            return None
        left_out = self._found.left_out.setdefault(rule, LeftOut())
        left_out.entries += 1
        if len(left_out.examples) < EXAMPLES:
            left_out.examples.append(path)
        return left_out.counted
