"""How far the state that is shown is behind what is durable, and what is said when it is too far."""

from appliance.share_policy import policy_of
from appliance.vault import OpenShare
from core.clock import NANOSECONDS
from core.durations import parse_duration


def lag_seconds(share: OpenShare) -> float:
    """Return for how long the oldest change that is not folded has waited since it came, or since the share was opened."""
    return share.journal.arrivals.waiting_seconds(share.fold.sequence)


def lag_alerts(share: OpenShare) -> list[str]:
    """Return a sentence when a share is further behind than its policy allows."""
    lag, allowed = lag_seconds(share), policy_of(share).thresholds.lag
    if lag * NANOSECONDS <= parse_duration(allowed):
        return []
    return [f"changes wait for {lag / 60:.0f} minutes to be read in, longer than the {allowed} of the policy (thresholds.lag)"]
