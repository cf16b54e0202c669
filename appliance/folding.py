"""What is done for a share in the background: folding what came, and keeping what is to be kept.

Both are single steps that a `ShareWorker` repeats. Folding comes first and is short; keeping holds the last good snapshot,
takes one that waited, seals what the newest fence shows, lets deleted snapshots go when their time has come, and removes rows
that nobody sees any more. Of a deleted share only the last is left to do: to remove it when its time has come. While the clock
is not to be believed (`ClockWatch`) nothing goes whose time has come.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from appliance.goodness import hold_last_good, take_deferred
from appliance.journal_losses import tell_opened
from appliance.lag import lag_seconds
from appliance.removals import in_force, is_due
from appliance.share_policy import anchor_limits, journal_policy, policy_of
from appliance.share_worker import Step
from appliance.vault import OpenShare, Vault
from core.errors import NotFound, Refused
from snapshots.control_format import SnapshotDropped
from snapshots.purging import finish_purge
from staging.protocol import Position

KEEP_EVERY_SECONDS = 60.0


class SnapshotKept(Refused):
    """A snapshot that was to go was held or taken back before its turn came."""


def fold_step(vault: Vault) -> Step:
    """Return the step that folds one transaction of a share; the first one tells in what state its journal was found."""
    met: set[str] = set()

    def step(name: str) -> bool:
        try:
            share = vault.share(name)
        except NotFound:
            return False  # removed meanwhile
        if name not in met:
            met.add(name)
            tell_opened(share)
        share.fold.fold()
        lag_seconds(share)  # forgets when those came that are folded now, also while nobody asks
        return share.fold.sequence < share.journal.durable.sequence

    return step


def keep_step(
    vault: Vault, removed: Callable[[str], None] = lambda name: None, settled: Callable[[], bool] = lambda: True
) -> Step:
    """Return the step that seals, drops and sweeps a share and trims its journal; it tells `removed` of a share that is gone.

    `settled` tells whether the clock is believed: else nothing is dropped, trimmed or removed.
    """

    def step(name: str) -> bool:
        try:
            share = vault.share(name)
        except NotFound:
            return False  # removed meanwhile

        def due() -> bool:
            return is_due(share, vault.clock.now_ns())

        if share.reader.ledger.deletion() is None:
            hold_last_good(share)
            take_deferred(share, vault.clock.now_ns())
        elif settled() and due() and vault.remove(name, due):
            removed(name)
            return False
        finish_purge(share.journal, share.fold, share.reader, share.sealer)
        share.sealer.seal()
        policy = policy_of(share)
        share.fold.anchor_limits = anchor_limits(policy)
        if settled():
            drop_due(share, vault.clock.now_ns())
            share.instants.trim(journal_policy(policy))
        return share.fold.sweep() > 0

    return step


def drop_due(share: OpenShare, now_ns: int) -> list[int]:
    """Let go of the deleted snapshots whose time has come and that nothing holds; return their ids.

    Each is looked at once more in the share's turn: a hold or an undoing that was answered meanwhile counts.
    """

    def drop(snapshot: int, number: int, _: Position) -> SnapshotDropped:
        if snapshot not in _due(share, now_ns):
            raise SnapshotKept(f"snapshot {snapshot} of {share.name} stays: it was held or taken back")
        return SnapshotDropped(number, snapshot)

    dropped = []
    for snapshot in _due(share, now_ns):
        with suppress(SnapshotKept):
            share.fold.order(partial(drop, snapshot))
            dropped.append(snapshot)
    return dropped


def _due(share: OpenShare, now_ns: int) -> list[int]:
    holds = share.reader.ledger.holds()
    return [
        row.id
        for row in share.reader.ledger.snapshots(deleted=True)
        if row.deleted_ns and row.drop_after_ns <= now_ns and not in_force(holds.get(row.id, []), now_ns)
    ]
