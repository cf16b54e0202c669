"""What the handlers of calls have in common: their type, and the two answers that are no bytes."""

from collections.abc import Callable, Sequence

from branch.filter.fuse_format import Request

Answer = Sequence[bytes] | None
"""Parts of an answer's body; None: nothing is to be answered (now)."""

Handler = Callable[[Request], Answer]
DONE: Answer = ()
