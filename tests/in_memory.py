"""Folders in memory, for histories and sweeps that start thousands of small stores.

What they show does not lie in the disk: what a power cut takes is said by the file layer that they use, and the tests on a
real disk that loses power stand in `tests/faults` and `tests/end_to_end`. Files and databases are real ones; only the waiting
for a disk is left out.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 2**30


def _place() -> Path | None:
    """Return where memory can be had as files, or None for the usual place of temporary files."""
    if not (_MEMORY.is_dir() and os.access(_MEMORY, os.W_OK)):
        return None
    room = os.statvfs(_MEMORY)
    return _MEMORY if room.f_bavail * room.f_frsize >= _NEEDED_BYTES else None


def make_folder() -> Path:
    """Make a folder that the caller removes."""
    return Path(tempfile.mkdtemp(prefix="stagekeeper-test-", dir=_place()))


@contextmanager
def folder_in_memory() -> Iterator[Path]:
    """Hold a folder while the body runs."""
    folder = make_folder()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
