"""Control records: what the appliance itself writes into a share's journal, as msgpack (docs/formats/journal.md)."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from core.errors import Damaged
from staging.changes import MAX_LABEL_CHARACTERS


class ControlDamaged(Damaged):
    """A control record cannot be read."""


class SnapshotTaken(Struct, frozen=True, array_like=True, tag=1, forbid_unknown_fields=True):
    """A snapshot of the share as of `sequence`."""

    id: int
    sequence: int
    taken_ns: int
    label: Annotated[str, Meta(max_length=MAX_LABEL_CHARACTERS)]
    trigger: str
    consistency: int


_encoder = msgspec.msgpack.Encoder()


def encode_control(record: SnapshotTaken) -> bytes:
    """Return a control record's payload."""
    return _encoder.encode(record)


def decode_control(payload: bytes | memoryview) -> SnapshotTaken:
    """Read a control record's payload; raise `ControlDamaged`."""
    try:
        return msgspec.msgpack.decode(payload, type=SnapshotTaken)
    except msgspec.MsgspecError as error:
        raise ControlDamaged(f"a control record cannot be read: {error}", remedy="upgrade the appliance") from error
