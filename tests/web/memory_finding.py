"""Finding in shares kept in memory: a scan of the live trees and, for deleted paths, of all trees."""

from msgspec.structs import replace

from core.errors import Refused
from core.relpath import show_path
from tests.web.memory_shares import MemoryShare, MemoryShares, Thing
from web.found import Found, FoundPage
from web.operations import Actor


class NothingAsked(Refused):
    """No text was given."""


class MemoryFinding:
    """A real implementation of `web.operations.Finding`; a page continues behind the number of hits that were given."""

    def __init__(self, shares: MemoryShares) -> None:
        self._shares = shares

    def find(self, actor: Actor, text: str, share: str, deleted: bool, after: bytes, limit: int, moment: str = "") -> FoundPage:
        if not text:
            raise NothingAsked("nothing to look for", remedy="give a text")
        shares = [share] if share else [one.share for one in self._shares.list_shares(actor)]
        hits = [hit for name in shares for hit in _hits(self._shares.find(actor, name), text.lower(), deleted)]
        if moment:
            standing = {show_path(path) for path in self._shares.find(actor, share).tree(moment)}
            found = _hits(self._shares.find(actor, share), text.lower(), True)
            hits = [replace(hit, deleted=False) for hit in found if hit.path in standing]
        begin = int(after or b"0")
        following = str(begin + limit).encode() if begin + limit < len(hits) else None
        return FoundPage(hits[begin : begin + limit], following, [])


def _hits(share: MemoryShare, text: str, deleted: bool) -> list[Found]:
    last: dict[bytes, tuple[int, Thing]] = {}
    for sequence, tree in enumerate(share.trees):
        last.update({path: (sequence, thing) for path, thing in tree.items()})
    newest = len(share.trees) - 1
    return [
        Found(
            share.name,
            show_path(path),
            thing.kind,
            len(thing.content),
            thing.mtime_ns,
            sequence < newest,
            None,
            None,
            None,
            1,
            sequence,
            [],
            [],
        )
        for path, (sequence, thing) in sorted(last.items())
        if text in show_path(path.rpartition(b"/")[2]).lower() and (deleted or sequence == newest)
    ]
