"""What somebody should look at: the bursts of losses whose snapshots are still held.

An alert lasts as long as the hold that came with it. Whoever has looked releases the hold, and the alert is gone.
"""

from appliance.removals import in_force
from appliance.vault import OpenShare
from snapshots.ledger_db import BURST


def burst_alerts(share: OpenShare, now_ns: int) -> list[str]:
    """Return a sentence for each burst that nobody has dealt with yet."""
    return [
        f"snapshot {snapshot} is held: {hold.reason}"
        for snapshot, holds in sorted(share.reader.ledger.holds().items())
        for hold in in_force(holds, now_ns)
        if hold.name == BURST
    ]
