"""Bursts of losses: the entry that one leaves in the audit log, and what somebody should look at.

An alert lasts as long as the hold that came with it. Whoever has looked releases the hold, and the alert is gone.
"""

from collections.abc import Callable

from appliance.audit import APPLIANCE, AuditLog
from appliance.removals import in_force
from appliance.vault import OpenShare
from snapshots.burst import Burst
from snapshots.control_format import SnapshotTaken
from snapshots.ledger_db import BURST


def burst_alerts(share: OpenShare, now_ns: int) -> list[str]:
    """Return a sentence for each burst that nobody has dealt with yet."""
    return [
        f"snapshot {snapshot} is held: {hold.reason}"
        for snapshot, holds in sorted(share.reader.ledger.holds().items())
        for hold in in_force(holds, now_ns)
        if hold.name == BURST
    ]


def burst_entries(audit: AuditLog) -> Callable[[str, Burst, SnapshotTaken], None]:
    """Return what enters a burst in the audit log, durable before its snapshot is: after a crash in between it is entered again.

    The counts are those at which it was recognised: what follows is not waited for.
    """

    def enter(share: str, burst: Burst, taken: SnapshotTaken) -> None:
        losses = burst.losses
        details = {
            "sequence": taken.sequence,
            "label": taken.label,
            "files": burst.files,
            "deleted": losses.deleted,
            "rewritten": losses.rewritten,
            "renamed": losses.renamed,
        }
        audit.record(APPLIANCE, "snapshot.burst", f"{share}@{taken.id}", "done", details)

    return enter
