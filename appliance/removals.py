"""When something that was deleted really goes: the delay of removals, and what may not be deleted.

One rule for snapshots, shares and branches. A delay that is made shorter counts only after the longer one has passed: who
has stolen an account gains nothing by it. Holds outrank every deletion, before it is ordered and when it is due.
"""

from appliance.goodness import LAST_GOOD
from appliance.share_policy import policy_of
from appliance.vault import OpenShare
from core.clock import format_time
from core.durations import parse_duration
from core.errors import Refused
from snapshots.control_format import MAX_REASON, ShareDeleted
from snapshots.ledger_db import Hold
from snapshots.policy import Policy

DEFAULT_DELAY_NS = parse_duration(Policy().limits.removal_delay)


class ShareIsDeleted(Refused):
    """A deleted share takes nothing any more."""


class ShareHeld(Refused):
    """Holds keep snapshots of a share, and so the share."""


def removal_delay_ns(share: OpenShare, now_ns: int) -> int:
    """Return the delay of a removal that is ordered now."""
    least_ns, until_ns = share.reader.ledger.least_delay()
    delay_ns = parse_duration(policy_of(share).limits.removal_delay)
    return max(delay_ns, least_ns) if now_ns < until_ns else delay_ns


def in_force(holds: list[Hold], now_ns: int) -> list[Hold]:
    """Return the holds that have not expired."""
    return [hold for hold in holds if not hold.expires_ns or hold.expires_ns > now_ns]


def holds_on_share(share: OpenShare, now_ns: int) -> list[Hold]:
    """Return the holds that keep the share from going.

    The one on the last good snapshot is none: it comes by itself as long as the share is bad, and against prune only.
    """
    every = [hold for holds in share.reader.ledger.holds().values() for hold in in_force(holds, now_ns)]
    return [hold for hold in every if hold.name != LAST_GOOD]


def check_not_held(share: OpenShare, now_ns: int) -> None:
    """Raise `ShareHeld` naming what keeps the share."""
    holds = holds_on_share(share, now_ns)
    if holds:
        names = ", ".join(f"{hold.name} ({hold.owner}) on snapshot {hold.snapshot}" for hold in holds[:10])
        raise ShareHeld(f"{share.name} is held: {names}", remedy="release the holds first: stagekeeper snapshot release")


def check_not_deleted(share: OpenShare) -> None:
    """Raise `ShareIsDeleted` when a share is to go."""
    deletion = share.reader.ledger.deletion()
    if deletion is not None:
        undo = f"branch undelete {share.name.partition('/')[0]}" if deletion.with_branch else f"share undelete {share.name}"
        raise ShareIsDeleted(
            f"{share.name} was deleted and goes after {format_time(deletion.drop_after_ns)}",
            remedy=f"take it back on the appliance with `stagekeeper {undo}`, or unprotect the folder",
        )


def is_due(share: OpenShare, now_ns: int) -> bool:
    """Tell whether a share was deleted, its delay has passed, and nothing holds it."""
    deletion = share.reader.ledger.deletion()
    return deletion is not None and deletion.drop_after_ns <= now_ns and not holds_on_share(share, now_ns)


def order_deletion(share: OpenShare, now_ns: int, reason: str, with_branch: bool = False) -> None:
    """Journal that a share goes after the delay of its policy; durable on return."""
    after_ns = now_ns + removal_delay_ns(share, now_ns)
    share.fold.order(lambda number, _: ShareDeleted(number, now_ns, after_ns, reason[:MAX_REASON], with_branch))
