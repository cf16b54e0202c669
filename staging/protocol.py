"""The rules of a session, without I/O: what each side may say in which state, and what the answer means.

`TargetSession` is the appliance's role for one share, `SourceSession` the agent's. Both are driven by events (a message
came, the line was lost) and keep their state by a table; a call that the table does not hold is this side's own mistake
(`ProtocolMisuse`), what the other side does wrong is refused by name with what was expected instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct

from core.digest import ZERO_DIGEST, Digest
from core.errors import Refused
from staging.changes import DigestBytes
from staging.frame_format import MAX_SEQUENCE, FrameHeader

_State = TypeVar("_State", bound=Enum)

SequenceNumber = Annotated[int, Meta(ge=0, le=MAX_SEQUENCE)]


@dataclass(frozen=True, slots=True)
class Position:
    """The end of a share's chain of frames: epoch, number of the last change, hash of the last frame."""

    epoch: int = 0
    sequence: int = 0
    hash: Digest = ZERO_DIGEST


class Open(Struct, frozen=True, forbid_unknown_fields=True):
    """The agent's first message of a session. `epoch` is the life of the numbering in which it will send."""

    share_id: Annotated[bytes, Meta(min_length=16, max_length=16)]
    epoch: Annotated[int, Meta(ge=1, le=MAX_SEQUENCE)]


class Opened(Struct, frozen=True):
    """The appliance's answer: where its durable chain ends."""

    session: str
    epoch: SequenceNumber
    durable_sequence: SequenceNumber
    durable_hash: DigestBytes
    poll_seconds: float


class Acknowledged(Struct, frozen=True):
    """The answer to frames: everything up to `durable_sequence` survives a power cut of the appliance."""

    durable_sequence: SequenceNumber
    tasks: list[dict[str, Any]] = []


class Task(Struct, frozen=True):
    """What the appliance asks of a share's agent; a kind that the agent does not know is left alone.

    `contents`: read the file at `path` and put what of it the appliance misses.
    """

    task: str
    path: bytes = b""


class Tasks(Struct, frozen=True):
    """The answer to a question for tasks, and when to ask again."""

    tasks: list[Task]
    poll_seconds: float


CONTENTS_TASK = "contents"


class ProtocolMisuse(RuntimeError):
    """This side broke its own rules: a defect of ours, never of the peer."""


class PeerRefused(Refused):
    """The peer's message does not fit; `expected` tells what would."""

    def __init__(self, message: str, *, remedy: str = "", **expected: Any) -> None:
        super().__init__(message, remedy=remedy)
        self.expected = expected


class SequenceGap(PeerRefused):
    """A frame begins behind the next expected number."""


class SequenceForked(PeerRefused):
    """Two different histories claim the same numbers."""


class ChangedRepeat(PeerRefused):
    """A frame that was acknowledged comes again with other bytes."""


class StaleEpoch(PeerRefused):
    """The epoch is not the one in which this share is numbered now."""


class SessionFenced(PeerRefused):
    """A newer session of the same share has ended this one."""


class Verdict(Enum):
    """What to do with a frame that may come now."""

    APPEND = "append"
    REPEAT = "repeat"


class TargetState(Enum):
    """Where the appliance's side of a share stands."""

    CLOSED = "closed"
    LIVE = "live"


class SourceState(Enum):
    """Where the agent's side of a share stands."""

    CLOSED = "closed"
    OPENING = "opening"
    LIVE = "live"
    FENCED = "fenced"
    FORKED = "forked"


TARGET_TABLE: dict[tuple[TargetState, str], TargetState] = {
    (TargetState.CLOSED, "open"): TargetState.LIVE,
    (TargetState.LIVE, "open"): TargetState.LIVE,  # the newer session fences the older
    (TargetState.LIVE, "frame"): TargetState.LIVE,
    (TargetState.LIVE, "close"): TargetState.CLOSED,
    (TargetState.CLOSED, "close"): TargetState.CLOSED,
}

SOURCE_TABLE: dict[tuple[SourceState, str], SourceState] = {
    (SourceState.CLOSED, "open"): SourceState.OPENING,
    (SourceState.OPENING, "opened"): SourceState.LIVE,
    (SourceState.OPENING, "forked"): SourceState.FORKED,
    (SourceState.OPENING, "lost"): SourceState.CLOSED,
    (SourceState.LIVE, "acknowledged"): SourceState.LIVE,
    (SourceState.LIVE, "lost"): SourceState.CLOSED,
    (SourceState.LIVE, "fenced"): SourceState.FENCED,
    (SourceState.LIVE, "forked"): SourceState.FORKED,
    (SourceState.FENCED, "open"): SourceState.OPENING,  # after an operator said that this agent is the right one
}


class TargetSession:
    """The appliance's role for one share. The caller holds the share's lock around every call."""

    def __init__(self) -> None:
        """Start without a session."""
        self.state = TargetState.CLOSED
        self.session = ""
        self._epoch = 0

    def receive_open(self, message: Open, position: Position, session: str) -> None:
        """Begin `session`, ending any older one; raise `StaleEpoch` when the numbering is of another life."""
        is_next = message.epoch == position.epoch + 1
        if message.epoch != position.epoch and not is_next:
            raise StaleEpoch(
                f"epoch {message.epoch} is not {position.epoch} or the next",
                remedy="if this agent was restored from an old image, enrol it anew",
                epoch=position.epoch,
            )
        self.state = _step(TARGET_TABLE, self.state, "open")
        self.session, self._epoch = session, message.epoch

    def check_session(self, session: str) -> None:
        """Raise `SessionFenced` when `session` is not the live one."""
        if self.state is not TargetState.LIVE or session != self.session:
            raise SessionFenced(
                "another session of this share is live", remedy="open a session again if this agent is the right one"
            )

    def receive_frame(self, header: FrameHeader, position: Position, session: str) -> Verdict:
        """Tell what to do with a frame; raise the named refusal when it does not fit behind `position`."""
        self.check_session(session)
        self.state = _step(TARGET_TABLE, self.state, "frame")
        if header.last_sequence <= position.sequence:
            return Verdict.REPEAT
        if header.epoch != self._epoch:
            raise StaleEpoch(f"frame of epoch {header.epoch} in a session of epoch {self._epoch}", epoch=self._epoch)
        expected = position.sequence + 1
        if header.first_sequence > expected:
            raise SequenceGap(
                f"frame begins at {header.first_sequence}, expected {expected}",
                remedy="send from the expected number",
                sequence=expected,
            )
        if header.first_sequence < expected:
            raise SequenceForked(
                f"frame {header.first_sequence}-{header.last_sequence} straddles the durable end {position.sequence}",
                sequence=expected,
            )
        return Verdict.APPEND

    def close(self) -> None:
        """End the session, if any."""
        self.state = _step(TARGET_TABLE, self.state, "close")
        self.session = ""


class SourceSession:
    """The agent's role for one share."""

    def __init__(self) -> None:
        """Start with no session."""
        self.state = SourceState.CLOSED
        self.session = ""

    def open(self, share_id: bytes, epoch: int) -> Open:
        """Return the message that begins a session."""
        self.state = _step(SOURCE_TABLE, self.state, "open")
        return Open(share_id, epoch)

    def receive_opened(
        self, message: Opened, acknowledged: Position, last_sealed: Position, hash_at: Callable[[int], Digest | None]
    ) -> int:
        """Return the sequence after which to send; raise `SequenceForked` (state forked) when the histories differ.

        `hash_at(sequence)` gives the hash of this agent's own frame that ends there, None when it has none.
        """
        problem = _fork(message, acknowledged, last_sealed, hash_at)
        if problem:
            self.state = _step(SOURCE_TABLE, self.state, "forked")
            raise SequenceForked(
                problem, remedy="stop; look which side was restored from an old copy", sequence=message.durable_sequence
            )
        self.state = _step(SOURCE_TABLE, self.state, "opened")
        self.session = message.session
        return message.durable_sequence

    def receive_acknowledged(self, message: Acknowledged, acknowledged: Position, last_sent: int) -> int:
        """Return the new durable sequence; raise `SequenceForked` when it is none that this agent could have caused."""
        self.state = _step(SOURCE_TABLE, self.state, "acknowledged")
        if not acknowledged.sequence <= message.durable_sequence <= last_sent:
            self.state = _step(SOURCE_TABLE, self.state, "forked")
            raise SequenceForked(
                f"the appliance acknowledges {message.durable_sequence}, outside {acknowledged.sequence}-{last_sent}",
                sequence=last_sent,
            )
        return message.durable_sequence

    def receive_refusal(self, refusal: str) -> None:
        """Take note of a refusal by its type name: fenced and forked end the session for good, the rest is a lost line."""
        if refusal == "session_fenced":
            self.state = _step(SOURCE_TABLE, self.state, "fenced")
        elif refusal in ("sequence_forked", "changed_repeat", "stale_epoch"):
            self.state = _step(SOURCE_TABLE, self.state, "forked")
        else:
            self.lose()

    def lose(self) -> None:
        """The line is gone: the session is over, another may be opened."""
        if self.state in (SourceState.OPENING, SourceState.LIVE):
            self.state = _step(SOURCE_TABLE, self.state, "lost")
        self.session = ""


def _fork(message: Opened, acknowledged: Position, last_sealed: Position, hash_at: Callable[[int], Digest | None]) -> str:
    durable = message.durable_sequence
    if durable > last_sealed.sequence:
        return f"the appliance is at {durable}, ahead of this agent's last number {last_sealed.sequence}"
    if durable < acknowledged.sequence:
        return f"the appliance is at {durable}, behind {acknowledged.sequence} which it acknowledged"
    if hash_at(durable) != Digest(message.durable_hash):
        return f"the appliance holds another change {durable} than this agent"
    return ""


def _step(table: dict[tuple[_State, str], _State], state: _State, event: str) -> _State:
    try:
        return table[state, event]
    except KeyError:
        raise ProtocolMisuse(f"{event!r} cannot happen in state {state.value!r}") from None
