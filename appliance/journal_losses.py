"""Journals that lost their oldest segments to somebody: what it means, in words, wherever damage is told."""

import logging
from collections.abc import Iterable

from appliance.vault import OpenShare
from core.clock import format_time
from snapshots.journal_loss import JournalLoss, journal_loss
from snapshots.mark import MarkAborted

_LOG = logging.getLogger("stagekeeper.journal")
_ENDS = "put the segments back from a copy; without one collect waits until the journal is trimmed past that place"
_REBUILD = (
    "put the segments back from a copy and restart; if it is the catalogue that is an older copy, run `stagekeeper rebuild`"
)


def loss_alerts(share: OpenShare) -> list[str]:
    """Return a sentence when a share's journal does not reach as far back as it should."""
    loss = journal_loss(share.journal, share.reader, share.fold.sequence)
    return [] if loss is None else [_told(share, loss)]


def journal_losses(shares: Iterable[OpenShare]) -> list[str]:
    """Return a sentence for each of the shares whose journal lost segments."""
    return [f"{share.name}: {told}" for share in shares for told in loss_alerts(share)]


def check_journals(shares: Iterable[OpenShare]) -> None:
    """Raise `MarkAborted` when a journal lost segments: until they are back nobody knows what they name."""
    for told in journal_losses(shares):
        raise MarkAborted(told, remedy="see the runbook: a journal begins too late")


def tell_opened(share: OpenShare) -> None:
    """Log what was found wrong with a share's journal when it was opened."""
    for told in loss_alerts(share):
        _LOG.error("%s: %s", share.name, told)
    if share.journal.dropped_bytes:
        _LOG.warning(
            "%s: %d bytes at the journal's end that were never acknowledged are cut", share.name, share.journal.dropped_bytes
        )


def _told(share: OpenShare, loss: JournalLoss) -> str:
    gone = f"segments of the journal with the changes {loss.first:,} to {loss.last:,} were removed by somebody"
    lost = loss.lost_for_good
    if lost:
        return f"{gone}: the changes {lost[0]:,} to {lost[-1]:,} were acknowledged, are not folded, and are lost ({_REBUILD})"
    return f"{gone}: {_instants(share, loss)}; {_folded(loss)} ({_ENDS})"


def _instants(share: OpenShare, loss: JournalLoss) -> str:
    start = share.reader.ledger.oldest_start(loss.last)
    first_ns = share.reader.time_of(loss.first)
    until_ns = None if start is None else share.reader.time_of(max(start, loss.last))
    since = f"from {format_time(first_ns)} " if first_ns is not None else ""
    until = f"to {format_time(until_ns)} " if until_ns is not None else "to the next anchor "
    return f"instants {since}{until}cannot be read, snapshots can"


def _folded(loss: JournalLoss) -> str:
    alone = loss.in_catalogue_only
    if alone:
        return f"the changes {alone[0]:,} to {alone[-1]:,} stand in the catalogue alone until the next seal"
    return "all else that they held is folded and sealed"
