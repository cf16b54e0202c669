"""The figures of `stats`: what the store holds, what it takes, and what of it each branch does."""

from msgspec import Struct


class BranchSpace(Struct, frozen=True):
    """What a branch takes on the disk (packs that it put, journals), and the size of its live files."""

    branch: str
    stored_bytes: int
    logical_bytes: int
    quota_bytes: int | None


class Stats(Struct, frozen=True):
    """The whole appliance; `stored_bytes` is `total_bytes` (allocated below its folder) without the journals."""

    logical_bytes: int
    stored_bytes: int
    journal_bytes: int
    total_bytes: int
    free_bytes: int
    chunks: int
    packs: int
    ballast_bytes: int = 0  # of the total: what is given up when a disk is full
    full_at: str | None = None  # when nothing is free any more if it goes on like this; None: not in sight
    branches: list[BranchSpace] = []
