"""Finding names in one share or all: rights for each hit, pages over shares, and answers as the API gives them.

Implements `web.operations.Finding`. Paths where something stands come first, share by share, then those of the past.
"""

import base64
import re
from dataclasses import dataclass

from appliance.find_indexes import FindIndexes
from appliance.rights import Action, Reach, Rights
from appliance.rows import kind_word
from appliance.vault import OpenShare, Vault
from core.clock import format_time
from core.errors import Damaged, Refused
from core.relpath import RelPath, is_text, show_path
from snapshots.find import TOP, Finder, FoundPath, MaySee, OtherName, Work
from snapshots.find_at import MomentFinder
from snapshots.search_form import wanted_form
from web.found import Found, FoundName, FoundPage, NotSearched
from web.operations import Actor

_CURSOR = re.compile(rb"(live|past)/([0-9]{1,19})/([A-Za-z0-9._/-]{0,130})")


class CursorRefused(Refused):
    """A place to go on from is none that was answered."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page begins: among live or past paths, in which share (and those behind it), below which birth."""

    live: bool = True
    share: str = ""
    below: int = TOP

    def encode(self) -> bytes:
        """Return the place as the token of an answer."""
        return f"{'live' if self.live else 'past'}/{self.below}/{self.share}".encode()


def parse_place(token: bytes) -> Place:
    """Return the place that a token names, the beginning for an empty one; raise `CursorRefused`."""
    if not token:
        return Place()
    found = _CURSOR.fullmatch(token)
    if found is None or int(found[2]) > TOP:
        raise CursorRefused("this is no place to go on from", remedy="give `after` as `next` of the page before")
    return Place(found[1] == b"live", found[3].decode(), int(found[2]))


class FindDesk:
    """Finds names."""

    def __init__(self, vault: Vault, indexes: FindIndexes, rights: Rights) -> None:
        """Bind the parts."""
        self._vault, self._indexes, self._rights = vault, indexes, rights

    def find(self, actor: Actor, text: str, share: str, deleted: bool, after: bytes, limit: int, moment: str = "") -> FoundPage:
        """Return one page of what is found in all that is folded and kept, or in what one moment of a share shows."""
        self._rights.check(actor, Action.BROWSE)
        if moment:
            return self._find_at(actor, text, share, moment, parse_place(after), limit)
        wanted, begin = wanted_form(text), parse_place(after)
        opened, not_searched = self._shares(actor, share)
        finders: dict[str, Finder] = {}
        work = Work()
        found: list[Found] = []
        for live in (True, False) if deleted else (True,):
            for one in opened:
                if (not live, one.name) < (not begin.live, begin.share):
                    continue
                below = begin.below if (live, one.name) == (begin.live, begin.share) else TOP
                if len(found) >= limit or work.is_spent:
                    return FoundPage(found, Place(live, one.name, below).encode(), not_searched)
                if one.name not in finders:
                    finders[one.name] = self._finder(actor, one, wanted)
                page, following = finders[one.name].page(live, below, limit - len(found), work)
                found += [_answer(one, hit) for hit in page]
                if following is not None:
                    return FoundPage(found, Place(live, one.name, following).encode(), not_searched)
        return FoundPage(found, None, not_searched)

    def _find_at(self, actor: Actor, text: str, share: str, moment: str, begin: Place, limit: int) -> FoundPage:
        self._rights.check_path(actor, Action.BROWSE, share)
        opened = self._vault.share(share)
        resolved = opened.instants.resolve(moment)
        with opened.instants.tree(resolved) as tree:
            time_ns = resolved.snapshot.taken_ns if resolved.snapshot else opened.reader.time_of(tree.sequence) or 0
            asked = (self._indexes.index(opened), wanted_form(text), opened.fold.sequence, self._may_see(actor, opened))
            page, following = MomentFinder(tree, time_ns, *asked).page(begin.live, begin.below, limit, Work())
        token = None if following is None else Place(True, share, following).encode()
        return FoundPage([_answer(opened, hit) for hit in page], token, [])

    def _shares(self, actor: Actor, share: str) -> tuple[list[OpenShare], list[NotSearched]]:
        """Return the named share, or all that the actor may see; of these, one that is damaged does not hide the others."""
        if share:
            self._rights.check_path(actor, Action.BROWSE, share)
            return [self._vault.share(share)], []
        opened, not_searched = [], []
        for name in self._vault.names():
            if self._rights.reach(actor, name) is not Reach.NONE:
                try:
                    opened.append(self._vault.share(name))
                except Damaged as error:
                    not_searched.append(NotSearched(name, error.message))
        return opened, not_searched

    def _finder(self, actor: Actor, share: OpenShare, wanted: bytes) -> Finder:
        """Begin a question; the command line folds first, pages show the folded state."""
        if actor.role == "owner":
            share.fold.fold_all()
        index = self._indexes.index(share)
        return Finder(share.reader, index, wanted, share.fold.sequence, self._may_see(actor, share))

    def _may_see(self, actor: Actor, share: OpenShare) -> MaySee:
        """Return what tells for each path whether the actor may see it, asked once."""
        seen: dict[RelPath, bool] = {}

        def may_see(path: RelPath) -> bool:
            if path not in seen:
                seen[path] = self._rights.reach(actor, share.name, path) is Reach.FULL
            return seen[path]

        return may_see


def _answer(share: OpenShare, hit: FoundPath) -> Found:
    """Return a hit as answered."""
    reader, state = share.reader, hit.state
    seen_ns = hit.seen.time_ns if hit.seen is not None else reader.time_of(share.fold.sequence)
    return Found(
        share=share.name,
        path=show_path(hit.path),
        kind=kind_word(state.kind),
        size_bytes=state.size,
        mtime_ns=state.attributes.mtime_ns,
        deleted=hit.until is not None,
        deleted_at=_time(share, hit.until),
        first_seen_at=_time(share, hit.first),
        last_seen_at=format_time(seen_ns) if seen_ns is not None else None,
        node=state.node,
        sequence=hit.sequence,
        snapshots=list(hit.snapshots),
        names=[_name(share, name) for name in hit.names],
        path_base64=_base64(hit.path),
    )


def _name(share: OpenShare, name: OtherName) -> FoundName:
    return FoundName(show_path(name.path), _time(share, name.since), _time(share, name.until), _base64(name.path))


def _time(share: OpenShare, sequence: int | None) -> str | None:
    time_ns = share.reader.time_of(sequence) if sequence is not None else None
    return format_time(time_ns) if time_ns is not None else None


def _base64(path: bytes) -> str | None:
    return None if is_text(path) else base64.b64encode(path).decode()
