"""A large file on the whole way: little travels of a small change, and the appliance has the content that the agent read."""

import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from core.digest import format_digest
from staging.changes import ContentRef
from tests.end_to_end.rig import Rig

SIZE = 20_000_000


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    rig.init()
    rig.serve()
    (rig.share / "big").write_bytes(Random(1).randbytes(SIZE))
    rig.enroll()
    rig.look()
    yield rig
    rig.close()
    subprocess.run(["rm", "-rf", tmp_path], check=True)


def remembered_digest(rig: Rig) -> str:
    """Return what the agent holds for the content's digest."""
    (path,) = rig.state.rglob("known.db")
    database = sqlite3.connect(path)
    ((encoded,),) = database.execute("SELECT content FROM known WHERE name = ?", (b"big",)).fetchall()
    database.close()
    content: ContentRef = msgspec.msgpack.decode(encoded, type=ContentRef)
    assert content is not None
    return format_digest(content.digest)


def sent_bytes(rig: Rig) -> int:
    (share,) = rig.agent("status", "--json").json["shares"]
    return int(share["wire"]["compressed_bytes"] + share["wire"]["framing_bytes"])


def test_small_changes_of_a_large_file_cost_little_and_give_the_digest_that_the_agent_read(rig: Rig) -> None:
    random, before = Random(2), sent_bytes(rig)
    with (rig.share / "big").open("r+b") as file:
        for _ in range(50):
            file.seek(random.randrange(SIZE - 150))
            file.write(random.randbytes(150))
        file.seek(SIZE)
        file.write(random.randbytes(3000))
    rig.look()
    assert sent_bytes(rig) - before < 50 * 2 * 512 + 3000 + 20_000  # two blocks a write; TLS and questions
    for edit in ("cut", "insert"):
        (entry,) = rig.appliance("ls", "leeds/data").json["entries"]
        assert entry["digest"] == remembered_digest(rig)
        assert rig.appliance("cat", "leeds/data", "big").out == (rig.share / "big").read_bytes()
        if edit == "cut":
            os.truncate(rig.share / "big", SIZE - 5_000_000)
        else:
            data = (rig.share / "big").read_bytes()
            (rig.share / "big").write_bytes(b"inserted" + data)
        rig.look()
    assert rig.appliance("cat", "leeds/data", "big").out == (rig.share / "big").read_bytes()
