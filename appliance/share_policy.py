"""The policy of a share as it is in force, and what it says to the parts that follow it."""

from appliance.vault import OpenShare
from core.durations import parse_duration
from snapshots.anchors import AnchorLimits
from snapshots.journal_retention import JournalPolicy
from snapshots.policy import Policy
from snapshots.policy_document import read_policy


def policy_of(opened: OpenShare) -> Policy:
    """Return the policy of a share; what was never set is the default."""
    document = opened.reader.ledger.policy()
    return Policy() if document is None else read_policy(document)


def journal_policy(policy: Policy) -> JournalPolicy:
    """Return how much of the journal a policy keeps."""
    return JournalPolicy(parse_duration(policy.limits.journal_keep), policy.limits.journal_bytes or 0)


def anchor_limits(policy: Policy) -> AnchorLimits:
    """Return how far apart a policy lets anchors be."""
    limits = policy.limits
    return AnchorLimits(unpacked_bytes=limits.anchor_bytes, age_ns=parse_duration(limits.anchor_every))
