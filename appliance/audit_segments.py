"""Reading the audit log's segment files: their order, their whole records, and what is wrong in them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.audit_format import (
    ENTRY,
    HEAD,
    MAX_ENTRY_BYTES,
    AuditDamaged,
    AuditEntry,
    SegmentHead,
    decode_entry,
    decode_head,
    entry_is_chained,
)
from core.digest import DIGEST_BYTES, ZERO_DIGEST, Digest
from core.framing import HEADER_BYTES, Record, read_record, read_records

SUFFIX = ".audit"


@dataclass(frozen=True, slots=True)
class Chained:
    """The end of the chain: the last entry's sequence (0 = none yet) and digest."""

    sequence: int = 0
    digest: Digest = ZERO_DIGEST


@dataclass(frozen=True, slots=True)
class Fault:
    """The first thing that does not check."""

    file: str
    offset: int
    sequence: int
    reason: str


def segment_name(first_sequence: int) -> str:
    """Return a segment's file name; names sort as the entries do."""
    return f"{first_sequence:016d}{SUFFIX}"


def segment_files(directory: Path) -> list[Path]:
    """Return all segments, oldest first."""
    return sorted(path for path in directory.iterdir() if path.name.endswith(SUFFIX))


def entries_newest_first(files: list[Path], before: int | None) -> Iterator[tuple[Digest, AuditEntry]]:
    """Yield readable entries from the one before `before` back; a segment at a time is held in memory."""
    for path in reversed(files):
        if before is not None and path.name >= segment_name(before):
            continue
        with path.open("rb") as file:
            payloads = [record.payload for record in read_records(file, 0) if record.type == ENTRY]
        for payload in reversed(payloads):
            digest, entry = decode_entry(payload)
            if before is None or entry.sequence < before:
                yield digest, entry


def whole_records(path: Path) -> tuple[list[Record], bytes]:
    """Return the whole records from a segment's beginning, and the bytes behind them that do not check."""
    with path.open("rb") as file:
        records = list(read_records(file, 0))
        end = records[-1].end if records else 0
        file.seek(end)
        return records, file.read()


def record_behind_damage(path: Path, offset: int) -> Record | None:
    """Return the last whole entry somewhere behind `offset`, or None: then what stands there is a torn tail."""
    last = None
    with path.open("rb") as file:
        size = file.seek(0, 2)
        while offset + HEADER_BYTES + DIGEST_BYTES <= size:
            record = read_record(file, offset)
            if record is not None and record.type == ENTRY and len(record.payload) <= MAX_ENTRY_BYTES:
                last, offset = record, record.end
            else:
                offset += 1
    return last


def verify_segment(path: Path, limit: int | None, chain: Chained, store_id: bytes) -> tuple[Chained, Fault | None]:
    """Check one segment that follows `chain` up to a file offset; return the new end and the first fault."""
    with path.open("rb") as file:
        size = file.seek(0, 2) if limit is None else limit
        end = 0
        for record in read_records(file, 0, size):
            reason = _reason(record, chain, store_id)
            if reason:
                return chain, Fault(path.name, record.offset, chain.sequence + 1, reason)
            if record.type == ENTRY:
                chain = Chained(chain.sequence + 1, Digest(record.payload[:DIGEST_BYTES]))
            end = record.end
    if end < size:
        return chain, Fault(path.name, end, chain.sequence + 1, f"{size - end} bytes do not check")
    return chain, None


def _reason(record: Record, chain: Chained, store_id: bytes) -> str:
    """Return why a record may not stand behind `chain`, or nothing."""
    try:
        if record.offset == 0:
            return _head_reason(record, chain, store_id)
        if record.type != ENTRY:
            return f"a record of type {record.type} stands among the entries"
        if not entry_is_chained(record.payload, chain.digest):
            return "its digest does not follow from the entry before it"
        sequence = decode_entry(record.payload)[1].sequence
        return "" if sequence == chain.sequence + 1 else f"it has sequence {sequence}"
    except AuditDamaged as error:
        return error.message


def _head_reason(record: Record, chain: Chained, store_id: bytes) -> str:
    if record.type != HEAD:
        return "it does not begin with a head"
    wanted = SegmentHead(store_id, chain.sequence + 1, chain.digest)
    head = decode_head(record.payload)
    if head.store_id != store_id:
        return "it belongs to another store"
    return "" if head == wanted else "entries before it are missing"
