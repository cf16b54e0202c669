"""How much of a share's journal is kept: for a time, within a number of bytes, never less than what a rebuild needs.

Pure: the segments and anchors as they are and the present in, the sequence up to which the journal may go out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from core.clock import NANOSECONDS
from staging.journal_scan import SegmentSpan


@dataclass(frozen=True, slots=True)
class JournalPolicy:
    """For how long every instant can be restored; with `max_bytes` (0: no limit) as much of that as fits."""

    keep_ns: int = 7 * 24 * 3600 * NANOSECONDS
    max_bytes: int = 0


def trim_below(
    segments: Sequence[SegmentSpan],
    anchors: Sequence[tuple[int, int]],
    sealed_sequence: int,
    folded_sequence: int,
    now_ns: int,
    policy: JournalPolicy,
) -> int:
    """Return the sequence up to which whole segments may go, 0 for none.

    Never the newest segment; never what is not folded, or not sealed: the catalogue could not be made again without it.
    An anchor (sequence, time) must be left from which the oldest instant that the policy promises can be replayed; a snapshot
    will not do, as pruning may take it.
    """
    below = 0
    promised_ns = now_ns - policy.keep_ns
    left_bytes = sum(segment.size_bytes for segment in segments)
    for segment in segments[:-1]:
        end = segment.last_sequence
        too_many = 0 < policy.max_bytes < left_bytes
        too_old = segment.closed_ns is not None and segment.closed_ns <= promised_ns
        if end >= sealed_sequence or end > folded_sequence or not (too_old or too_many):
            break  # a seal's own record stands at or behind its sequence: the segment that ends there may hold it
        if not any(end <= sequence and (too_many or time_ns <= promised_ns) for sequence, time_ns in anchors):
            break
        below = end
        left_bytes -= segment.size_bytes
    return below
