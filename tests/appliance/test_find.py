"""Finding over the whole appliance: rights for each hit, pages over shares, the index in the background, the command line."""

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from appliance.find_desk import CursorRefused, FindDesk, Place, parse_place
from appliance.find_indexes import FindIndexes, index_step
from appliance.parts import make_parts
from appliance.rights import Grant, Rights, parse_grant
from appliance.root import Root
from appliance.share_worker import ShareWorker
from appliance.vault import Vault
from appliance.wiring import Machine, open_appliance
from staging.changes import Change, Create, Kind, Unlink
from staging.frame_format import seal_frame
from staging.protocol import Open
from tests.appliance.conftest import NOTHING_SET
from tests.appliance.settable_clock import SettableClock
from tests.appliance.test_vault_and_fold import PLAIN, open_vault
from tests.faulty_files import FaultyFiles
from web.errors import AccessDenied
from web.found import Found
from web.operations import Actor

ADMIN = Actor("admin", "admin")
ANNA = Actor("anna", "user")
FILES = [b"plans/2026/Plan A.txt", b"plans/secret/plan B.txt", b"plan\xff\nC"]


def send(vault: Vault, name: str, paths: list[bytes], changes: list[Change]) -> None:
    opened = vault.register(name, name.encode().ljust(16)[:16])
    session = opened.receiver.open(Open(opened.receiver.share_id, 1)).session
    position = opened.journal.position
    opened.receiver.frames(session, seal_frame(opened.receiver.share_id, 1, position.sequence + 1, position.hash, paths, changes))
    opened.fold.fold_all()


def fill(vault: Vault, name: str) -> None:
    folders = [b"plans", b"plans/2026", b"plans/secret"]
    changes: list[Change] = [Create(n, Kind.FOLDER, PLAIN) for n in range(3)]
    send(vault, name, [*folders, *FILES], [*changes, *(Create(n, Kind.FILE, PLAIN) for n in range(3, 6))])


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    made = open_vault(tmp_path)
    for name in ("hull/data", "leeds/data", "york/data"):
        fill(made, name)
    yield made
    made.close()


def desk_of(vault: Vault, *grants: str) -> FindDesk:
    granted: list[Grant] = [parse_grant(text) for text in grants]
    return FindDesk(vault, FindIndexes(vault), Rights(lambda account: granted))


def all_found(desk: FindDesk, actor: Actor, text: str, share: str = "", deleted: bool = False, limit: int = 1000) -> list[Found]:
    found: list[Found] = []
    after: bytes | None = b""
    while after is not None:
        page = desk.find(actor, text, share, deleted, after, limit)
        found, after = found + page.found, page.following
    return found


def test_all_shares_are_searched_page_by_page_each_hit_once(vault: Vault) -> None:
    desk = desk_of(vault)
    found = all_found(desk, ADMIN, "plan")
    assert len(found) == 12 and [hit.share for hit in found] == sorted(hit.share for hit in found)
    for limit in (1, 2, 5):
        assert all_found(desk, ADMIN, "plan", limit=limit) == found
    assert [hit.path for hit in all_found(desk, ADMIN, "plan b", "york/data")] == ["plans/secret/plan B.txt"]


def test_live_paths_of_all_shares_come_before_deleted_ones(vault: Vault) -> None:
    vault.share("hull/data").fold.take_snapshot("", "command", 7_000_000_000)
    send(vault, "hull/data", FILES, [Unlink(0)])
    desk = desk_of(vault)
    found = all_found(desk, ADMIN, "PLAN A", deleted=True)
    assert [(hit.share, hit.deleted) for hit in found] == [("leeds/data", False), ("york/data", False), ("hull/data", True)]
    assert found[-1].snapshots == [1] and found[-1].deleted_at is not None
    assert found[-1].last_seen_at == "1970-01-01T00:00:07.000000Z"
    assert all_found(desk, ADMIN, "plan a", deleted=True, limit=1) == found


def test_a_reader_finds_only_what_the_grants_reach(vault: Vault) -> None:
    desk = desk_of(vault, "leeds/data/plans/2026", "york/data")
    found = all_found(desk, ANNA, "plan")
    assert {(hit.share, hit.path) for hit in found} == {
        ("leeds/data", "plans/2026/Plan A.txt"),
        *(("york/data", path) for path in ("plans", "plans/2026/Plan A.txt", "plans/secret/plan B.txt", "plan\\xff\\x0aC")),
    }
    assert all_found(desk, ANNA, "2026", "leeds/data")[0].path == "plans/2026"
    with pytest.raises(AccessDenied):
        desk.find(ANNA, "plan", "hull/data", False, b"", 10)
    with pytest.raises(AccessDenied):
        desk.find(Actor("audrey", "auditor"), "plan", "", False, b"", 10)
    assert desk.find(ANNA, "plan", "", False, Place(True, "hull/data").encode(), 10).found == found


def test_a_name_that_is_not_utf8_comes_with_its_bytes(vault: Vault) -> None:
    (hit,) = all_found(desk_of(vault), ADMIN, "\\xff", "hull/data")
    assert (hit.path, hit.path_base64) == ("plan\\xff\\x0aC", "cGxhbv8KQw==")


def test_a_damaged_share_is_told_and_the_others_are_searched(vault: Vault, tmp_path: Path) -> None:
    vault.close()
    head = min((tmp_path / "journal" / "leeds" / "data").glob("*.skj"))
    head.write_bytes(b"\xff" * head.stat().st_size)
    page = desk_of(vault).find(ADMIN, "plan a", "", False, b"", 10)
    assert [hit.share for hit in page.found] == ["hull/data", "york/data"]
    assert [one.share for one in page.not_searched] == ["leeds/data"]


@pytest.mark.parametrize("token", [b"x", b"live/1", b"live/99999999999999999999/a/b", b"live/1/\xff", b"past/-1/a/b"])
def test_a_token_that_was_not_answered_is_refused(token: bytes) -> None:
    with pytest.raises(CursorRefused):
        parse_place(token)
    place = Place(False, "leeds/data", 7)
    assert parse_place(place.encode()) == place


def test_the_worker_indexes_all_shares_in_the_background(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    for name in ("leeds/data", "york/data"):
        send(vault, name, [b"f%d" % n for n in range(300)], [Create(n, Kind.FILE, PLAIN) for n in range(300)])
    indexes = FindIndexes(vault)
    indexed = threading.Semaphore(0)
    worker = ShareWorker("index", vault.names, index_step(vault, indexes, lambda: indexed.release()))
    worker.start()
    for _ in range(2):
        assert indexed.acquire(timeout=20)
    worker.stop()
    assert worker.failures == {}
    assert {str(path.relative_to(tmp_path)) for path in (tmp_path / "db" / "find").glob("*/*.db")} == {
        "db/find/leeds/data.db",
        "db/find/york/data.db",
    }
    assert len(all_found(FindDesk(vault, indexes, Rights(lambda account: [])), ADMIN, "f")) == 600
    indexes.close()
    vault.close()


def test_an_opened_appliance_finds_and_closes_cleanly(root: Root, clock: SettableClock) -> None:
    with ExitStack() as stack:
        machine = Machine(clock, random.Random(7).randbytes, FaultyFiles())
        opened = open_appliance(root.path, NOTHING_SET, make_parts, stack, machine=machine)
        opened.parts.start()
        assert opened.operations.finding.find(ADMIN, "anything", "", True, b"", 10).found == []
