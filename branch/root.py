"""Knowing a share's root folder again: an unmounted, emptied or exchanged root is never "everything was deleted"."""

import os

from branch.folders import OpenFolders
from branch.state_db import RootMark, ShareRecord
from core.errors import TryLater
from core.relpath import show_path

_MASK = 2**63 - 1  # what SQLite can hold


class RootGone(TryLater):
    """The folder that was protected is not there, or another stands in its place."""


def mark_of(descriptor: int) -> RootMark:
    """Return the mark of an open folder."""
    found = os.fstat(descriptor)
    return RootMark(found.st_dev & _MASK, os.fstatvfs(descriptor).f_fsid & _MASK, found.st_ino & _MASK)


def open_root(record: ShareRecord) -> OpenFolders:
    """Open a share's root; raise `RootGone` unless it is the folder that was protected."""
    shown = show_path(record.path)
    try:
        folders = OpenFolders(record.path)
    except OSError as error:
        raise RootGone(f"{shown} cannot be opened: {error.strerror}", remedy="mount or restore it") from error
    if record.root is None or not record.root.is_same(mark_of(folders.root)):
        folders.close()
        raise RootGone(
            f"{shown} is not the folder that was protected",
            remedy=f"mount the right one; if this one is right, run: stagekeeper-agent protect PATH --as {record.name}",
        )
    return folders
