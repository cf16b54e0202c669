"""What a search for names answers, as typed values; their fields are the JSON of the API."""

from msgspec import Struct


class FoundName(Struct, frozen=True, omit_defaults=True):
    """Another path of what was found; `until_at` is null while it stands there too."""

    path: str
    since_at: str | None
    until_at: str | None
    path_base64: str | None = None  # set when the path is not UTF-8


class Found(Struct, frozen=True, omit_defaults=True):
    """A path that a search found, and what stood there last."""

    share: str
    path: str
    kind: str
    size_bytes: int
    mtime_ns: int
    deleted: bool
    deleted_at: str | None
    first_seen_at: str | None
    last_seen_at: str | None
    node: int
    sequence: int
    snapshots: list[int]  # the newest few that show it, newest first
    names: list[FoundName]
    path_base64: str | None = None  # set when the path is not UTF-8


class NotSearched(Struct, frozen=True):
    """A share that could not be looked at, and why."""

    share: str
    why: str


class FoundPage(Struct, frozen=True):
    """Some of what a search found, where to go on (None at the end), and the shares that could not be looked at."""

    found: list[Found]
    following: bytes | None
    not_searched: list[NotSearched]
