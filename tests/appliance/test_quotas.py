"""Quotas: what adds data waits at a branch's or a share's limit, everything else and everybody else goes on."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.appliance_db import ApplianceDatabase
from appliance.branches import Branches, BranchNotFound
from appliance.cli.branch import branch as branch_command
from appliance.quotas import QuotaReached, Quotas
from appliance.root import Root
from appliance.vault import OpenShare, Vault
from snapshots.control_format import PolicySet
from staging.changes import Attributes, Change, Chunk, Content, Create, Kind, Rename, Truncate, Unlink, Write
from staging.chunk_format import ChunkKind, item_parts, pack_chunk
from staging.frame_format import seal_frame
from staging.protocol import Open
from tests.appliance.program import Program
from tests.appliance.settable_clock import SettableClock

PLAIN = Attributes(0o644, 0, 0, 0)
PATHS = [b"a", b"b", b"c"]
CHANCE = random.Random(5)


@dataclass
class Rig:
    """A vault with quotas in force."""

    folder: Path
    clock: SettableClock

    def __post_init__(self) -> None:
        self.database = ApplianceDatabase(self.folder / "appliance.db")
        self.branches = Branches(self.database, self.clock, random.Random(7).randbytes, "ab" * 32)
        self.branches.add("leeds")
        self.branches.add("york")
        self.sessions: dict[str, str] = {}
        self.open()

    def open(self) -> None:
        self.sessions.clear()
        self.vault = Vault(Root(self.folder, bytes(16)), self.clock, CHANCE.randbytes)
        self.quotas = Quotas(self.vault, self.branches)
        self.vault.check_room = self.quotas.check

    def close(self) -> None:
        self.vault.close()
        self.database.close()

    def share(self, name: str) -> OpenShare:
        opened = self.vault.register(name, name.encode().ljust(16, b"-")[:16])
        if name not in self.sessions:
            self.sessions[name] = opened.receiver.open(Open(opened.receiver.share_id, 1)).session
        return opened

    def send(self, name: str, *changes: Change) -> None:
        opened = self.share(name)
        position = opened.journal.position
        sealed = seal_frame(opened.receiver.share_id, 1, position.sequence + 1, position.hash, PATHS, list(changes))
        opened.receiver.frames(self.sessions[name], sealed)
        opened.fold.fold_all()
        self.clock.move(1)

    def put(self, name: str, size: int, seed: int) -> Chunk:
        data = random.Random(seed).randbytes(size)
        chunk = pack_chunk(ChunkKind.DATA, data)
        self.share(name).receiver.chunks(b"".join(item_parts(chunk)))
        self.clock.move(1)
        return Chunk(chunk.digest, size)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    for part in ("journal", "packs", "db", "audit"):
        (tmp_path / part).mkdir()
    made = Rig(tmp_path, SettableClock())
    yield made
    made.close()


def test_one_branch_cannot_fill_the_appliance_and_the_other_goes_on(rig: Rig) -> None:
    rig.branches.set_quota("leeds", 300_000)
    taken = 0
    with pytest.raises(QuotaReached, match="branch leeds has used its quota"):
        while taken < 100:
            rig.send("leeds/data", Create(0, Kind.FILE, PLAIN, rig.put("leeds/data", 50_000, taken)), Unlink(0))
            taken += 1
    assert 4 <= taken <= 6
    for seed in range(100, 120):
        rig.send("york/data", Create(0, Kind.FILE, PLAIN, rig.put("york/data", 50_000, seed)), Unlink(0))
    rig.branches.set_quota("leeds", None)
    rig.put("leeds/data", 50_000, 7)


def test_writes_into_files_count_and_are_refused_while_deletions_and_renames_pass(rig: Rig) -> None:
    rig.send("leeds/data", Create(0, Kind.FILE, PLAIN), Write(0, 0, CHANCE.randbytes(60_000)))
    rig.branches.set_quota("leeds", 50_000)
    before = rig.share("leeds/data").journal.position.sequence
    adding: list[Change] = [
        Write(0, 0, b"x"), Create(1, Kind.FILE, PLAIN), Create(1, Kind.FOLDER, PLAIN), Content(0, Chunk(bytes(32), 1), PLAIN),
    ]  # fmt: skip
    for change in adding:
        with pytest.raises(QuotaReached):
            rig.send("leeds/data", Rename(0, 2), change)
    assert rig.share("leeds/data").journal.position.sequence == before, "nothing of a refused frame is kept"
    rig.send("leeds/data", Truncate(0, 5), Content(0, None, PLAIN), Rename(0, 2), Unlink(2))
    assert rig.share("leeds/data").fold.totals == (0, 0)


def test_a_share_has_a_quota_of_live_bytes_and_room_again_when_files_go(rig: Rig) -> None:
    rig.send("leeds/data", Create(0, Kind.FILE, PLAIN, rig.put("leeds/data", 90_000, 1)))
    rig.share("leeds/data").fold.order(lambda number, _: PolicySet(number, b'{"quota_bytes": 100000}'))
    assert rig.quotas.alerts(rig.share("leeds/data")) == ["share leeds/data: quota almost reached, 90 % (90000 of 100000 bytes)"]
    rig.send("leeds/data", Create(1, Kind.FILE, PLAIN, rig.put("leeds/data", 20_000, 2)))
    assert "quota reached, 110 %" in rig.quotas.alerts(rig.share("leeds/data"))[0]
    with pytest.raises(QuotaReached, match="share leeds/data"):
        rig.put("leeds/data", 10, 3)
    rig.put("leeds/more", 10, 3)
    rig.send("leeds/data", Unlink(0))
    rig.put("leeds/data", 11, 4)
    assert rig.quotas.alerts(rig.share("leeds/data")) == []


def test_a_chunk_that_two_branches_have_counts_for_the_first(rig: Rig) -> None:
    rig.put("leeds/data", 50_000, 1)
    before = rig.quotas.of_branch("york").used_bytes
    rig.put("york/data", 50_000, 1)
    assert rig.quotas.of_branch("york").used_bytes - before < 1000
    assert rig.quotas.of_branch("leeds").used_bytes > 50_000


def test_what_a_branch_takes_is_known_again_when_the_index_was_lost_or_is_of_an_earlier_release(rig: Rig) -> None:
    for seed in range(5):
        rig.put("leeds/data", 20_000, seed)
    rig.put("york/data", 30_000, 9)
    counted = {name: rig.vault.store.stored_bytes(name) for name in ("leeds", "york")}
    assert 100_000 < counted["leeds"] < 101_000 and 30_000 < counted["york"] < 31_000
    rig.vault.close()
    for path in (rig.folder / "db").glob("index.db*"):
        path.unlink()
    rig.open()
    assert {name: rig.vault.store.stored_bytes(name) for name in counted} == counted
    rig.vault.store._index._database.conn.execute("DELETE FROM usage")  # as an index of the first release comes
    rig.vault.close()
    rig.open()
    assert {name: rig.vault.store.stored_bytes(name) for name in counted} == counted
    rig.vault.store._index._database.conn.execute("DELETE FROM pack")  # as collect forgets packs
    assert rig.vault.store.stored_bytes("leeds") == 0


def test_a_quota_of_an_unknown_branch_is_refused(rig: Rig) -> None:
    with pytest.raises(BranchNotFound):
        rig.branches.set_quota("hull", 5)


@pytest.mark.parametrize(
    ("text", "size_bytes"), [("500", 500), ("1.5K", 1500), ("2Ki", 2048), ("2TiB", 2 * 1024**4), ("3G", 3_000_000_000)]
)
def test_sizes_as_people_write_them(text: str, size_bytes: int) -> None:
    made = branch_command.commands["quota"].make_context("quota", ["leeds", text])  # type: ignore[attr-defined]
    assert made.params["size_bytes"] == size_bytes


def test_the_command(root: Root) -> None:
    store = Program(root.path)
    store.json("branch", "add", "leeds")
    assert store.json("branch", "quota", "leeds", "2Ki")["quota_bytes"] == 2048
    assert store.json("branch", "list")["branches"][0]["quota_bytes"] == 2048
    assert store.json("branch", "quota", "leeds", "none")["quota_bytes"] is None
    assert store.run("branch", "quota", "leeds", "much").returncode == 2
