"""Deleted shares and branches go after their delay, and can be taken back until then."""

import base64
import itertools
import random
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.ballast import Ballast
from appliance.branch_removal import BranchNotDeleted, BranchRemoval
from appliance.branches import Branches, BranchExists, BranchNotFound, BranchRevoked, CodeRefused, TokenRefused
from appliance.enrolment import EnrolmentDesk
from appliance.find_indexes import FindIndexes
from appliance.folding import fold_step, keep_step
from appliance.intake_desk import IntakeDesk
from appliance.mending import Mending
from appliance.path_purge import PathPurge, PurgeBusy, PurgeHeld, RootPurged
from appliance.removal_desk import NotDeleted, RemovalDesk, RemovalParts
from appliance.removals import ShareHeld, ShareIsDeleted, check_not_deleted
from appliance.rights import Rights
from appliance.root import Root
from appliance.share_desk import ShareDesk
from appliance.share_worker import ShareWorker
from appliance.vault import OpenShare, ShareNotFound, Vault
from core.database import DatabaseClosed
from core.errors import StagekeeperError
from core.relpath import parse_path
from snapshots.collect import Collector
from snapshots.control_format import HoldSet, PolicySet
from snapshots.mark import JournalPart, Roots
from snapshots.name_index import NameIndex
from snapshots.seal_verify import verify_seals
from staging.changes import Attributes, Change, Chunk, Content, Create, Kind, Mirror
from staging.chunk_format import ChunkKind, item_parts, pack_chunk
from staging.frame_format import seal_frame
from staging.protocol import Open
from tapeexport.cartridge_format import SnapshotLabel
from tapeexport.inventory_db import InventoryDb
from tests.appliance.program import Program, fill
from tests.appliance.settable_clock import SettableClock
from tests.faulty_files import FaultyFiles, Killed
from tests.snapshots.collect_rig import place
from web.errors import AccessDenied
from web.operations import Actor

OWNER = Actor("owner", "owner")
ADMIN = Actor("admin", "admin")
OPERATOR = Actor("oscar", "operator")
PLAIN = Attributes(0o644, 0, 0, 0)
SHARE = "leeds/finance"
DAY = 86_400.0


@dataclass
class Rig:
    """A vault whose shares can be deleted; `reopen` is a restart."""

    folder: Path
    clock: SettableClock = field(default_factory=SettableClock)
    files: FaultyFiles = field(default_factory=FaultyFiles)
    removed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for part in ("journal", "packs", "db", "audit"):
            (self.folder / part).mkdir(exist_ok=True)
        self.audit = AuditLog(self.folder / "audit", bytes(16), self.clock)
        self.open()

    def open(self) -> None:
        counter = itertools.count()
        root = Root(self.folder, bytes(16))
        self.vault = Vault(root, self.clock, lambda size: next(counter).to_bytes(size, "big"), self.files)
        keeper = ShareWorker("keep", self.vault.names, keep_step(self.vault))
        rights = Rights(lambda account: [])
        folding = ShareWorker("fold", list, lambda name: False)
        self.shares = ShareDesk(self.vault, folding, rights, self.audit, Ballast([], 0, 0))
        self.database = ApplianceDatabase(self.folder / "db" / "appliance.db")
        self.branches = Branches(self.database, self.clock, random.Random(7).randbytes, "ab" * 32)
        self.branch_removal = BranchRemoval(self.vault, self.branches)
        shown = self.shares.share_status
        self.indexes = FindIndexes(self.vault)
        paths = PathPurge(root, self.clock.now_ns, self.indexes.emptied, self.files)
        self.desk = RemovalDesk(RemovalParts(self.vault, keeper, rights, self.audit, shown, self.branch_removal, paths))

    def close(self) -> None:
        self.vault.close()
        self.database.close()

    def reopen(self) -> None:
        self.close()
        self.open()

    def send(self, share: str = SHARE, names: list[bytes] | None = None) -> None:
        """Send files, fold them, and take a snapshot."""
        opened = self.vault.register(share, share.encode().ljust(16, b"-")[:16])
        session = opened.receiver.open(Open(opened.receiver.share_id, 1)).session
        paths = names or [b"a", b"b"]
        changes: list[Change] = [Create(number, Kind.FILE, PLAIN) for number in range(len(paths))]
        if opened.journal.position.sequence == 0:
            changes = [Mirror(True), *changes, Mirror(False)]
        position = opened.journal.position
        frame = seal_frame(opened.receiver.share_id, 1, position.sequence + 1, position.hash, paths, changes)
        opened.receiver.frames(session, frame)
        opened.fold.fold_all()
        opened.fold.take_snapshot("", "command", self.clock.now_ns())
        opened.sealer.seal()

    def keep(self, share: str = SHARE) -> None:
        step = keep_step(self.vault, self.removed.append)
        while step(share):
            pass

    def keep_branches(self) -> None:
        for name in self.branches.deleted():
            self.branch_removal.step(name)

    def left(self) -> list[str]:
        """Return every file of shares that is left, packs apart."""
        places = [self.folder / "journal", self.folder / "db" / "shares", self.folder / "db" / "find"]
        return sorted(str(path.relative_to(self.folder)) for place in places for path in place.rglob("*") if path.is_file())

    def actions(self) -> list[tuple[str, str]]:
        return [(entry["action"], entry["outcome"]) for entry in self.audit.page(None, 100)[0]][::-1]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()
    made.audit.close()


def test_a_share_that_is_taken_back_at_the_last_moment_stays(rig: Rig) -> None:
    """Whoever is answered before the share is closed has it back."""
    rig.send()
    rig.desk.delete_share(ADMIN, SHARE)
    rig.clock.move(DAY)
    remove = rig.vault.remove

    def meanwhile(*asked: Any) -> bool:
        rig.desk.undelete_share(ADMIN, SHARE)
        return remove(*asked)

    rig.vault.remove = meanwhile  # type: ignore[method-assign]
    rig.keep()
    assert rig.removed == []
    assert rig.vault.share(SHARE).reader.ledger.snapshots()


def test_a_deleted_share_goes_after_the_delay_and_not_before(rig: Rig) -> None:
    rig.send()
    chunks = rig.vault.store.counts()
    names = rig.folder / "db" / "find" / "leeds" / "finance.db"
    share = rig.vault.share(SHARE)
    index = NameIndex(names, share.reader, lines_at_least=1)
    index.step(share.fold.sequence)
    index.close()
    assert names.exists()
    shown = rig.desk.delete_share(ADMIN, SHARE)
    assert (shown.state, shown.reason, shown.drops_at) == ("deleted", "deleted by admin", "2026-11-23T07:00:00.000000Z")
    rig.clock.move(DAY - 1)
    rig.keep()
    assert rig.vault.names() == [SHARE]
    rig.clock.move(1)
    rig.keep()
    assert (rig.vault.names(), rig.left(), rig.removed) == ([], [], [SHARE])
    assert rig.vault.store.counts() >= chunks, "packs are collect's matter"
    with pytest.raises(ShareNotFound):
        rig.vault.share(SHARE)
    assert rig.actions() == [("share.delete", "done")]
    assert not fold_step(rig.vault)(SHARE) and not keep_step(rig.vault)(SHARE)


def test_reading_goes_on_while_nothing_is_taken_any_more(rig: Rig) -> None:
    rig.send()
    rig.desk.delete_share(ADMIN, SHARE)
    entries, _ = rig.shares.list_folder(ADMIN, SHARE, "latest", parse_path(b""), b"", 10)
    assert [entry.name for entry in entries] == ["a", "b"]
    pages = [rig.shares.list_folder(ADMIN, SHARE, "latest", parse_path(b""), b"", limit) for limit in (1, 2)]
    assert [(len(page), following) for page, following in pages] == [(1, b"a"), (2, None)], "a full last page is the last"
    assert [share.state for share in rig.shares.list_shares(ADMIN)] == ["deleted"]
    with pytest.raises(ShareIsDeleted, match="goes after 2026-11-23"):
        rig.shares.create_snapshot(ADMIN, SHARE, "more")


def test_the_agent_of_a_deleted_share_is_refused_by_name_with_the_remedy(rig: Rig) -> None:
    rig.send()
    worker, mending = ShareWorker("fold", list, lambda name: False), Mending(rig.vault.store, SettableClock())
    intake = IntakeDesk(rig.vault, worker, _nobody(), _nothing(), Ballast([], 0, 0), mending)
    opening = b'{"share_id":"%s","epoch":1}' % base64.b64encode(SHARE.encode().ljust(16, b"-")[:16])
    intake.open("leeds", "finance", opening)
    rig.desk.delete_share(ADMIN, SHARE)
    asked = (
        lambda: intake.open("leeds", "finance", opening), lambda: intake.frames("leeds", "finance", "s", b""),
        lambda: intake.missing("leeds", "finance", b""), lambda: intake.chunks("leeds", "finance", "s", b""),
    )  # fmt: skip
    for ask in asked:
        with pytest.raises(ShareIsDeleted) as caught:
            ask()
        assert "share undelete leeds/finance" in caught.value.remedy
    rig.desk.undelete_share(ADMIN, SHARE)
    intake.open("leeds", "finance", opening)


def test_a_deletion_is_taken_back(rig: Rig) -> None:
    rig.send()
    rig.desk.delete_share(ADMIN, SHARE)
    assert rig.desk.undelete_share(ADMIN, SHARE).state == "good"
    rig.clock.move(30 * DAY)
    rig.keep()
    assert rig.vault.names() == [SHARE]
    with pytest.raises(NotDeleted):
        rig.desk.undelete_share(ADMIN, SHARE)


def test_a_second_deletion_does_not_move_the_date(rig: Rig) -> None:
    rig.send()
    first = rig.desk.delete_share(ADMIN, SHARE)
    rig.clock.move(3600)
    assert rig.desk.delete_share(ADMIN, SHARE) == first


def test_holds_outrank_a_deletion_before_it_and_behind_it(rig: Rig) -> None:
    rig.send()
    fold = rig.vault.share(SHARE).fold
    fold.order(lambda number, _: HoldSet(number, 1, "audit", "oscar", "", 0))
    with pytest.raises(ShareHeld, match=r"audit \(oscar\) on snapshot 1"):
        rig.desk.delete_share(ADMIN, SHARE)
    ends_ns = rig.clock.now_ns() + int(3 * DAY * 1e9)
    fold.order(lambda number, _: HoldSet(number, 1, "audit", "oscar", "", 1))  # has ended long ago
    rig.desk.delete_share(ADMIN, SHARE)
    fold.order(lambda number, _: HoldSet(number, 1, "late", "oscar", "", ends_ns))
    rig.clock.move(2 * DAY)
    rig.keep()
    assert rig.vault.names() == [SHARE]
    rig.clock.move(DAY)
    rig.keep()
    assert rig.vault.names() == []


def test_a_share_that_somebody_reads_waits(rig: Rig) -> None:
    rig.send()
    rig.desk.delete_share(ADMIN, SHARE)
    rig.clock.move(DAY)
    with rig.shares.static_source(SHARE, "latest"):
        rig.keep()
        assert rig.vault.names() == [SHARE]
    opened = rig.vault.share(SHARE)
    rig.keep()
    assert rig.vault.names() == []
    with pytest.raises(DatabaseClosed):
        opened.reader.view(1).list_folder(parse_path(b""))
    with pytest.raises(StagekeeperError), opened.fold.lease():
        pass
    assert rig.left() == [], "whoever still has it in hand leaves no file"


def test_a_delay_made_shorter_does_not_count_for_shares_either(rig: Rig) -> None:
    rig.send()
    hour, day_ns = b'{"limits":{"removal_delay":"1h"}}', int(DAY * 1e9)
    until_ns = rig.clock.now_ns() + day_ns
    rig.vault.share(SHARE).fold.order(lambda number, _: PolicySet(number, hour, day_ns, until_ns))
    assert rig.desk.delete_share(ADMIN, SHARE).drops_at == "2026-11-23T07:00:00.000000Z"


def test_only_administrators_delete_shares_and_refusals_are_audited(rig: Rig) -> None:
    rig.send()
    with pytest.raises(AccessDenied):
        rig.desk.delete_share(OPERATOR, SHARE)
    with pytest.raises(ShareNotFound):
        rig.desk.delete_share(ADMIN, "leeds/other")
    assert rig.actions() == [("share.delete", "refused")] * 2


def test_a_deletion_survives_the_loss_of_every_database(rig: Rig) -> None:
    rig.send()
    rig.desk.delete_share(ADMIN, SHARE)
    for sealed in (False, True):
        if sealed:
            opened = rig.vault.share(SHARE)
            opened.fold.take_snapshot("", "command", rig.clock.now_ns())
            rig.keep()
            verdict = verify_seals(opened.fold.path, opened.journal, rig.vault.store, rig.folder / "scratch", lambda d, t: None)
            assert not verdict.differences
        rig.close()
        for path in (rig.folder / "db" / "shares").rglob("*.db*"):
            path.unlink()
        rig.open()
        rig.vault.share(SHARE).fold.fold_all()
        rig.vault.share(SHARE).fold.fold()
        assert rig.shares.share_status(ADMIN, SHARE).state == "deleted"


def test_a_share_of_the_same_name_begins_anew(rig: Rig) -> None:
    rig.send(names=[b"old"])
    rig.desk.delete_share(ADMIN, SHARE)
    rig.clock.move(DAY)
    rig.keep()
    rig.send(names=[b"new"])
    entries, _ = rig.shares.list_folder(ADMIN, SHARE, "latest", parse_path(b""), b"", 10)
    assert [entry.name for entry in entries] == ["new"]


@pytest.mark.parametrize("fault", ["kill", "kill_after"])
@pytest.mark.parametrize("power_cut", [False, True], ids=["process-killed", "power-cut"])
def test_a_crash_at_any_step_leaves_a_share_or_none_and_the_rest_goes_at_the_next_start(
    tmp_path: Path, fault: str, power_cut: bool
) -> None:
    steps, at = 100, 0
    while at < steps:
        at += 1
        (tmp_path / str(at)).mkdir()
        rig = Rig(tmp_path / str(at))
        rig.send()
        rig.send("leeds/finance.db", [b"neighbour"])
        rig.desk.delete_share(ADMIN, SHARE)
        rig.clock.move(DAY)
        rig.reopen()
        rig.vault.share(SHARE)
        rig.files.at, rig.files.fault = rig.files.count + at, fault
        try:
            rig.keep()
            steps = 0
        except Killed:
            pass
        if power_cut:
            rig.files.lose_unsynced()
        rig.files = FaultyFiles()
        rig.open()  # whatever the killed process held open is nobody's
        names = rig.vault.names()
        assert names in (["leeds/finance", "leeds/finance.db"], ["leeds/finance.db"])
        if SHARE in names:
            shown, _ = rig.shares.list_folder(ADMIN, SHARE, "latest", parse_path(b""), b"", 10)
            assert [entry.name for entry in shown] == ["a", "b"]
            rig.keep()
        assert not [path for path in rig.left() if "finance." in path.replace("finance.db", "") or "/finance/" in path]
        shown, _ = rig.shares.list_folder(ADMIN, "leeds/finance.db", "latest", parse_path(b""), b"", 10)
        assert [entry.name for entry in shown] == ["neighbour"]
        rig.close()
        rig.audit.close()
    assert at > 6, "the sweep must really meet the operations"


def test_a_deleted_branch_may_send_no_more_and_goes_with_its_last_share(rig: Rig) -> None:
    token = rig.branches.enroll(rig.branches.add("leeds").code).token
    rig.branches.add("york")
    rig.send()
    rig.send("leeds/more")
    rig.send("york/data")
    shown = rig.desk.delete_branch(ADMIN, "leeds")
    assert (shown.state, shown.shares, shown.drops_at) == ("deleted", 2, "2026-11-23T07:00:00.000000Z")
    with pytest.raises(BranchRevoked):
        rig.branches.authenticate(token)
    with pytest.raises(BranchExists):
        rig.branches.add("leeds")
    states = {share.share: share.state for share in rig.shares.list_shares(ADMIN)}
    assert states == {SHARE: "deleted", "leeds/more": "deleted", "york/data": "good"}
    with pytest.raises(NotDeleted, match="goes with its branch"):
        rig.desk.undelete_share(ADMIN, SHARE)
    rig.clock.move(DAY)
    rig.keep()
    rig.keep_branches()
    assert [row.name for row in rig.branches.all()] == ["leeds", "york"], "a share is left"
    rig.keep("leeds/more")
    rig.keep_branches()
    assert ([row.name for row in rig.branches.all()], rig.vault.names()) == (["york"], ["york/data"])
    with pytest.raises(TokenRefused):
        rig.branches.authenticate(token)


def test_a_branch_is_taken_back_with_its_credential_and_what_went_with_it(rig: Rig) -> None:
    token = rig.branches.enroll(rig.branches.add("leeds").code).token
    rig.send()
    rig.send("leeds/apart")
    rig.desk.delete_share(ADMIN, "leeds/apart")
    rig.desk.delete_branch(ADMIN, "leeds")
    assert rig.desk.undelete_branch(ADMIN, "leeds").state == "enrolled"
    assert rig.branches.authenticate(token) == "leeds"
    states = {share.share: share.state for share in rig.shares.list_shares(ADMIN)}
    assert states == {SHARE: "good", "leeds/apart": "deleted"}, "what was deleted before stays deleted"
    with pytest.raises(BranchNotDeleted):
        rig.desk.undelete_branch(ADMIN, "leeds")


@pytest.mark.parametrize("known", [True, False], ids=["before-the-deletion", "before-the-branch"])
@pytest.mark.parametrize("by", ["branch", "share"])
def test_shares_come_back_though_nobody_knows_any_more_that_their_branch_was_deleted(rig: Rig, known: bool, by: str) -> None:
    own = rig.folder / "db" / "appliance.db"
    if known:
        rig.branches.enroll(rig.branches.add("leeds").code)
    rig.send()
    rig.close()
    kept = own.read_bytes()
    rig.open()
    if not known:
        rig.branches.enroll(rig.branches.add("leeds").code)
    rig.desk.delete_branch(ADMIN, "leeds")
    rig.close()
    own.write_bytes(kept)  # as it stood in the last backup
    rig.open()
    with pytest.raises(ShareIsDeleted) as refused:
        check_not_deleted(rig.vault.share(SHARE))
    if by == "share" or not known:
        assert rig.desk.undelete_share(ADMIN, SHARE).state == "good"
    else:
        assert "branch undelete leeds" in refused.value.remedy
        assert rig.desk.undelete_branch(ADMIN, "leeds").state == "enrolled"
    rig.clock.move(3 * DAY)
    rig.keep()
    check_not_deleted(rig.vault.share(SHARE))


def test_a_branch_without_shares_waits_too_and_its_code_is_refused_meanwhile(rig: Rig) -> None:
    code = rig.branches.add("leeds").code
    rig.desk.delete_branch(ADMIN, "leeds")
    rig.keep_branches()
    with pytest.raises(CodeRefused):
        rig.branches.enroll(code)
    rig.desk.undelete_branch(ADMIN, "leeds")
    rig.branches.enroll(code)
    rig.desk.delete_branch(ADMIN, "leeds")
    rig.clock.move(DAY)
    rig.keep_branches()
    with pytest.raises(BranchNotFound):
        rig.branches.get("leeds")


def test_a_held_share_keeps_its_branch_from_being_deleted(rig: Rig) -> None:
    token = rig.branches.enroll(rig.branches.add("leeds").code).token
    rig.send()
    rig.vault.share(SHARE).fold.order(lambda number, _: HoldSet(number, 1, "audit", "oscar", "", 0))
    with pytest.raises(ShareHeld):
        rig.desk.delete_branch(ADMIN, "leeds")
    assert rig.branches.authenticate(token) == "leeds"
    assert rig.actions() == [("branch.delete", "refused")]


def test_a_deletion_of_a_branch_that_a_crash_cut_off_goes_on(rig: Rig) -> None:
    rig.branches.add("leeds")
    rig.send()
    rig.branches.delete("leeds", rig.clock.now_ns())  # and the process ends
    rig.reopen()
    rig.keep_branches()
    deletion = rig.vault.share(SHARE).reader.ledger.deletion()
    assert deletion is not None and deletion.with_branch
    rig.keep_branches()
    assert rig.vault.share(SHARE).reader.ledger.deletion() == deletion


def test_a_purge_tells_what_went_and_where_copies_are(rig: Rig) -> None:
    rig.send()
    labels = tuple(SnapshotLabel(SHARE, number, 1, "2026-11-22T07:00:00Z", "") for number in (1, 99))
    with closing(InventoryDb(rig.folder / "db" / "inventory.db")) as inventory:
        barcodes = [inventory.begin_set((label,), 5, None).barcode for label in labels]
    report = rig.desk.purge(OWNER, SHARE, parse_path(b"a"))
    assert (report.names, report.versions, report.was_live, report.snapshots) == (1, 1, True, [1])
    assert ([*report.cartridges, *report.cartridges_to_check], report.path) == (barcodes, "a")
    assert report.freed_after == "2026-11-27T07:00:00.000000Z"
    entries, _ = rig.shares.list_folder(ADMIN, SHARE, "latest", parse_path(b""), b"", 10)
    assert [entry.name for entry in entries] == ["b"]
    rig.keep()
    assert [seal.full for seal in rig.vault.share(SHARE).reader.ledger.seals()] == [True]
    assert rig.actions() == [("purge", "done")]


def test_what_may_not_be_purged_is_refused_by_name_with_nothing_done(rig: Rig) -> None:
    rig.send()
    fold = rig.vault.share(SHARE).fold
    fold.order(lambda number, _: HoldSet(number, 1, "court", "oscar", "", 0))
    with pytest.raises(PurgeHeld, match=r"court \(oscar\) on snapshot 1"):
        rig.desk.purge(OWNER, SHARE, parse_path(b"a"))
    with pytest.raises(RootPurged):
        rig.desk.purge(OWNER, SHARE, parse_path(b""))
    for actor in (OPERATOR, ADMIN):
        with pytest.raises(AccessDenied) as denied:
            rig.desk.purge(actor, SHARE, parse_path(b"b"))
        assert "the owner may" in denied.value.remedy
    with fold.lease(), pytest.raises(PurgeBusy):
        rig.desk.purge(OWNER, SHARE, parse_path(b"nothing"))
    assert rig.actions() == [("purge", "refused")] * 5
    assert rig.vault.share(SHARE).reader.ledger.purged() == 0


def test_a_hold_or_a_reader_that_comes_before_the_order_outranks_it(rig: Rig) -> None:
    rig.send()
    fold, asked = rig.vault.share(SHARE).fold, parse_path(b"a")

    @contextmanager
    def hold(share: OpenShare) -> Iterator[None]:
        fold.order(lambda number, _: HoldSet(number, 1, "court", "oscar", "", 0))
        yield

    @contextmanager
    def read(share: OpenShare) -> Iterator[None]:
        with fold.lease():
            yield

    for meanwhile, refusal in ((read, PurgeBusy), (hold, PurgeHeld)):
        with pytest.raises(refusal):
            PathPurge(rig.vault.root, rig.clock.now_ns, meanwhile).purge(rig.vault.share(SHARE), asked)
    assert rig.vault.share(SHARE).reader.ledger.purged() == 0


def test_a_snapshot_that_comes_before_the_order_is_told_too(rig: Rig) -> None:
    rig.send()

    @contextmanager
    def take(share: OpenShare) -> Iterator[None]:
        share.fold.take_snapshot("", "command", rig.clock.now_ns())
        yield

    report = PathPurge(rig.vault.root, rig.clock.now_ns, take).purge(rig.vault.share(SHARE), parse_path(b"a"))
    assert report.snapshots == [1, 2]


def test_a_crash_at_any_step_leaves_no_index_and_no_catalogue_set_aside_with_what_was_purged(tmp_path: Path) -> None:
    whole, at = 0, 0
    while at <= whole:
        (tmp_path / str(at)).mkdir()
        rig = Rig(tmp_path / str(at))
        rig.send(names=[b"%03d a name that must go" % number for number in range(300)])
        index, begun = rig.folder / "db" / "find" / "leeds" / "finance.db", rig.files.count
        while rig.indexes.index(rig.vault.share(SHARE)).step(rig.vault.share(SHARE).fold.sequence):
            pass
        aside = rig.folder / "db" / "before-rebuild-1" / "shares" / "leeds" / "finance.db"
        aside.parent.mkdir(parents=True)
        for left in (aside, aside.with_name("finance.db-wal"), aside.with_name("finance.dbx")):
            left.write_bytes(b"a catalogue")
        assert index.exists()
        rig.files.at = rig.files.count + at if at else 0
        try:
            rig.desk.purge(OWNER, SHARE, parse_path(b"007 a name that must go"))
            whole = whole or rig.files.count - begun
        except Killed:
            pass
        rig.files = FaultyFiles()
        rig.open()
        if rig.vault.share(SHARE).reader.ledger.purged() or not at:
            assert not index.exists() and [path.name for path in aside.parent.iterdir()] == ["finance.dbx"]
        at += 1
        rig.close()
        rig.audit.close()
    assert whole > 6, "the sweep must really meet the operations"


def test_collect_frees_what_was_purged(rig: Rig) -> None:
    rig.send()
    opened = rig.vault.share(SHARE)
    session = opened.receiver.open(Open(opened.receiver.share_id, 1)).session
    secret = b"a secret that must not exist any more"
    chunk = pack_chunk(ChunkKind.DATA, secret)
    opened.receiver.chunks(b"".join(item_parts(chunk)))

    def send(*changes: Change) -> None:
        position = opened.journal.position
        sealed = seal_frame(opened.receiver.share_id, 1, position.sequence + 1, position.hash, [b"a"], list(changes))
        opened.receiver.frames(session, sealed)

    send(Content(0, Chunk(chunk.digest, len(secret)), PLAIN))
    opened.fold.fold_all()
    opened.fold.take_snapshot("", "command", rig.clock.now_ns())
    rig.desk.purge(OWNER, SHARE, parse_path(b"a"))
    rig.keep()
    send(Create(0, Kind.FILE, PLAIN))
    for _ in range(5):
        opened.fold.fold_all()
        opened.fold.take_snapshot("", "command", rig.clock.now_ns())
        rig.keep()
        rig.clock.move(100 * 3600)
        roots = Roots(
            [[JournalPart(str(path), size) for path, size in opened.journal.extents()]],
            [str(rig.folder / "db" / "shares" / "leeds" / "finance.db")],
        )
        Collector(rig.vault.store, place(rig.folder)).run(lambda roots=roots: roots, lambda: False, lambda what, done: None)  # type: ignore[misc]
    packs = b"".join(path.read_bytes() for path in (rig.folder / "packs").rglob("*") if path.is_file())
    assert secret not in packs
    assert secret not in b"".join(path.read_bytes() for path in (rig.folder / "journal").rglob("*.skj"))
    rig.vault.store.truncate_logs()
    assert bytes(chunk.digest) not in b"".join(path.read_bytes() for path in (rig.folder / "db" / "shares").rglob("*.db"))


def test_the_commands(root: Root) -> None:
    store = Program(root.path)
    fill(root.path, {b"a": b"one"})
    deleted = store.json("share", "delete", SHARE)
    assert (deleted["state"], deleted["share"]) == ("deleted", SHARE)
    assert store.json("share", "list")["shares"][0]["drops_at"] == deleted["drops_at"]
    assert store.run("cat", SHARE, "a").stdout == b"one"
    refused = store.run("snapshot", "create", SHARE, "--json")
    assert (refused.returncode, b'"type":"share_is_deleted"' in refused.stderr) == (4, True)
    assert store.json("share", "undelete", SHARE)["state"] != "deleted"
    assert store.run("share", "undelete", SHARE).returncode == 4
    assert store.run("share", "delete", "leeds/none").returncode == 3
    assert store.run("purge", SHARE, "a").returncode == 2, "nobody can be asked"
    purged = store.json("purge", SHARE, "a", "--yes")
    assert (purged["path"], purged["was_live"], purged["names"]) == ("a", True, 1)
    assert store.run("cat", SHARE, "a").returncode == 3
    store.json("branch", "add", "leeds")
    assert store.json("branch", "delete", "leeds")["state"] == "deleted"
    assert store.json("share", "status", SHARE)["state"] == "deleted"
    assert store.json("branch", "undelete", "leeds")["state"] == "waiting"
    assert store.run("branch", "delete", "york").returncode == 3


def _nobody() -> Branches:
    return None  # type: ignore[return-value]  # nobody is authenticated here


def _nothing() -> EnrolmentDesk:
    return None  # type: ignore[return-value]  # nobody is enrolled here
