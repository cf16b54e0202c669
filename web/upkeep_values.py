"""What operators are answered about the upkeep of the store: pruning, purging, seals, journals, collect and scrub.

Fields are the JSON of the API and of `--json` on the command line, unchanged.
"""

from msgspec import Struct


class WeighedSnapshot(Struct, frozen=True):
    """One of the snapshots that were weighed."""

    id: int
    taken_at: str
    label: str
    alone_bytes: int  # at most, by deleting this snapshot alone


class PruneDecision(Struct, frozen=True):
    """Whether the policy keeps a snapshot, and why."""

    share: str
    snapshot: int
    keep: bool
    reasons: list[str]
    frees_bytes: int  # at most, by deleting this snapshot alone; 0 when it is kept


class Weight(Struct, frozen=True):
    """What deleting snapshots together would free, and how much of it each frees alone (at most)."""

    share: str
    snapshots: list[WeighedSnapshot]
    frees_bytes: int


class PurgeReport(Struct, frozen=True):
    """What a purge removed, and where copies are that it cannot reach."""

    share: str
    path: str
    names: int
    versions: int
    was_live: bool  # it comes back with the next look of the agent if it still stands on the branch
    snapshots: list[int]  # that showed it
    cartridges: list[str]  # barcodes of the media sets that hold one of these snapshots
    cartridges_to_check: list[str]  # of sets with snapshots of the share that are gone here
    freed_after: str  # from then on collect may have freed the bytes


class JournalSegment(Struct, frozen=True):
    """One file of a journal."""

    first_sequence: int
    last_sequence: int  # below first: no changes yet
    opened_at: str | None
    closed_at: str | None  # None for the newest
    size_bytes: int
    changes: int


class JournalWindow(Struct, frozen=True, rename={"from_": "from"}):
    """Between these times every instant can be read; both are None while nothing is."""

    from_: str | None
    until: str | None


class JournalList(Struct, frozen=True):
    """The files of a journal, and how far back every instant can be read."""

    segments: list[JournalSegment]
    window: JournalWindow


class JournalChange(Struct, frozen=True):
    """One thing that happened to a file."""

    sequence: int
    at: str
    what: str  # "create", "write", "truncate", "content", "attributes", "rename", "link", "unlink"
    path: str | None  # as it was then; None where a repair took the name away
    offset: int | None
    length: int | None
    size_bytes: int | None


class SealReport(Struct, frozen=True):
    """Whether a catalogue equals its seals."""

    share: str
    sequence: int
    digest: str  # head of the chain
    seals: int
    rows: int
    equal: bool
    differences: list[str]


class CollectReport(Struct, frozen=True):
    """What one run of collect did; bytes are those of records in packs."""

    run: int
    chunks: int
    named: int
    condemned: int
    resurrected: int
    removed_chunks: int
    removed_bytes: int
    moved_chunks: int
    moved_bytes: int
    cleared_packs: int
    freed_bytes: int
    damaged: list[str]


class FileHit(Struct, frozen=True):
    """A file that cannot be read whole, and the snapshots that show it."""

    share: str
    path: str
    snapshots: list[int]
    live: bool


class ScrubReport(Struct, frozen=True):
    """What was read through, and what was found."""

    packs: int
    bytes: int
    chunks: int
    findings: list[str]
    healed_chunks: int
    damaged_chunks: int
    hits: list[FileHit]  # files that cannot be read whole
    hits_left_off: bool
    verified_since: str
    databases: int = 0  # read through, and compared with their seals
