"""A share whose catalogue is gone: nothing that it holds is told to be absent."""

import os
from pathlib import Path

import pytest

from appliance.audit import AuditLog
from appliance.ballast import Ballast
from appliance.rights import Rights
from appliance.root import Root, open_root
from appliance.share_desk import ShareDesk
from appliance.share_worker import ShareWorker
from appliance.vault import Vault
from core.clock import SystemClock
from tests.appliance.program import SHARE, Program, fill
from web.operations import Actor


@pytest.fixture
def program(root: Root) -> Program:
    """A share with a file and a snapshot (number 2), of which only journal and packs are left."""
    fill(root.path, {b"plan": b"the plan"})
    lose_catalogues(root)
    return Program(root.path)


def lose_catalogues(root: Root) -> None:
    lost = list((root.path / "db" / "shares").rglob("*.db*"))
    for path in lost:
        path.unlink()
    assert lost


def test_the_command_line_tells_of_snapshots_before_anything_was_folded(program: Program) -> None:
    assert [row["label"] for row in program.json("snapshot", "list", SHARE)["snapshots"]] == ["filled"]


@pytest.mark.parametrize("words", [("share", "list"), ("share", "status", SHARE)])
def test_the_command_line_tells_how_a_share_is_before_anything_was_folded(program: Program, words: tuple[str, ...]) -> None:
    found = program.json(*words)
    row = found["shares"][0] if "shares" in found else found
    assert (row["files"], row["folded_sequence"], row["lag_seconds"]) == (1, row["durable_sequence"], 0.0)
    assert row["last_snapshot_at"]


def test_the_command_line_reads_a_snapshot_before_anything_was_folded(program: Program) -> None:
    done = program.run("cat", f"{SHARE}@2", "plan")
    assert (done.returncode, done.stdout) == (0, b"the plan"), done


def test_the_command_line_exports_and_restores_a_snapshot_before_anything_was_folded(program: Program, tmp_path: Path) -> None:
    assert program.run("restore", f"{SHARE}@2", "--to", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back" / "plan").read_bytes() == b"the plan"
    lose_catalogues(open_root(program.root))
    assert program.run("export", "run", f"{SHARE}@2", "--to", str(tmp_path)).returncode == 0


def test_others_are_told_that_changes_are_still_to_be_read(program: Program, audit: AuditLog) -> None:
    vault = Vault(open_root(program.root), SystemClock(), os.urandom)
    desk = ShareDesk(vault, ShareWorker("fold", list, lambda name: False), Rights(lambda account: []), audit, Ballast([], 0, 0))
    told = desk.share_status(Actor("admin", "admin"), SHARE)
    assert told.folded_sequence == 0 and told.reason.startswith(f"{told.durable_sequence} changes are read in first")
    assert desk.share_status(Actor("root", "owner"), SHARE).reason == "the first copy is being laid"
    vault.close()
