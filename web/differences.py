"""The differences of two moments as typed values: what the API and `snapshot diff --json` answer."""

from dataclasses import dataclass

from msgspec import Struct


class ChangedPath(Struct, frozen=True, omit_defaults=True):
    """What changed at one path."""

    path: str  # as of the later moment asked for; of what was removed: where it was
    what: str  # "added", "removed", "renamed", "changed", "attributes"
    kind: str
    size_bytes: int
    size_before_bytes: int
    different_bytes: int | None  # of chunks that the content before has not; None when that cannot be told
    path_base64: str | None = None  # set when the path is not UTF-8
    path_before: str | None = None  # set when it is another
    path_before_base64: str | None = None


class DifferenceSummary(Struct, frozen=True):
    """What the differences add up to."""

    added: int = 0
    removed: int = 0
    renamed: int = 0
    changed: int = 0
    attributes: int = 0
    added_bytes: int = 0
    removed_bytes: int = 0
    different_bytes: int = 0


@dataclass(frozen=True, slots=True)
class DifferencePage:
    """Some differences sorted by path, where the next page goes on, and the sums of this page and all before it."""

    differences: list[ChangedPath]
    following: bytes | None
    summary: DifferenceSummary
