"""What people ask about a share's journal: its segments, and what happened to a path when.

Implements `web.operations.Journals`. Who may see the versions of a path may see what happened to it; a name that it had where
the actor's grants do not reach is left out with its change.
"""

import itertools

from appliance.rights import Action, Reach, Rights
from appliance.vault import Vault
from core.clock import format_time
from core.relpath import RelPath, show_path
from snapshots.journal_events import Event, Mark
from staging.journal_scan import SegmentSpan
from web.operations import Actor
from web.upkeep_values import JournalChange, JournalList, JournalSegment, JournalWindow


class JournalDesk:
    """The questions about journals."""

    def __init__(self, vault: Vault, rights: Rights) -> None:
        """Bind the parts."""
        self._vault, self._rights = vault, rights

    def list_journal(self, actor: Actor, share: str) -> JournalList:
        """Return a share's segments, oldest first, and the times whose every instant can be read."""
        self._rights.check_path(actor, Action.VIEW_SHARES, share)
        opened = self._vault.share(share)
        window = opened.instants.window()
        known = window.first <= window.last
        bounds = (format_time(window.from_ns), format_time(window.until_ns)) if known else (None, None)
        return JournalList([_segment_of(span) for span in opened.journal.spans()], JournalWindow(*bounds))

    def show_journal(
        self, actor: Actor, share: str, path: RelPath, after: Mark, limit: int
    ) -> tuple[list[JournalChange], Mark | None]:
        """Return what happened to a path behind a mark, newest last, and the mark to continue behind."""
        self._rights.check_path(actor, Action.BROWSE, share, path)
        opened = self._vault.share(share)
        if actor.role == "owner":
            opened.fold.fold_all()
        with opened.instants.events(path, after) as found:
            events = list(itertools.islice(found, limit))
        following = events[-1].mark if len(events) == limit else None
        return [_change_of(event) for event in events if self._may_see(actor, share, path, event)], following

    def _may_see(self, actor: Actor, share: str, path: RelPath, event: Event) -> bool:
        return event.path is None or event.path == path or self._rights.reach(actor, share, event.path) is Reach.FULL


def _segment_of(span: SegmentSpan) -> JournalSegment:
    return JournalSegment(
        span.first_sequence,
        span.last_sequence,
        None if span.opened_ns is None else format_time(span.opened_ns),
        None if span.closed_ns is None else format_time(span.closed_ns),
        span.size_bytes,
        span.last_sequence - span.first_sequence + 1,
    )


def _change_of(event: Event) -> JournalChange:
    path = None if event.path is None else show_path(event.path)
    at = format_time(event.time_ns)
    return JournalChange(event.sequence, at, event.what, path, event.offset, event.length, event.size_bytes)
