"""Which snapshots stay: holds, deletion with its delay, policies, prune; each journaled and audited."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import keeping_desk
from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.ballast import Ballast
from appliance.folding import drop_due, keep_step
from appliance.keeping_desk import (
    HoldEndUnusable,
    HoldUnknown,
    KeepingDesk,
    LastGood,
    SnapshotHeld,
    SnapshotUnknown,
    TextTooLong,
)
from appliance.rights import Rights
from appliance.root import Root
from appliance.schedules import Schedules
from appliance.share_desk import ShareDesk, SnapshotDeferred
from appliance.share_worker import ShareWorker
from appliance.vault import OpenShare, Vault
from core.errors import StagekeeperError
from snapshots.policy import PolicyUnreadable
from staging.changes import Attributes, Change, Chunk, Content, Create, Kind, Mirror, Unlink
from staging.chunk_format import ChunkKind, pack_chunk
from staging.frame_format import seal_frame
from staging.protocol import Open
from tests.appliance.program import SHARE, Program, fill
from tests.appliance.settable_clock import SettableClock
from web.errors import AccessDenied
from web.operations import Actor
from web.upkeep_values import Weight

ADMIN = Actor("admin", "admin")
OPERATOR = Actor("oscar", "operator")
AUDITOR = Actor("audrey", "auditor")
PLAIN = Attributes(0o644, 0, 0, 0)
DAY = 86_400.0


@dataclass
class Desk:
    """A vault with one share, and the desk over it."""

    vault: Vault
    desk: KeepingDesk
    audit: AuditLog
    clock: SettableClock
    schedules: Schedules

    @property
    def share(self) -> OpenShare:
        return self.vault.share(SHARE)

    def send(self, *changes: Change) -> None:
        """Send changes of the files f and absent, and fold them."""
        opened = self.share
        session = opened.receiver.open(Open(opened.receiver.share_id, 1)).session
        position = opened.journal.position
        paths = [b"f", b"absent"]
        frame = seal_frame(opened.receiver.share_id, 1, position.sequence + 1, position.hash, paths, list(changes))
        opened.receiver.frames(session, frame)
        opened.fold.fold_all()

    def snapshot(self, trigger: str = "schedule") -> int:
        """Change the file, fold, and take a snapshot."""
        opened = self.share
        if opened.journal.position.sequence == 0:
            self.send(Mirror(True), Create(0, Kind.FILE, PLAIN), Mirror(False))
        else:
            self.send(Content(0, None, PLAIN))
        taken = opened.fold.take_snapshot("", trigger, self.clock.now_ns())
        opened.fold.fold_all()
        return taken.id

    def keep(self) -> None:
        """Do what the keeper does until nothing is left to do."""
        step = keep_step(self.vault)
        while step(SHARE):
            pass

    def ids(self) -> list[int]:
        return [row.id for row in self.share.reader.ledger.snapshots(deleted=True)]

    def actions(self) -> list[tuple[str, str]]:
        return [(entry["action"], entry["outcome"]) for entry in self.audit.page(None, 100)[0]][::-1]


@pytest.fixture
def desk(tmp_path: Path, database: ApplianceDatabase) -> Iterator[Desk]:
    for part in ("journal", "packs", "db", "audit"):
        (tmp_path / part).mkdir()
    clock, counter = SettableClock(), itertools.count()
    vault = Vault(Root(tmp_path, bytes(16)), clock, lambda size: next(counter).to_bytes(size, "big"))
    vault.register(SHARE, b"leeds/finance---")
    audit = AuditLog(tmp_path / "audit", bytes(16), clock)
    keeper = ShareWorker("keep", vault.names, keep_step(vault))
    schedules = Schedules(database, clock)
    yield Desk(vault, KeepingDesk(vault, keeper, Rights(lambda account: []), audit, schedules), audit, clock, schedules)
    audit.close()
    vault.close()


def test_a_deleted_snapshot_goes_after_the_delay_and_not_before(desk: Desk) -> None:
    first, second = desk.snapshot(), desk.snapshot()
    shown = desk.desk.delete(OPERATOR, SHARE, first)
    assert (shown.state, shown.reason, shown.drops_at) == ("deleted", "deleted by oscar", "2026-11-23T07:00:00.000000Z")
    desk.clock.move(DAY - 1)
    desk.keep()
    assert desk.ids() == [first, second]
    desk.clock.move(1)
    desk.keep()
    assert desk.ids() == [second]
    assert desk.actions() == [("snapshot.delete", "done")]


def test_a_deletion_is_taken_back(desk: Desk) -> None:
    first = desk.snapshot()
    desk.snapshot()
    desk.desk.delete(OPERATOR, SHARE, first)
    assert desk.desk.undelete(OPERATOR, SHARE, first).state == "ready"
    desk.clock.move(30 * DAY)
    desk.keep()
    assert first in desk.ids()


def test_a_hold_outranks_deletion_and_policy_until_it_ends(desk: Desk) -> None:
    first = desk.snapshot()
    desk.snapshot()
    held = desk.desk.hold(OPERATOR, SHARE, first, "audit", "asked for", "2026-12-22T07:00:00Z")
    assert [(hold.name, hold.owner, hold.expires_at) for hold in held.holds] == [
        ("audit", "oscar", "2026-12-22T07:00:00.000000Z")
    ]
    with pytest.raises(SnapshotHeld, match="audit"):
        desk.desk.delete(ADMIN, SHARE, first)
    desk.clock.set("2026-12-22T07:00:00Z")
    assert desk.desk.delete(ADMIN, SHARE, first).state == "deleted"


def test_a_hold_that_comes_after_the_deletion_still_keeps(desk: Desk) -> None:
    first = desk.snapshot()
    desk.snapshot()
    desk.desk.delete(OPERATOR, SHARE, first)
    desk.desk.hold(OPERATOR, SHARE, first, "late", "", None)
    desk.clock.move(2 * DAY)
    desk.keep()
    assert first in desk.ids()
    desk.desk.release(OPERATOR, SHARE, first, "late")
    desk.keep()
    assert first not in desk.ids()


@pytest.mark.parametrize("until", ["2026-11-22T06:59:59Z", "2026-11-22T07:00:00Z"])
def test_a_hold_that_is_over_already_is_refused(desk: Desk, until: str) -> None:
    first = desk.snapshot()
    desk.clock.set("2026-11-22T07:00:00Z")
    with pytest.raises(HoldEndUnusable, match="over already"):
        desk.desk.hold(OPERATOR, SHARE, first, "audit", "asked for", until)
    assert not desk.desk.hold(OPERATOR, SHARE, first, "other", "", "2026-11-22T07:00:01Z").holds[1:]


@pytest.mark.parametrize(
    "until", ["2300-01-01T00:00:00Z", "2600-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1969-01-01T00:00:00Z"]
)
def test_a_hold_that_cannot_be_written_down_is_refused_before_it_is_journaled(desk: Desk, until: str) -> None:
    first = desk.snapshot()
    before = desk.share.fold.last_control
    with pytest.raises(HoldEndUnusable, match=until):
        desk.desk.hold(OPERATOR, SHARE, first, "audit", "asked for", until)
    assert desk.share.fold.last_control == before
    assert desk.actions() == [("snapshot.hold", "refused")]
    assert desk.snapshot() > first  # the share goes on


def test_a_hold_that_comes_while_others_are_dropped_is_not_overtaken(desk: Desk) -> None:
    """What was to go is looked up once; who holds or takes back the last of it is answered before its turn comes."""
    first, second, third, _ = [desk.snapshot() for _ in range(4)]
    for snapshot in (first, second, third):
        desk.desk.delete(OPERATOR, SHARE, snapshot)
    desk.clock.move(DAY)
    opened = desk.share
    order = opened.fold.order

    def meanwhile(make: Any) -> Any:
        opened.fold.order = order  # type: ignore[method-assign]
        dropped = order(make)
        desk.desk.hold(OPERATOR, SHARE, second, "late", "", None)
        desk.desk.undelete(OPERATOR, SHARE, third)
        return dropped

    opened.fold.order = meanwhile  # type: ignore[method-assign]
    assert drop_due(opened, desk.clock.now_ns()) == [first]
    assert desk.ids()[:2] == [second, third]


def test_what_cannot_be_is_refused_by_name_and_audited(desk: Desk) -> None:
    only = desk.snapshot()
    cases: list[tuple[type[StagekeeperError], object]] = [
        (LastGood, lambda: desk.desk.delete(ADMIN, SHARE, only)),
        (SnapshotUnknown, lambda: desk.desk.label(ADMIN, SHARE, 99, "x")),
        (HoldUnknown, lambda: desk.desk.release(ADMIN, SHARE, only, "x")),
        (TextTooLong, lambda: desk.desk.label(ADMIN, SHARE, only, "x" * 201)),
        (AccessDenied, lambda: desk.desk.delete(AUDITOR, SHARE, only)),
        (AccessDenied, lambda: desk.desk.set_policy(OPERATOR, SHARE, {})),
        (PolicyUnreadable, lambda: desk.desk.set_policy(ADMIN, SHARE, {"schedule": "at noon"})),
    ]
    for error, act in cases:
        with pytest.raises(error):
            act()  # type: ignore[operator]
    assert [outcome for _, outcome in desk.actions()] == ["refused"] * len(cases)
    assert desk.ids() == [only]


def test_prune_deletes_what_the_policy_does_not_keep_and_a_dry_run_only_tells(desk: Desk) -> None:
    taken = [desk.snapshot() for _ in range(4)]
    desk.desk.set_policy(ADMIN, SHARE, {"retention": {"keep_last": 2, "max": None}})
    told = desk.desk.prune(OPERATOR, None, dry_run=True)
    assert [(decision.snapshot, decision.keep) for decision in told] == list(zip(taken, [False, False, True, True], strict=True))
    assert all(decision.reasons for decision in told)
    assert [row.deleted_ns for row in desk.share.reader.ledger.snapshots(deleted=True)] == [0] * 4
    assert desk.desk.prune(OPERATOR, SHARE, dry_run=False) == told
    gone = [row.id for row in desk.share.reader.ledger.snapshots(deleted=True) if row.deleted_ns]
    assert gone == taken[:2]
    desk.clock.move(2 * DAY)
    desk.keep()
    assert desk.ids() == taken[2:]
    with pytest.raises(AccessDenied):
        desk.desk.prune(AUDITOR, SHARE, dry_run=False)


def meanwhile(desk: Desk, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have something done by somebody else when a prune has decided and deleted nothing yet."""
    real, to_do = keeping_desk.decide, [act]

    def decide_then(facts: Any, *rest: Any) -> Any:
        decided = real(list(facts), *rest)
        if to_do:
            to_do.pop()()
        return decided

    monkeypatch.setattr(keeping_desk, "decide", decide_then)


def test_prune_deletes_nothing_that_is_held_taken_back_or_needed_by_the_time_its_turn_comes(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = [desk.snapshot() for _ in range(6)]
    desk.desk.set_policy(ADMIN, SHARE, {"retention": {"keep_last": 3, "max": None}})
    desk.desk.delete(ADMIN, SHARE, taken[3])

    def act() -> None:
        desk.desk.hold(OPERATOR, SHARE, taken[0], "audit", "", None)
        desk.desk.undelete(OPERATOR, SHARE, taken[3])
        desk.desk.delete(OPERATOR, SHARE, taken[4])
        desk.desk.delete(OPERATOR, SHARE, taken[1])

    meanwhile(desk, monkeypatch, act)
    told = {decision.snapshot: decision for decision in desk.desk.prune(OPERATOR, SHARE, dry_run=False)}
    rows = {row.id: row for row in desk.share.reader.ledger.snapshots(deleted=True)}
    assert [number for number, row in rows.items() if not row.deleted_ns] == [taken[0], taken[2], taken[3], taken[5]]
    assert (told[taken[0]].keep, told[taken[0]].reasons) == (True, ["held: audit"])
    assert rows[taken[1]].delete_reason == "deleted by oscar", "it was deleted once, and goes when that says"


def test_of_two_who_delete_the_last_good_snapshots_at_once_one_is_refused(desk: Desk) -> None:
    first, second = desk.snapshot(), desk.snapshot()
    opened = desk.share
    order = opened.fold.order

    def other_first(make: Any) -> Any:
        opened.fold.order = order  # type: ignore[method-assign]
        desk.desk.delete(ADMIN, SHARE, second)
        return order(make)

    opened.fold.order = other_first  # type: ignore[method-assign]
    with pytest.raises(LastGood):
        desk.desk.delete(OPERATOR, SHARE, first)
    assert [row.id for row in opened.reader.ledger.snapshots()] == [first]


def test_prune_tells_what_goes_with_a_snapshot(desk: Desk) -> None:
    data = bytes(range(256)) * 100
    chunk = pack_chunk(ChunkKind.DATA, data)
    desk.snapshot()
    desk.vault.store.put_own("leeds", [chunk])
    desk.send(Content(0, Chunk(chunk.digest, len(data)), PLAIN))
    only = desk.share.fold.take_snapshot("", "schedule", desk.clock.now_ns()).id
    desk.snapshot()
    desk.desk.set_policy(ADMIN, SHARE, {"retention": {"keep_last": 1, "max": None}})
    told = {decision.snapshot: decision.frees_bytes for decision in desk.desk.prune(OPERATOR, SHARE, dry_run=True)}
    assert told[only] == len(chunk.data)
    assert sum(told.values()) == len(chunk.data), "nothing else names anything"


def test_what_goes_with_snapshots_is_weighed_together_and_apart(desk: Desk) -> None:
    datas = [bytes(range(256)) * 100, bytes(range(255, -1, -1)) * 90]
    chunks = [pack_chunk(ChunkKind.DATA, data) for data in datas]
    desk.vault.store.put_own("leeds", chunks)
    first = desk.snapshot()
    ids = []
    for number in (0, 1, 1):
        desk.send(Content(0, Chunk(chunks[number].digest, len(datas[number])), PLAIN))
        ids.append(desk.share.fold.take_snapshot("", "schedule", desk.clock.now_ns()).id)
    last = desk.snapshot()

    def weigh(begin: int, end: int) -> Weight:
        *_, weight = desk.desk.weigh(AUDITOR, SHARE, begin, end)
        assert isinstance(weight, Weight)
        return weight

    one, two = (len(chunk.data) for chunk in chunks)
    assert [(row.id, row.alone_bytes) for row in weigh(ids[0], ids[2]).snapshots] == [(ids[0], one), (ids[1], 0), (ids[2], 0)]
    assert (weigh(ids[0], ids[2]).frees_bytes, weigh(ids[2], ids[0]).frees_bytes) == (one + two, one + two)
    assert (weigh(ids[0], ids[0]).frees_bytes, weigh(ids[1], ids[1]).frees_bytes) == (one, 0)
    assert [row.id for row in weigh(first, last).snapshots] == desk.ids()
    with pytest.raises(SnapshotUnknown, match="no snapshot 99"):
        desk.desk.weigh(AUDITOR, SHARE, ids[0], 99)
    with pytest.raises(AccessDenied):
        desk.desk.weigh(Actor("u", "user"), SHARE, ids[0], ids[0])


def test_a_delay_made_shorter_does_not_count_before_the_longer_one_has_passed(desk: Desk) -> None:
    first, second = desk.snapshot(), desk.snapshot()
    desk.snapshot()
    desk.desk.set_policy(ADMIN, SHARE, {"limits": {"removal_delay": "1h"}})
    assert desk.desk.delete(ADMIN, SHARE, first).drops_at == "2026-11-23T07:00:00.000000Z"
    desk.clock.move(DAY + 1)
    assert desk.desk.delete(ADMIN, SHARE, second).drops_at == "2026-11-23T08:00:01.000000Z"


def test_the_policy_survives_the_loss_of_the_catalogue(desk: Desk, tmp_path: Path) -> None:
    desk.snapshot()
    set_to = desk.desk.set_policy(ADMIN, SHARE, {"retention": "kopia-like", "time_zone": "Europe/London"})
    desk.keep()
    desk.vault.close()
    for path in (tmp_path / "db").rglob("*.db*"):
        path.unlink()
    again = Vault(Root(tmp_path, bytes(16)), desk.clock, lambda size: bytes(size))
    again.share(SHARE).fold.fold_all()
    keeper = ShareWorker("keep", again.names, keep_step(again))
    other = KeepingDesk(again, keeper, Rights(lambda account: []), desk.audit, desk.schedules)
    assert other.policy(ADMIN, SHARE) == set_to
    again.close()


def test_the_last_good_snapshot_is_held_while_the_share_is_bad(desk: Desk) -> None:
    older, newest = desk.snapshot(), desk.snapshot()
    desk.send(Unlink(1))
    desk.keep()
    holds = desk.share.reader.ledger.holds()
    assert {snapshot: [hold.name for hold in held] for snapshot, held in holds.items()} == {newest: ["last-good"]}
    with pytest.raises(SnapshotHeld):
        desk.desk.delete(ADMIN, SHARE, newest)
    desk.send(Mirror(True), Create(0, Kind.FILE, PLAIN), Mirror(False))
    desk.keep()
    assert desk.share.fold.state[0] == "good"
    assert desk.share.reader.ledger.holds() == {}
    assert desk.desk.delete(ADMIN, SHARE, older).state == "deleted"


def test_a_scheduled_snapshot_waits_until_the_share_is_good(desk: Desk) -> None:
    desk.snapshot()
    desk.send(Unlink(1))
    shares = ShareDesk(
        desk.vault, ShareWorker("fold", list, lambda name: False), Rights(lambda account: []), desk.audit, Ballast([], 0, 0)
    )
    actor = Actor("schedule:noon", "operator")
    with pytest.raises(SnapshotDeferred, match="did not fit"):
        shares.create_snapshot(actor, SHARE, "noon")
    desk.keep()
    assert len(desk.ids()) == 1
    desk.send(Mirror(True), Create(0, Kind.FILE, PLAIN), Mirror(False))
    desk.keep()
    row = desk.share.reader.ledger.snapshots()[-1]
    assert (row.label, row.trigger) == ("noon", "schedule")
    desk.keep()
    assert len(desk.ids()) == 2, "it is taken once"
    assert ("snapshot.create", "deferred") in desk.actions()


def test_a_policy_brings_its_own_schedule(desk: Desk) -> None:
    desk.snapshot()
    desk.desk.set_policy(ADMIN, SHARE, {"schedule": "weekdays-0700-1200", "time_zone": "Europe/London"})
    (row,) = desk.schedules.all()
    assert (row.name, row.cron, row.tz, row.action, row.shares) == (SHARE, "0 7,12 * * 1-5", "Europe/London", "snapshot", [SHARE])
    desk.clock.move(60)
    desk.desk.set_policy(ADMIN, SHARE, {"schedule": "weekdays-0700-1200", "time_zone": "Europe/London", "quota_bytes": 7})
    assert desk.schedules.all() == [row], "what is used up stays used up"
    desk.desk.set_policy(ADMIN, SHARE, {})
    assert desk.schedules.all() == []


def test_the_commands(tmp_path: Path, root: Root) -> None:
    store = Program(root.path)
    fill(root.path, {b"a": b"one"})
    store.json("snapshot", "create", SHARE)
    (first, second) = (row["id"] for row in store.json("snapshot", "list", SHARE)["snapshots"])
    assert store.json("snapshot", "label", SHARE, str(first), "after lunch")["label"] == "after lunch"
    assert store.json("snapshot", "hold", SHARE, str(first), "--reason", "why")["holds"][0]["reason"] == "why"
    assert b"hold (owner): why" in store.run("snapshot", "list", SHARE).stdout
    refused = store.run("snapshot", "delete", SHARE, str(first), "--json")
    assert (refused.returncode, b'"type":"snapshot_held"' in refused.stderr) == (4, True)
    store.json("snapshot", "release", SHARE, str(first))
    assert store.json("snapshot", "delete", SHARE, str(first))["state"] == "deleted"
    assert [row["state"] for row in store.json("snapshot", "list", SHARE)["snapshots"]] == ["deleted", "ready"]
    assert store.json("snapshot", "undelete", SHARE, str(first))["state"] == "ready"
    assert store.run("snapshot", "delete", SHARE, "999").returncode == 3
    weight = store.json("snapshot", "weigh", SHARE, str(first), str(second))
    assert ([row["id"] for row in weight["snapshots"]], weight["frees_bytes"]) == ([first, second], 0)
    told = store.run("snapshot", "weigh", SHARE, str(first)).stdout
    assert b"alone at most" in told and b"Deleting it frees 0 B." in told
    policy = store.json("share", "policy", SHARE)
    shown = store.run("share", "policy", SHARE).stdout
    assert msgspec.json.decode(shown) == policy and len(shown.splitlines()) > 20  # what is shown can be edited and set
    policy["retention"]["keep_last"] = 1
    set_to = store.run("share", "policy", SHARE, "--set", "-", "--json", input=msgspec.json.encode(policy))
    assert set_to.returncode == 0, set_to
    decisions = store.json("prune", SHARE, "--dry-run")["decisions"]
    assert [(row["snapshot"], row["keep"]) for row in decisions] == [(first, False), (second, True)]
    assert store.run("prune", SHARE).returncode == 0
    assert [row["state"] for row in store.json("snapshot", "list", SHARE)["snapshots"]] == ["deleted", "ready"]
    assert store.run("share", "policy", SHARE, "--set", "/nowhere").returncode == 2
