"""What changed between two moments of a share, page by page. Implements `web.operations.Differences`.

A page says where the next one goes on and what the pages so far add up to: the appliance keeps nothing between them. People see
what they may see: a file that was moved out of their part is removed to them, one that was moved into it is added.
"""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from appliance.rights import Action, Reach, Rights
from appliance.rows import kind_word
from appliance.vault import OpenShare, Vault
from core.errors import Refused
from core.relpath import MAX_NAME_BYTES, RelPath, is_text, show_path
from snapshots.difference import START, Cursor, Difference
from snapshots.moment_difference import moment_differences
from web.differences import ChangedPath, DifferencePage, DifferenceSummary
from web.operations import Actor


class PageUnknown(Refused):
    """A page is continued with something that no page answered."""


_MOST = 2**63 - 1  # sums of sparse files may pass what JSON readers take
Number = Annotated[int, Meta(ge=-1, le=_MOST)]


class _Place(Struct, frozen=True, array_like=True):
    """Where a page ended, and the sums until there. It has been in other hands: every number is bounded."""

    cursor: tuple[Annotated[int, Meta(ge=0, le=2)], tuple[Number, Number, Annotated[bytes, Meta(max_length=MAX_NAME_BYTES)]]]
    sums: tuple[Number, ...]


class DifferenceDesk:
    """The differences of two moments."""

    def __init__(self, vault: Vault, rights: Rights) -> None:
        """Bind the parts."""
        self._vault, self._rights = vault, rights

    def differences(self, actor: Actor, share: str, before: str, after: str, place: bytes, limit: int) -> DifferencePage:
        """Return a page of what changed from one moment to the other, behind the place where the page before ended."""
        self._rights.check_path(actor, Action.BROWSE, share)
        opened = self._vault.share(share)
        if actor.role == "owner":  # the command line folds first, pages show the folded state
            opened.fold.fold_all()
        start, summary = _read_place(place)
        found: list[Difference] = []
        following = None
        with _difference(opened, before, after, start) as steps:
            for cursor, difference in steps:
                seen = self._as_seen(actor, share, difference)
                if seen is not None:
                    found.append(seen)
                    summary = _added(summary, seen)
                if len(found) == limit:
                    following = msgspec.msgpack.encode(_Place(cursor, msgspec.structs.astuple(summary)))
                    break
        found.sort(key=lambda one: one.after if one.after is not None else one.before or b"")
        return DifferencePage([_shown(one) for one in found], following, summary)

    def _as_seen(self, actor: Actor, share: str, found: Difference) -> Difference | None:
        """Return a difference as the actor may see it, None when nothing of it may be seen."""
        before = found.before if self._sees(actor, share, found.before) else None
        after = found.after if self._sees(actor, share, found.after) else None
        if (before, after) == (found.before, found.after):
            return found
        if before is None and after is None:
            return None
        what = "removed" if after is None else "added" if found.what == "renamed" else found.what
        return Difference(what, found.kind, before, after, found.size_before, found.size, found.different_bytes)

    def _sees(self, actor: Actor, share: str, path: RelPath | None) -> bool:
        return path is None or self._rights.reach(actor, share, path) is not Reach.NONE


@contextmanager
def _difference(opened: OpenShare, before: str, after: str, start: Cursor) -> Iterator[Iterator[tuple[Cursor, Difference]]]:
    """Yield what differs between two moments, which stay readable within the context."""
    first, second = opened.instants.resolve(before), opened.instants.resolve(after)
    with opened.instants.trees(first, second) as trees:
        yield moment_differences(*trees, start)


def _read_place(place: bytes) -> tuple[Cursor, DifferenceSummary]:
    if not place:
        return START, DifferenceSummary()
    try:
        read = msgspec.msgpack.decode(place, type=_Place)
        return read.cursor, DifferenceSummary(*read.sums)
    except (msgspec.MsgspecError, TypeError) as error:
        raise PageUnknown("no page ended there", remedy="continue with the `next` of the page before") from error


def _added(summary: DifferenceSummary, one: Difference) -> DifferenceSummary:
    """Return the sums with one difference more."""
    counts: dict[str, int] = {one.what: getattr(summary, one.what) + 1}
    if one.what == "added":
        counts["added_bytes"] = min(summary.added_bytes + one.size, _MOST)
    elif one.what == "removed":
        counts["removed_bytes"] = min(summary.removed_bytes + one.size_before, _MOST)
    else:
        counts["different_bytes"] = min(summary.different_bytes + (one.different_bytes or 0), _MOST)
    return replace(summary, **counts)


def _shown(one: Difference) -> ChangedPath:
    """Return a difference as answered: `path` as of the later moment (of a removed thing: where it was)."""
    path = one.after if one.after is not None else one.before or RelPath(b"")
    before = one.before if one.after is not None and one.before is not None and one.before != one.after else None
    return ChangedPath(
        path=show_path(path),
        what=one.what,
        kind=kind_word(one.kind),
        size_bytes=one.size if one.what != "removed" else 0,
        size_before_bytes=one.size_before if one.what != "added" else 0,
        different_bytes=one.different_bytes,
        path_base64=_base64(path),
        path_before=None if before is None else show_path(before),
        path_before_base64=None if before is None else _base64(before),
    )


def _base64(path: bytes) -> str | None:
    return None if is_text(path) else base64.b64encode(path).decode()
