"""The audit log's bytes."""

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.audit_format import (
    ENTRY,
    HEAD,
    AuditDamaged,
    AuditEntry,
    SegmentHead,
    decode_entry,
    decode_head,
    encode_entry,
    encode_head,
    entry_is_chained,
)
from core.digest import ZERO_DIGEST, Digest
from core.framing import read_records, record_parts

FIRST = AuditEntry(1, "2026-11-22T07:00:00.000000Z", "admin", "admin", "192.0.2.1", "sign_in", "admin", "done", {})
TEXTS = st.text(max_size=30)


def golden() -> bytes:
    page = (Path(__file__).parents[2] / "docs" / "formats" / "audit.md").read_text()
    (found,) = re.findall(r"```\n([0-9a-f \n]+)```", page)
    return bytes.fromhex(found)


def first_records() -> bytes:
    head = record_parts(HEAD, encode_head(SegmentHead(bytes(16), 1, ZERO_DIGEST)))
    return b"".join([*head, *record_parts(ENTRY, encode_entry(FIRST, ZERO_DIGEST)[1])])


def test_golden_bytes_are_what_is_written_and_read() -> None:
    assert first_records().hex() == golden().hex()
    head, entry = read_records(io.BytesIO(golden()), 0)
    assert decode_head(head.payload) == SegmentHead(bytes(16), 1, ZERO_DIGEST)
    assert decode_entry(entry.payload)[1] == FIRST
    assert entry_is_chained(entry.payload, ZERO_DIGEST)


@given(st.binary(min_size=16, max_size=16), st.integers(1, 2**63), st.binary(min_size=32, max_size=32))
def test_heads_come_back_as_they_were(store_id: bytes, sequence: int, previous: bytes) -> None:
    head = SegmentHead(store_id, sequence, Digest(previous))
    assert decode_head(encode_head(head)) == head


@given(TEXTS, TEXTS, TEXTS, st.dictionaries(TEXTS, TEXTS | st.integers(-(2**53), 2**53), max_size=3))
def test_entries_come_back_as_they_were(account: str, address: str, what: str, details: dict[str, object]) -> None:
    entry = AuditEntry(3, FIRST.at, account, "user", address, "download", what, "done", details)
    digest, payload = encode_entry(entry, ZERO_DIGEST)
    assert decode_entry(payload) == (digest, entry)
    assert b"\n" not in payload[32:] and b"\x1b" not in payload[32:]


def test_an_entry_is_not_chained_to_another_predecessor() -> None:
    _, payload = encode_entry(FIRST, ZERO_DIGEST)
    assert not entry_is_chained(payload, Digest(b"x" * 32))
    assert not entry_is_chained(payload[:-2] + b" }", ZERO_DIGEST)


def test_a_newer_version_is_refused_by_name() -> None:
    head = bytearray(encode_head(SegmentHead(bytes(16), 1, ZERO_DIGEST)))
    head[4] = 2
    with pytest.raises(AuditDamaged, match="newer than this release"):
        decode_head(bytes(head))
