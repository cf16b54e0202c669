"""The golden bytes in docs/formats are what the code writes and reads."""

import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from appliance import backup_format
from appliance.recovery_key import RecoveryKey
from branch import known, outbox_format
from core.digest import ZERO_DIGEST, Digest, digest_of
from core.framing import read_records, record_parts
from snapshots import control_format, name_block_format, pack_format
from snapshots.control_format import SnapshotLabelled, decode_control, encode_control
from staging import chunk_format, comparison, journal_format, recipe_format
from staging.changes import Attributes, Barrier, Chunk, Kind, Truncate, Write
from staging.chunk_format import ChunkKind, Form, PackedChunk
from staging.frame_format import check_frame, unpack_frame
from staging.protocol import Position
from staging.recipe_format import Piece
from tapeexport import cartridge_format

FORMATS = Path(__file__).parents[2] / "docs" / "formats"
SIXTEEN = bytes(range(16))
TIME_NS = 1_795_330_800_000_000_000
DAY_NS = 86_400 * 10**9
CONTROLS: list[control_format.Control] = [
    control_format.SnapshotTaken(1, 17, TIME_NS, "noon", "command", 1, 1),
    control_format.SnapshotLabelled(2, 1, "lunch"),
    control_format.HoldSet(3, 1, "audit", "anna", "asked for", TIME_NS + DAY_NS),
    control_format.HoldReleased(4, 1, "audit"),
    control_format.SnapshotDeleted(5, 1, TIME_NS, TIME_NS + DAY_NS, "no longer needed"),
    control_format.SnapshotUndeleted(6, 1),
    control_format.SnapshotDropped(7, 1),
    control_format.PolicySet(8, b"{}", DAY_NS, TIME_NS + DAY_NS),
    control_format.Sealed(9, 17, digest_of(b"hello"), True, TIME_NS),
    control_format.ShareDeleted(10, TIME_NS, TIME_NS + DAY_NS, "moved"),
    control_format.ShareUndeleted(11),
    control_format.PathPurged(12, b"d", TIME_NS),
]


def golden(name: str, which: str = "") -> bytes:
    """Return the only golden bytes of a page, or those whose sentence begins with "Golden" and these words."""
    pages = (FORMATS / name).read_text()
    found = re.findall(r"^(Golden[^\n]*\n(?:[^\n]+\n)*)\n```\n([0-9a-f \n]+)```", pages, re.MULTILINE)
    fitting = [text for sentence, text in found if sentence.startswith(f"Golden {which}" if which else "Golden")]
    assert len(fitting) == 1, (name, which, [sentence for sentence, _ in found])
    return bytes.fromhex(fitting[0])


def test_record() -> None:
    assert b"".join(record_parts(2, b"hello")) == golden("records.md")
    (record,) = read_records(io.BytesIO(golden("records.md")), 0)
    assert (record.type, record.payload) == (2, b"hello")


def test_chunk_item() -> None:
    hello = PackedChunk(ChunkKind.DATA, chunk_format.address_of(ChunkKind.DATA, b"hello"), Form.RAW, 5, b"hello")
    assert b"".join(chunk_format.item_parts(hello)) == golden("chunks.md")
    (read,) = chunk_format.read_items(golden("chunks.md"))
    assert chunk_format.checked_bytes(read) == b"hello"


def test_comparison() -> None:
    assert golden("comparison.md", "digest of a folder among") == comparison.FOLDER_DIGEST
    file = comparison.entry_digest(Kind.FILE, Attributes(0o644, 0, 0, 0), None, b"", 0)
    names = {b"a": file, comparison.OWN: comparison.own_digest(Attributes(0o755, 0, 0, 0))}
    assert comparison.folder_digest(names) == golden("comparison.md", "digest of a folder (")


def test_recipe_node() -> None:
    node = recipe_format.encode_node(0, [Piece(65_536, ZERO_DIGEST)])
    assert node == golden("recipe.md")
    assert recipe_format.decode_node(node) == (0, [Piece(65_536, ZERO_DIGEST)])


def test_journal_head() -> None:
    head = journal_format.encode_head(SIXTEEN, Position(1, 2, Digest(bytes(32))))
    assert head == golden("journal.md", "head")
    assert journal_format.decode_head(head) == (SIXTEEN, Position(1, 2, ZERO_DIGEST))


def test_pack_head() -> None:
    head = pack_format.encode_head(SIXTEEN, 7)
    assert head == golden("pack.md", "head")
    assert pack_format.check_head(head, SIXTEEN, 7) == 2
    assert pack_format.check_head(head[:4] + b"\1" + head[5:], SIXTEEN, 7) == 1
    with pytest.raises(pack_format.PackDamaged):
        pack_format.check_head(head, SIXTEEN, 8)


def joined(parts: Sequence[bytes | memoryview]) -> bytes:
    return b"".join(parts)


def test_journal_control_record() -> None:
    payload = encode_control(SnapshotLabelled(2, 3, "noon"))
    written = joined(record_parts(journal_format.CONTROL, journal_format.encode_envelope(5, 110), payload))
    assert written == golden("journal.md", "control record")
    (record,) = read_records(io.BytesIO(written), 0)
    assert journal_format.decode_envelope(record.payload) == journal_format.Envelope(5, 110)
    assert decode_control(record.payload[journal_format.ENVELOPE_BYTES :]) == SnapshotLabelled(2, 3, "noon")


def test_pack_records() -> None:
    domain = pack_format.domain_key("leeds")
    hello = pack_format.StoredChunk(ChunkKind.DATA, digest_of(b"hello"), Form.RAW, 5, b"hello")
    delta = pack_format.StoredChunk(ChunkKind.DATA, digest_of(b"hullo"), pack_format.DELTA, 5, digest_of(b"hello") + b"\1\2\3")
    whole, differing = (joined(pack_format.chunk_record(chunk, domain)) for chunk in (hello, delta))
    assert (whole, differing) == (golden("pack.md", "chunk record"), golden("pack.md", "delta record"))
    entries = [
        pack_format.TrailerEntry(pack_format.Location(7, 44, 5, 5), 1, domain, hello.digest),
        pack_format.TrailerEntry(pack_format.Location(7, 44 + len(whole), 35, 5, hello.digest), 1, domain, delta.digest),
    ]
    trailer = pack_format.encode_trailer(entries)
    assert joined(record_parts(pack_format.TRAILER, trailer)) == golden("pack.md", "trailer record")
    footer = pack_format.encode_footer(44 + len(whole) + len(differing), 2)
    assert joined(record_parts(pack_format.FOOTER, footer)) == golden("pack.md", "footer record")
    (record,) = read_records(io.BytesIO(golden("pack.md", "delta record")), 0)
    read = pack_format.decode_chunk(record.payload)
    assert (read.chunk.base, bytes(read.chunk.delta), read.domain) == (hello.digest, b"\1\2\3", domain)
    (record,) = read_records(io.BytesIO(golden("pack.md", "trailer record")), 0)
    assert pack_format.decode_trailer(record.payload, 7, pack_format.VERSION) == entries


def test_frame() -> None:
    header = check_frame(golden("frame.md"), SIXTEEN, digest_of(b"the frame before"))
    frame = unpack_frame(golden("frame.md"), header)
    assert (frame.paths, frame.changes) == ((b"d/\xff",), (Write(0, 4096, b"hello"), Truncate(0, 5000), Barrier("x")))


def test_outbox_records() -> None:
    head = outbox_format.SegmentHead(SIXTEEN, 2, Position(1, 9, ZERO_DIGEST))
    written = joined(record_parts(outbox_format.HEAD, outbox_format.encode_head(head)))
    assert written == golden("outbox.md", "head record")
    frame = golden("frame.md")
    written = joined(record_parts(outbox_format.FRAME, outbox_format.frame_prefix(5, frame), frame, b"\x90"))
    assert written == golden("outbox.md", "frame record")
    (record,) = read_records(io.BytesIO(golden("outbox.md", "head record")), 0)
    assert outbox_format.decode_head(record.payload) == head
    (record,) = read_records(io.BytesIO(written), 0)
    read = outbox_format.decode_frame_record(record.payload)
    assert (read.noticed_ns, bytes(read.frame), bytes(read.steps)) == (5, frame, b"\x90")


def test_controls() -> None:
    assert joined([encode_control(control) for control in CONTROLS]) == golden("journal.md", "controls")
    assert [decode_control(encode_control(control)) for control in CONTROLS] == CONTROLS
    assert {type(control) for control in CONTROLS} == set(get_args(control_format.Control))


def test_steps() -> None:
    steps: list[known.Step] = [
        known.PutRows([known.KnownRow(b"d", b"\xff", 1, 12, 1, 5000, 7, known.UNSETTLED, b"", b"")]),
        known.MoveRow(b"", b"a", b"d", b"b"),
        known.DropRow(b"", b"c"),
        known.SetMirror(known.MIRROR_DONE),
    ]
    assert known.encode_steps(steps) == golden("outbox.md", "steps")
    assert known.decode_steps(golden("outbox.md", "steps")) == steps


def test_cartridge_label() -> None:
    noon = cartridge_format.SnapshotLabel("leeds/finance", 3, 17, "2026-11-22T07:00:00Z", "noon")
    label = cartridge_format.Label("SK0001L9-2026-11-22T070000Z", 1, "SK0001L9", (noon,), "2026-11-22T07:00:05Z")
    header, records = (golden("cartridge.md", what) for what in ("label header", "label records"))
    assert cartridge_format.encode_label(label) == header.ljust(512, b"\0") + records.ljust(512, b"\0")
    whole = Path(__file__).parents[1] / "tapeexport" / "golden" / "SK0001L9.v1.tar"
    assert hashlib.sha256(whole.read_bytes()).hexdigest() in (FORMATS / "cartridge.md").read_text()


def test_backup_head_and_body() -> None:
    key = RecoveryKey(bytes(range(32)))
    data_key, taken_ns = bytes(range(64, 96)), 1_795_330_800_000_000_000
    known = backup_format.about(SIXTEEN, 1, taken_ns, key.public.id)
    ephemeral, wrapped = key.public.wrap(data_key, known, lambda size: bytes(range(32, 32 + size)))
    body = b"".join(backup_format.seal_frames([b"hel", b"lo"], data_key))
    head = backup_format.BackupHead(
        1, SIXTEEN, 1, taken_ns, key.public.id, ephemeral, wrapped, Chunk(digest_of(body), len(body))
    )  # fmt: skip
    assert body + backup_format.encode_head(head) == golden("backup.md")
    read = backup_format.decode_head(golden("backup.md")[len(body) :])
    assert key.unwrap(read.ephemeral, read.wrapped, known) == data_key
    assert b"".join(backup_format.open_frames([golden("backup.md")[: len(body)]], data_key)) == b"hello"
    with pytest.raises(backup_format.BackupDamaged, match="newer"):
        backup_format.decode_head(backup_format.encode_head(msgspec.structs.replace(head, version=2)))


def test_block_of_names() -> None:
    keys = [(5, 1, b"Plan.txt"), (7, 1, "Ä".encode())]
    assert name_block_format.keys_with(golden("names.md"), b"plan") == keys[:1]
    assert name_block_format.keys_with(golden("names.md"), "ä".encode()) == keys[1:]
    assert name_block_format.encode_block(keys).data == golden("names.md")
