"""Branches, shares, snapshots and files as the web side is told of them, and how far a long operation is.

Fields are the JSON of the API and of `--json` on the command line, unchanged. Times are RFC 3339 UTC, `None` is `null`.
"""

from collections.abc import Iterator

from msgspec import Struct


class BranchCode(Struct, frozen=True):
    """The one-time code with which a branch server makes itself known."""

    name: str
    code: str
    expires_at: str


class Branch(Struct, frozen=True):
    """A source server as operators see it."""

    name: str
    state: str  # "waiting", "enrolled", "revoked", "deleted"
    enrolled_at: str | None
    last_seen_at: str | None
    shares: int
    drops_at: str | None = None  # until then the deletion can be undone
    quota_bytes: int | None = None  # what it may take on the appliance's disk


class Share(Struct, frozen=True):
    """A protected tree: how it is, how far it has come, and what it holds now."""

    share: str
    state: str  # "mirroring", "good", "resync", "stopped", "deleted"
    reason: str
    durable_sequence: int
    folded_sequence: int
    lag_seconds: float
    files: int
    logical_bytes: int
    last_snapshot_at: str | None = None  # newest snapshot; shown on the overview
    drops_at: str | None = None  # until then the deletion can be undone
    alerts: list[str] = []  # what an operator should look at although the share is what `state` says


class Hold(Struct, frozen=True):
    """Why a snapshot stays, whatever the policy says."""

    name: str
    owner: str
    reason: str
    expires_at: str | None


class Snapshot(Struct, frozen=True):
    """A named sequence of a share."""

    id: int
    sequence: int
    taken_at: str
    label: str
    trigger: str  # "command", "schedule", "barrier", "burst", "demo"
    consistency: str  # "crash", "application"
    state: str  # "folding", "ready", "deleted"
    good: bool | None = None  # whether the share was good; None while folding
    holds: list[Hold] = []
    deleted_at: str | None = None
    drops_at: str | None = None  # until then the deletion can be undone
    reason: str = ""  # of the deletion
    files: int | None = None  # as of the snapshot, without folders; None while folding, and where an older release kept none
    logical_bytes: int | None = None  # their lengths added up, also None then


class Moment(Struct, frozen=True):
    """What a moment means: the live state, a snapshot, or an instant that only the journal tells of.

    `at` is the time that was asked for, else when the snapshot was taken or the change was received.
    """

    kind: str  # "live", "snapshot", "instant"
    sequence: int
    at: str | None  # None of a live state without a change
    snapshot: int | None  # its id, of a snapshot
    before: int | None  # the id of the newest snapshot before it
    after: int | None  # the id of the oldest snapshot behind it


class Entry(Struct, frozen=True, omit_defaults=True):
    """What stands under a name in a folder at some moment."""

    name: str
    kind: str
    size_bytes: int
    mode: str  # four octal digits
    uid: int
    gid: int
    mtime_ns: int
    target: str | None
    digest: str | None
    name_base64: str | None = None  # set when the name is not UTF-8


class Version(Struct, frozen=True):
    """What stood at a path from one change to the next; `deleted` when that was nothing."""

    sequence: int
    changed_at: str | None
    snapshots: list[int]
    kind: str
    size_bytes: int
    mtime_ns: int
    digest: str | None
    deleted: bool
    path: str


class NotApplied(Struct, frozen=True):
    """Something that a restore could not give back, and why."""

    path: str
    what: str
    why: str


class RestoreReport(Struct, frozen=True):
    """What a restore wrote, and what it could not."""

    files: int
    bytes: int
    not_applied: list[NotApplied]


class Place(Struct, frozen=True, forbid_unknown_fields=True):
    """A directory as a process sees it; mounts and namespaces may give another process another one under this path."""

    path: str
    device: int
    inode: int


class Progress(Struct, frozen=True):
    """How far a long operation is; `total` is None while unknown."""

    done_bytes: int
    total_bytes: int | None
    files: int
    what: str


class Download(Struct, frozen=True):
    """One file's content as of a moment, in pieces that were checked.

    `size_bytes` is the whole file's, whatever range was asked; `pieces` are the asked bytes and nothing else; `etag`
    (no quotes) differs whenever the bytes do. A `pieces` with `close()` is closed when the reader goes away.
    """

    name: bytes
    size_bytes: int
    mtime_ns: int
    etag: str
    pieces: Iterator[bytes]
