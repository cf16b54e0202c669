"""Control records: what the appliance itself writes into a share's journal, as msgpack (docs/formats/journal.md).

Every act on snapshots is one, so that it survives the loss of every database. `number` counts the control records of a share:
a catalogue remembers the last one that it applied, and none is applied twice. Records of the first release have none (0).
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from core.errors import Damaged
from core.relpath import MAX_PATH_BYTES
from staging.changes import MAX_LABEL_CHARACTERS, DigestBytes

MAX_HOLD_NAME = 64
MAX_REASON = 500
MAX_POLICY_BYTES = 64 * 1024

Label = Annotated[str, Meta(max_length=MAX_LABEL_CHARACTERS)]
Reason = Annotated[str, Meta(max_length=MAX_REASON)]


class ControlDamaged(Damaged):
    """A control record cannot be read."""


class SnapshotTaken(Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True):
    """A snapshot of the share as of `sequence`; `known_at` is the journal's end when that is another (a state of the past)."""

    id: int
    sequence: int
    taken_ns: int
    label: Label
    trigger: str
    consistency: int
    number: int = 0
    known_at: int = 0


class SnapshotLabelled(Struct, frozen=True, array_like=True, tag=2, forbid_unknown_fields=True):
    """Another label for a snapshot."""

    number: int
    snapshot: int
    label: Label


class HoldSet(Struct, frozen=True, array_like=True, tag=3, forbid_unknown_fields=True):
    """A reason why a snapshot stays, known by its name; until `expires_ns` (0: until it is released)."""

    number: int
    snapshot: int
    name: Annotated[str, Meta(min_length=1, max_length=MAX_HOLD_NAME)]
    owner: str
    reason: Reason
    expires_ns: int


class HoldReleased(Struct, frozen=True, array_like=True, tag=4, forbid_unknown_fields=True):
    """A hold is gone."""

    number: int
    snapshot: int
    name: str


class SnapshotDeleted(Struct, frozen=True, array_like=True, tag=5, forbid_unknown_fields=True):
    """A snapshot is to go after `drop_after_ns`; until then it can be taken back."""

    number: int
    snapshot: int
    deleted_ns: int
    drop_after_ns: int
    reason: Reason


class SnapshotUndeleted(Struct, frozen=True, array_like=True, tag=6, forbid_unknown_fields=True):
    """A deleted snapshot stays after all."""

    number: int
    snapshot: int


class SnapshotDropped(Struct, frozen=True, array_like=True, tag=7, forbid_unknown_fields=True):
    """A deleted snapshot is gone for good."""

    number: int
    snapshot: int


class PolicySet(Struct, frozen=True, array_like=True, tag=8, forbid_unknown_fields=True):
    """The share's policy document from now on, as JSON; until `least_until_ns` no removal waits less than `least_delay_ns`."""

    number: int
    document: Annotated[bytes, Meta(max_length=MAX_POLICY_BYTES)]
    least_delay_ns: int = 0
    least_until_ns: int = 0


class Sealed(Struct, frozen=True, array_like=True, tag=9, forbid_unknown_fields=True):
    """The catalogue up to `sequence` stands in the store, behind the seal with this digest; a full one needs none before it."""

    number: int
    sequence: int
    digest: DigestBytes
    full: bool
    sealed_ns: int


class ShareDeleted(Struct, frozen=True, array_like=True, tag=10, forbid_unknown_fields=True):
    """The share is to go after `drop_after_ns`; until then it can be taken back. `with_branch`: as a part of its branch."""

    number: int
    deleted_ns: int
    drop_after_ns: int
    reason: Reason
    with_branch: bool = False


class ShareUndeleted(Struct, frozen=True, array_like=True, tag=11, forbid_unknown_fields=True):
    """A deleted share stays after all."""

    number: int


class PathPurged(Struct, frozen=True, array_like=True, tag=12, forbid_unknown_fields=True):
    """What stood at this path or below it stands in no state up to this place any more, whatever keeps the states."""

    number: int
    path: Annotated[bytes, Meta(min_length=1, max_length=MAX_PATH_BYTES)]
    purged_ns: int


Control = (
    SnapshotTaken
    | SnapshotLabelled
    | HoldSet
    | HoldReleased
    | SnapshotDeleted
    | SnapshotUndeleted
    | SnapshotDropped
    | PolicySet
    | Sealed
    | ShareDeleted
    | ShareUndeleted
    | PathPurged
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Control] = msgspec.msgpack.Decoder(Control)


def encode_control(record: Control) -> bytes:
    """Return a control record's payload."""
    return _encoder.encode(record)


def decode_control(payload: bytes | memoryview) -> Control:
    """Read a control record's payload; raise `ControlDamaged`."""
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise ControlDamaged(f"a control record cannot be read: {error}", remedy="upgrade the appliance") from error
