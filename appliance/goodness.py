"""Good and bad states of a share: what waits while it is bad, and what is kept because it was the last good one.

A scheduled snapshot of a share that is not good would take the place of one that is: it waits, with the reason, and is taken as
soon as the share is good again. When a share turns bad its newest good snapshot is held until there is a newer good one.
"""

from appliance.vault import OpenShare
from snapshots.control_format import HoldReleased, HoldSet

LAST_GOOD = "last-good"
_OWNER = "stagekeeper"


def hold_last_good(share: OpenShare) -> None:
    """Hold the newest good snapshot of a share that is bad, and release it when it is needed no more."""
    state, reason = share.fold.state
    ledger = share.reader.ledger
    good = [row for row in ledger.snapshots() if row.good]
    held = {snapshot for snapshot, holds in ledger.holds().items() if any(hold.name == LAST_GOOD for hold in holds)}
    newest = good[-1].id if good else None
    if state != "good" and newest is not None and newest not in held:
        why = f"the last good one: {reason}"[:500]
        share.fold.order(lambda number, _: HoldSet(number, newest, LAST_GOOD, _OWNER, why, 0))
    needed = {newest} if state != "good" else set()
    for snapshot in sorted(held - needed):
        share.fold.order(lambda number, _, snapshot=snapshot: HoldReleased(number, snapshot, LAST_GOOD))  # type: ignore[misc]


def take_deferred(share: OpenShare, now_ns: int) -> bool:
    """Take the scheduled snapshot that waited for the share to be good; return True when one was taken."""
    deferred = share.reader.ledger.deferred()
    if deferred is None or share.fold.state[0] != "good":
        return False
    share.fold.take_snapshot(deferred, "schedule", now_ns)
    share.fold.defer(None)
    return True
