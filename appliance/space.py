"""What the appliance takes on disk, counted in allocated bytes."""

import os
from pathlib import Path

from appliance.ballast import Ballast
from appliance.vault import Vault
from core.errors import Damaged
from web.figures import Stats

_BLOCK = 512  # unit of st_blocks, whatever the file system's own block size is


def measure(vault: Vault, ballast: Ballast) -> Stats:
    """Return the figures of `stats`, after the WAL files were written back."""
    vault.truncate_logs()
    total = allocated_bytes(vault.root.path)
    room = sum(_allocated(file) for file in ballast.files if file.parent == vault.root.journal)
    journal = allocated_bytes(vault.root.journal) - room
    chunks, packs = vault.store.counts()
    space = os.statvfs(vault.root.path)
    logical = sum(logical_bytes(vault, name) for name in vault.names())
    free = space.f_bavail * space.f_frsize
    return Stats(min(logical, 2**63 - 1), total - journal, journal, total, free, chunks, packs, ballast.held_bytes)


def logical_bytes(vault: Vault, name: str) -> int:
    """Return the size of a share's live state; one that cannot be opened counts nothing (its state tells why)."""
    try:
        return vault.share(name).fold.totals[1]
    except Damaged:
        return 0


def allocated_bytes(folder: Path) -> int:
    """Return the bytes allocated for a folder and everything below it."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in (".", *files):
            total += _allocated(os.path.join(path, name))
    return total


def _allocated(path: str | Path) -> int:
    try:
        return os.lstat(path).st_blocks * _BLOCK
    except FileNotFoundError:  # removed meanwhile
        return 0
