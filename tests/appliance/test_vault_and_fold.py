"""Shares as the appliance opens them, and the thread that folds: several shares in turn, restarts, failures told."""

import base64
import gc
import itertools
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import appliance.vault as vault_module
import snapshots.share_fold as share_fold
from appliance.ballast import Ballast
from appliance.folding import fold_step
from appliance.intake_desk import IntakeDesk
from appliance.mending import Mending
from appliance.root import Root
from appliance.share_worker import ShareWorker
from appliance.vault import ShareNotFound, TooManyShares, Vault
from core.clock import SystemClock
from core.durable import NoSpace
from core.errors import Damaged
from staging.changes import Attributes, Create, Kind
from staging.frame_format import seal_frame
from staging.protocol import Open

PLAIN = Attributes(0o644, 0, 0, 0)


def open_vault(folder: Path) -> Vault:
    for part in ("journal", "packs", "db"):
        (folder / part).mkdir(exist_ok=True)
    counter = itertools.count()
    return Vault(Root(folder, bytes(16)), SystemClock(), lambda size: next(counter).to_bytes(size, "big"))


def send(vault: Vault, name: str, frames: int, count: int = 1) -> None:
    opened = vault.register(name, name.encode().ljust(16)[:16])
    session = opened.receiver.open(Open(opened.receiver.share_id, 1)).session
    for _ in range(frames):
        position = opened.journal.position
        first = position.sequence + 1
        paths = [b"f%d" % (first + n) for n in range(count)]
        changes = [Create(n, Kind.FILE, PLAIN) for n in range(count)]
        opened.receiver.frames(session, seal_frame(opened.receiver.share_id, 1, first, position.hash, paths, changes))


def until_folded(vault: Vault, seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while any(share.fold.sequence < share.journal.durable.sequence for share in vault.opened()):
        assert time.monotonic() < ends, "not folded in time"
        threading.Event().wait(0.01)


def test_a_branch_makes_no_more_shares_than_one_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_module, "MAX_SHARES", 3)  # a real number of them takes seconds
    vault = open_vault(tmp_path)
    for number in range(3):
        send(vault, f"leeds/data{number}", 1)
    with pytest.raises(TooManyShares, match="branch leeds has 3 shares"):
        send(vault, "leeds/data3", 1)
    send(vault, "leeds/data0", 1)
    send(vault, "york/data", 1)
    vault.close()
    again = open_vault(tmp_path)
    send(again, "leeds/data1", 1)
    with pytest.raises(TooManyShares):
        send(again, "leeds/data3", 1)
    assert again.names() == ["leeds/data0", "leeds/data1", "leeds/data2", "york/data"]
    assert again.remove("leeds/data2", lambda: True)
    send(again, "leeds/data3", 1)
    again.close()


class FullDisk(Ballast):
    """A disk on which nothing but the reserve is free."""

    def has_room(self, more_bytes: int = 0) -> bool:
        return False


def test_a_disk_that_is_almost_full_takes_no_new_share_and_opens_the_old_ones(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    send(vault, "leeds/data", 1)
    worker = ShareWorker("fold", list, lambda name: False)
    desk = IntakeDesk(vault, worker, _unasked(), _unasked(), FullDisk([], 0, 0), Mending(vault.store, SystemClock()))
    opening = b'{"share_id":"%s","epoch":1}' % base64.b64encode(b"leeds/data".ljust(16))
    with pytest.raises(NoSpace):
        desk.open("leeds", "new", opening)
    desk.open("leeds", "data", opening)
    assert vault.names() == ["leeds/data"] and not (tmp_path / "journal" / "leeds" / "new").exists()
    vault.close()


def _unasked() -> Any:
    """Return what stands for a part that opening a share does not ask."""
    return None


def test_shares_are_found_again_and_unknown_ones_refused(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    send(vault, "leeds/data", 1)
    send(vault, "york/data", 1)
    vault.close()
    again = open_vault(tmp_path)
    assert again.names() == ["leeds/data", "york/data"]
    assert again.share("leeds/data").journal.position.sequence == 1
    with pytest.raises(ShareNotFound):
        again.share("leeds/other")
    again.close()


def test_the_worker_folds_all_shares_and_goes_on_after_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vault = open_vault(tmp_path)
    for name in ("leeds/data", "york/data", "hull/data"):
        send(vault, name, 30, 10)
        vault.share(name).fold.fold(50)
    vault.close()
    monkeypatch.setattr(share_fold.ShareFold.fold, "__defaults__", (20,))  # less than what is folded already
    again = open_vault(tmp_path)
    worker = ShareWorker("fold", again.names, fold_step(again))
    worker.start()
    until_folded_when_opened(again)
    assert {share.name: share.fold.totals[0] for share in again.opened()} == dict.fromkeys(again.names(), 300)
    worker.stop()
    again.close()


def until_folded_when_opened(vault: Vault) -> None:
    for name in vault.names():
        vault.share(name)
    until_folded(vault)


@pytest.mark.parametrize(
    ("error", "told"), [(Damaged("the pack is gone"), "the pack is gone"), (RuntimeError("a defect"), "RuntimeError: a defect")]
)
def test_a_share_that_cannot_be_folded_is_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    vault = open_vault(tmp_path)
    send(vault, "leeds/data", 1)
    send(vault, "york/data", 1)
    broken = vault.share("leeds/data").fold
    original = share_fold.ShareFold.fold

    def fold(self: share_fold.ShareFold, limit: int = 1000) -> int:
        if self is broken:
            raise error
        return original(self, limit)

    monkeypatch.setattr(share_fold.ShareFold, "fold", fold)
    worker = ShareWorker("fold", vault.names, fold_step(vault))
    worker.start()
    while "leeds/data" not in worker.failures or vault.share("york/data").fold.sequence == 0:
        threading.Event().wait(0.01)
    assert worker.failures == {"leeds/data": told}
    worker.stop()
    vault.close()


def test_making_a_catalogue_again_takes_nothing_of_a_share_with_a_like_name(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    like = "leeds/data.db.rebuilt-x"
    for name in ("leeds/data", like):
        send(vault, name, 1)
        vault.share(name).fold.fold_all()
        vault.share(name).fold.take_snapshot("", "command", 7)
        vault.share(name).sealer.seal()
    vault.close()
    folder = tmp_path / "db" / "shares" / "leeds"
    for path in folder.glob("data.db"):
        path.unlink()
    (folder / "data.db.rebuilt").write_bytes(b"what an interrupted rebuild left")
    kept = (folder / "data.db.rebuilt-x.db").stat().st_ino
    again = open_vault(tmp_path)
    assert again.share("leeds/data").fold.totals[0] == 1
    assert (folder / "data.db.rebuilt-x.db").stat().st_ino == kept
    assert not (folder / "data.db.rebuilt").exists()
    again.close()


def test_a_lost_catalogue_is_made_again_from_journal_and_packs(tmp_path: Path) -> None:
    vault = open_vault(tmp_path)
    send(vault, "leeds/data", 2, 5)
    share = vault.share("leeds/data")
    taken = share.fold.take_snapshot("kept", "command", 7)
    send(vault, "leeds/data", 1, 5)
    share.fold.fold_all()
    before = [path for path, _ in share.reader.view(taken.sequence).walk(b"")]  # type: ignore[arg-type]
    vault.close()
    for path in (tmp_path / "db").rglob("*.db*"):
        path.unlink()
    again = open_vault(tmp_path)
    share = again.share("leeds/data")
    share.fold.fold_all()
    shown = share.reader.ledger.snapshots()
    assert [(row.id, row.sequence, row.taken_ns, row.label) for row in shown] == [(taken.id, taken.sequence, 7, "kept")]
    assert [path for path, _ in share.reader.view(taken.sequence).walk(b"")] == before  # type: ignore[arg-type]
    assert share.fold.totals[0] == 15
    assert share.fold.state[0] == "mirroring"
    again.close()


@pytest.mark.parametrize("damaged", ["journal", "catalogue"])
def test_a_share_that_cannot_be_opened_takes_no_descriptor_with_each_attempt(tmp_path: Path, damaged: str) -> None:
    vault = open_vault(tmp_path)
    send(vault, "leeds/data", 1, 3)
    vault.share("leeds/data").fold.fold_all()
    vault.close()
    path = next((tmp_path / "journal").rglob("*.skj")) if damaged == "journal" else tmp_path / "db/shares/leeds/data.db"
    data = bytearray(path.read_bytes())
    data[150] ^= 1  # in the first frame: later ones say that it was durable
    path.write_bytes(data if damaged == "journal" else b"no database" * 1000)
    vault = open_vault(tmp_path)
    gc.disable()  # nobody tidies up by chance
    try:
        before = os.listdir("/proc/self/fd")
        for _ in range(5):
            with pytest.raises(Damaged):
                vault.share("leeds/data")
        assert len(os.listdir("/proc/self/fd")) <= len(before) + 1
    finally:
        gc.enable()
    vault.close()
