"""What stands in a segment of the audit log, byte by byte (docs/formats/audit.md).

A segment is a list of records of core.framing. The first is its head: magic "SKA1", u16 version, u16 zero, 16 bytes
store id, u64 sequence of the first entry, 32 bytes digest of the entry before it (zeros before the very first). Every
other record is an entry: 32 bytes digest, then a JSON object. The digest covers the digest before it and the JSON, so
that all entries form one chain through all segments.
"""

import struct
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Struct

from core.digest import DIGEST_BYTES, Digest, derived_digest
from core.errors import Damaged

MAGIC = b"SKA1"
VERSION = 1
HEAD, ENTRY = 1, 2
MAX_ENTRY_BYTES = 64 * 1024  # far above the longest entry; bounds what a torn tail can be

_HEAD = struct.Struct("<4sHH16sQ32s")
_CONTEXT = "stagekeeper 2026-11-22 audit log entry"


class AuditDamaged(Damaged):
    """Bytes of the audit log that were durable do not check any more."""


@dataclass(frozen=True, slots=True)
class SegmentHead:
    """To which store a segment belongs, and behind which entry it begins."""

    store_id: bytes
    first_sequence: int
    previous: Digest


class AuditEntry(Struct, frozen=True):
    """One thing that somebody did, or tried to do."""

    sequence: int
    at: str
    account: str
    role: str
    address: str
    action: str
    what: str
    outcome: str  # "done", "refused", "failed"
    details: dict[str, Any]


def encode_head(head: SegmentHead) -> bytes:
    """Return the payload of a segment's first record."""
    return _HEAD.pack(MAGIC, VERSION, 0, head.store_id, head.first_sequence, head.previous)


def decode_head(payload: bytes) -> SegmentHead:
    """Return a segment's head; raise `AuditDamaged`."""
    if len(payload) != _HEAD.size:
        raise AuditDamaged("the head of an audit segment has a wrong length")
    magic, version, zero, store_id, first_sequence, previous = _HEAD.unpack(payload)
    if magic != MAGIC or zero:
        raise AuditDamaged("a file in the audit log is no audit segment")
    if version != VERSION:
        raise AuditDamaged(f"audit format {version} is newer than this release", remedy="upgrade the appliance")
    return SegmentHead(store_id, first_sequence, Digest(previous))


def encode_entry(entry: AuditEntry, previous: Digest) -> tuple[Digest, bytes]:
    """Return an entry's digest and the payload of its record."""
    text = msgspec.json.encode(entry, order="sorted")
    digest = derived_digest(_CONTEXT, previous, text)
    return digest, digest + text


def decode_entry(payload: bytes) -> tuple[Digest, AuditEntry]:
    """Return an entry's digest as written (`check_entry` checks it) and the entry; raise `AuditDamaged`."""
    try:
        return Digest(payload[:DIGEST_BYTES]), msgspec.json.decode(payload[DIGEST_BYTES:], type=AuditEntry)
    except msgspec.DecodeError as error:
        raise AuditDamaged(f"an audit entry is unreadable: {error}") from error


def entry_is_chained(payload: bytes, previous: Digest) -> bool:
    """Tell whether an entry's digest covers its text and the digest before it."""
    return payload[:DIGEST_BYTES] == derived_digest(_CONTEXT, previous, payload[DIGEST_BYTES:])
