"""`stagekeeper collect` and `scrub` on a real appliance, served and not, and what monitoring sees of them."""

from contextlib import ExitStack, closing

import msgspec
import pytest

from appliance.backup_store import find_backups
from appliance.jobs import JobInterrupted, StoreDamaged, scrub_store
from appliance.maintenance_desk import MaintenanceDesk
from appliance.parts import make_parts
from appliance.rights import Action, allows
from appliance.root import Root, open_root
from appliance.schedules import ScheduleUnreadable, parse_request
from appliance.wiring import open_appliance
from core.digest import Digest
from snapshots.chunk_store import ChunkStore
from tests.appliance.conftest import NOTHING_SET
from tests.appliance.program import SHARE, Program, fill
from web.operations import Actor

CONTENT = b"two" * 100_000
SCRUB = {"name": "nightly", "cron": "0 2 * * *", "action": "scrub"}


@pytest.fixture
def program(root: Root) -> Program:
    fill(root.path, {b"a": b"one", b"d/b": CONTENT})
    return Program(root.path)


def damage(program: Program) -> None:
    (pack,) = (program.root / "packs").glob("??/*.skp")
    data = bytearray(pack.read_bytes())
    data[data.index(b"one")] ^= 1
    pack.write_bytes(bytes(data))


def test_collect_frees_nothing_that_is_named(program: Program) -> None:
    program.json("snapshot", "create", SHARE)
    report = program.json("collect")
    assert report["named"] == report["chunks"] > 0 and report["condemned"] == report["removed_chunks"] == 0
    with program.serving():
        assert program.json("collect")["run"] == report["run"] + 1
        assert program.run("cat", SHARE, "d/b").stdout == CONTENT
    text = program.run("collect").stdout.decode()
    assert "Condemned 0, named again 0, removed 0" in text
    entries = [row["action"] for row in program.json("audit", "list")["audit"]]
    assert {"collect.begin", "collect.end"} <= set(entries)


def test_backups_of_the_appliance_are_roots(program: Program) -> None:
    program.json("backup", "run")
    with ExitStack() as stack:
        appliance = open_appliance(program.root, NOTHING_SET, make_parts, stack)
        assert isinstance(appliance.operations.maintenance, MaintenanceDesk)
        roots = appliance.operations.maintenance._roots()
        named = list(appliance.parts.backups.roots())
        assert len(named) == 2 and set(named) <= set(roots.extra)
    report = program.json("collect")
    assert report["named"] == report["chunks"], "seals and backups too"


def test_a_backup_that_cannot_be_read_is_named_and_dropped_by_command(program: Program) -> None:
    taken = [program.json("backup", "run")["number"] for _ in range(2)]
    root = open_root(program.root)
    with closing(ChunkStore(root.packs, root.db / "index.db", root.store_id)) as store:
        head = find_backups(store)[-1].head
        location = store.locations([Digest(head)])[Digest(head)]
        pack = store.parts.packs.path(location.pack)
    data = bytearray(pack.read_bytes())
    data[location.end - 1] ^= 1
    pack.write_bytes(data)
    refused = program.run("collect", "--json")
    error = msgspec.json.decode(refused.stderr)["error"]
    assert (refused.returncode, error["type"]) == (6, "backup_unreadable")
    assert error["message"].startswith(f"backup {taken[1]} is kept and cannot be read") and "backup drop 2" in error["remedy"]
    for number, code in ((1, 4), (3, 3), (2, 0)):  # whole, unknown, unreadable
        assert program.run("backup", "drop", str(number)).returncode == code
    assert [row["number"] for row in program.json("backup", "list")["backups"]] == [1]
    assert program.json("collect")["removed_chunks"] == 0
    entries = [(row["action"], row["what"], row["outcome"]) for row in program.json("audit", "list")["audit"]]
    assert [entry for entry in entries if entry[0] == "backup.drop"] == [("backup.drop", "2", "done")]


def test_a_damaged_journal_ends_collect_with_6_and_its_name(program: Program) -> None:
    (journal,) = (program.root / "journal" / "leeds" / "finance").glob("*.skj")
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    journal.write_bytes(data)
    refused = program.run("collect", "--json")
    assert refused.returncode == 6 and refused.stdout == b"" and b"finance" in refused.stderr


def test_scrub_tells_that_all_is_well_and_names_files_and_snapshots_when_not(program: Program) -> None:
    taken = program.json("snapshot", "create", SHARE)
    sound = program.json("scrub", "--all")
    assert sound["packs"] == 1 and sound["findings"] == sound["hits"] == [] and sound["bytes"] > 0
    assert program.json("scrub")["packs"] == 0, "nothing is due"
    damage(program)
    found = program.run("scrub", "--all", "--json")
    assert found.returncode == 6 and found.stderr == b""
    (hit,) = msgspec.json.decode(found.stdout)["hits"]
    assert (hit["share"], hit["path"], hit["live"]) == (SHARE, "a", True) and taken["id"] in hit["snapshots"]
    told = program.run("scrub").stdout.decode()
    assert "DAMAGED: 1 chunk" in told and f"@{taken['id']}" in told
    assert program.run("cat", SHARE, "d/b").stdout == CONTENT


def test_who_may_collect_and_scrub() -> None:
    roles = ("owner", "admin", "operator", "auditor", "user")
    assert [role for role in roles if allows(Actor("x", role), Action.COLLECT)] == ["owner", "admin", "operator"]
    assert [role for role in roles if allows(Actor("x", role), Action.VERIFY)] == ["owner", "admin", "operator", "auditor"]


def test_only_a_scrub_needs_no_share() -> None:
    row = parse_request(SCRUB, 0)
    assert row.action == "scrub" and row.shares == []
    with pytest.raises(ScheduleUnreadable):
        parse_request({**SCRUB, "action": "snapshot"}, 0)


def test_a_scheduled_scrub_that_finds_damage_fails_and_monitoring_sees_it(program: Program) -> None:
    damage(program)
    with ExitStack() as stack:
        appliance = open_appliance(program.root, NOTHING_SET, make_parts, stack)
        with pytest.raises(StoreDamaged, match="1 chunks are damaged, 1 files are hit"):
            scrub_store(appliance.operations.maintenance, parse_request(SCRUB, 0), lambda: False)
        figures = {name: value for name, _, labels, value in appliance.operations.health.metrics() if not labels}
    assert figures["stagekeeper_damaged_chunks"] == 1 and figures["stagekeeper_condemned_chunks"] == 0
    assert figures["stagekeeper_collected_bytes_total"] == 0 and figures["stagekeeper_verified_since_seconds"] > 1_700_000_000


def test_a_scheduled_scrub_ends_when_the_appliance_stops(program: Program) -> None:
    with ExitStack() as stack:
        appliance = open_appliance(program.root, NOTHING_SET, make_parts, stack)
        with pytest.raises(JobInterrupted):
            scrub_store(appliance.operations.maintenance, parse_request(SCRUB, 0), lambda: True)


def test_the_nights_collect_and_scrub_are_schedules_of_the_appliances_own(root: Root) -> None:
    program = Program(root.path)
    fill(root.path, {b"a": b"one"})
    rows = {row["name"]: row for row in program.json("schedule", "list")["schedules"]}
    assert [(rows[name]["cron"], rows[name]["enabled"]) for name in ("@scrub", "@collect")] == [
        ("0 3 * * *", True),
        ("0 5 * * *", True),
    ]
    assert program.json("schedule", "run", "@collect")["result"]["removed_chunks"] == 0
    assert program.json("schedule", "run", "@scrub")["result"]["damaged_chunks"] == 0
    refused = program.run("schedule", "run", "@scrub", "--no-wait", "--json")
    assert (refused.returncode, msgspec.json.decode(refused.stderr)["error"]["type"]) == (4, "nothing_serves")
    with program.serving():
        started = program.json("schedule", "run", "@scrub", "--no-wait")
        assert started["name"] == "@scrub" and started["last_outcome"] in ("running", "done") and "result" not in started
    assert program.run("schedule", "delete", "@scrub").returncode == 4
