"""The golden bytes in docs/formats are what the code writes and reads."""

import io
import re
from pathlib import Path

import msgspec
import pytest

from appliance import backup_format
from appliance.recovery_key import RecoveryKey
from core.digest import ZERO_DIGEST, Digest, digest_of
from core.framing import read_records, record_parts
from snapshots import name_block_format, pack_format
from staging import chunk_format, journal_format, recipe_format
from staging.changes import Chunk
from staging.chunk_format import ChunkKind, Form, PackedChunk
from staging.protocol import Position
from staging.recipe_format import Piece

FORMATS = Path(__file__).parents[2] / "docs" / "formats"
SIXTEEN = bytes(range(16))


def golden(name: str) -> bytes:
    found = re.findall(r"```\n([0-9a-f \n]+)```", (FORMATS / name).read_text())
    assert len(found) == 1
    return bytes.fromhex(found[0])


def test_record() -> None:
    assert b"".join(record_parts(2, b"hello")) == golden("records.md")
    (record,) = read_records(io.BytesIO(golden("records.md")), 0)
    assert (record.type, record.payload) == (2, b"hello")


def test_chunk_item() -> None:
    hello = PackedChunk(ChunkKind.DATA, chunk_format.address_of(ChunkKind.DATA, b"hello"), Form.RAW, 5, b"hello")
    assert b"".join(chunk_format.item_parts(hello)) == golden("chunks.md")
    (read,) = chunk_format.read_items(golden("chunks.md"))
    assert chunk_format.checked_bytes(read) == b"hello"


def test_recipe_node() -> None:
    node = recipe_format.encode_node(0, [Piece(65_536, ZERO_DIGEST)])
    assert node == golden("recipe.md")
    assert recipe_format.decode_node(node) == (0, [Piece(65_536, ZERO_DIGEST)])


def test_journal_head() -> None:
    head = journal_format.encode_head(SIXTEEN, Position(1, 2, Digest(bytes(32))))
    assert head == golden("journal.md")
    assert journal_format.decode_head(head) == (SIXTEEN, Position(1, 2, ZERO_DIGEST))


def test_pack_head() -> None:
    head = pack_format.encode_head(SIXTEEN, 7)
    assert head == golden("pack.md")
    assert pack_format.check_head(head, SIXTEEN, 7) == 2
    assert pack_format.check_head(head[:4] + b"\1" + head[5:], SIXTEEN, 7) == 1
    with pytest.raises(pack_format.PackDamaged):
        pack_format.check_head(head, SIXTEEN, 8)


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
