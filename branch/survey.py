"""Counting what a share would hold, without protecting it (`protect --dry-run`)."""

import os
import stat
from dataclasses import dataclass, field

from branch.excludes import Excludes
from branch.folders import OpenFolders
from branch.look import OTHER_FILE_SYSTEM
from core.relpath import ROOT, RelPath, join


@dataclass(slots=True)
class Survey:
    """What was counted, and what cannot be protected, with the reasons."""

    files: int = 0
    folders: int = 0
    logical_bytes: int = 0
    excluded: int = 0
    not_protected: list[tuple[RelPath, str]] = field(default_factory=list)


def survey(root: bytes, excludes: Excludes) -> Survey:
    """Count files, folders and bytes below `root`; raise `OSError` when the root itself cannot be read."""
    counted = Survey()
    folders = OpenFolders(root)
    try:
        device = os.fstat(folders.root).st_dev
        todo = [ROOT]
        while todo:
            folder = todo.pop()
            try:
                with os.scandir(folders.open(folder)) as entries:
                    for entry in entries:
                        name = os.fsencode(entry.name)
                        _count(counted, join(folder, name), name, entry.stat(follow_symlinks=False), device, excludes, todo)
            except OSError as error:
                if folder == ROOT:
                    raise
                counted.not_protected.append((folder, error.strerror or str(error)))
    finally:
        folders.close()
    return counted


def _count(
    counted: Survey, path: RelPath, name: bytes, found: os.stat_result, device: int, excludes: Excludes, todo: list[RelPath]
) -> None:
    is_folder = stat.S_ISDIR(found.st_mode)
    if excludes.match(path, name, is_folder):
        counted.excluded += 1
    elif found.st_dev != device:
        counted.not_protected.append((path, OTHER_FILE_SYSTEM))
    elif is_folder:
        counted.folders += 1
        todo.append(path)
    else:
        counted.files += 1
        counted.logical_bytes += found.st_size if stat.S_ISREG(found.st_mode) else 0
