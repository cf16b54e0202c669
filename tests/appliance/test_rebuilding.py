"""`stagekeeper rebuild`: with every database of the store lost or damaged, packs and journals give all of it back."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import appliance.vault as vault_module
from appliance.rebuilding import Recovery, rebuild
from appliance.recovery_key import read_recovery_key
from appliance.root import Root
from core.database import OperationalError
from core.durable import OsFileLayer
from snapshots.rebuild import rebuild_catalogue
from tests.appliance.program import SHARE, Program, fill
from tests.faulty_files import FaultyFiles, Killed


@pytest.fixture
def program(root: Root) -> Program:
    fill(root.path, {b"a": b"one", b"d/b": b"two" * 100_000})
    return Program(root.path)


def shown(program: Program) -> dict[str, object]:
    snapshots = program.json("snapshot", "list", SHARE)["snapshots"]
    listed = {row["id"]: program.json("ls", f"{SHARE}@{row['id']}")["entries"] for row in snapshots}
    return {"snapshots": snapshots, "listed": listed, "b": program.run("cat", SHARE, "d/b").stdout}


def test_lost_databases_are_made_again(program: Program, tmp_path: Path) -> None:
    taken = program.json("snapshot", "create", SHARE, "--label", "mine")
    program.json("snapshot", "hold", SHARE, str(taken["id"]), "--reason", "why")
    before = shown(program)
    (program.root / "db" / "index.db").write_bytes(b"this was an index once")
    for path in (program.root / "db" / "shares").rglob("*.db*"):
        path.unlink()
    report = program.json("rebuild")
    assert [(row["share"], row["files"], row["error"]) for row in report["shares"]] == [(SHARE, 2, None)]
    assert report["chunks"] > 0 and report["packs"] == 1
    assert shown(program) == before
    assert Path(report["aside"], "index.db").read_bytes() == b"this was an index once"


def test_a_lost_folder_of_databases_is_made_again(program: Program) -> None:
    before = shown(program)["listed"]
    accounts = program.root / "db" / "appliance.db"
    kept = accounts.read_bytes()
    shutil.rmtree(program.root / "db")
    assert program.run("ls", SHARE).returncode == 7, "a missing part is taken for a missing mount"
    assert program.run("rebuild").returncode == 0
    accounts.write_bytes(kept)
    assert shown(program)["listed"] == before


def test_nothing_is_rebuilt_while_the_appliance_serves(program: Program) -> None:
    with program.serving():
        refused = program.run("rebuild", "--json")
        assert (refused.returncode, b"lock" in refused.stderr) == (7, True), refused


def test_a_share_that_cannot_be_made_again_is_named_and_the_others_are_made(program: Program) -> None:
    (journal,) = (program.root / "journal" / "leeds" / "finance").glob("*.skj")
    data = bytearray(journal.read_bytes())
    data[len(data) // 2] ^= 1
    other = program.root / "journal" / "leeds" / "other"
    shutil.copytree(journal.parent, other)
    journal.write_bytes(data)
    done = program.run("rebuild", "--json")
    assert done.returncode == 6
    assert b'"share":"leeds/finance"' in done.stdout and b"damaged" in done.stdout
    assert b'"share":"leeds/other","folded_sequence":' in done.stdout


@pytest.mark.parametrize(
    "refusal", [OSError(5, "Input/output error"), OperationalError("Input/output error")], ids=["file", "sqlite"]
)
def test_a_share_that_the_disk_refuses_is_named_and_the_others_are_made(
    program: Program, monkeypatch: pytest.MonkeyPatch, refusal: Exception
) -> None:
    before = shown(program)
    finance = program.root / "journal" / "leeds" / "finance"
    shutil.copytree(finance, program.root / "journal" / "leeds" / "other")

    def refusing(path: Path, *arguments: Any, **named: Any) -> int:
        if path.name == "finance.db":
            raise refusal
        return rebuild_catalogue(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(vault_module, "rebuild_catalogue", refusing)
        report = rebuild(program.root, lambda step: None)
    rows = {row.share: row for row in report.shares}
    assert "Input/output error" in str(rows["leeds/finance"].error) and rows["leeds/other"].error is None
    assert rows["leeds/other"].files == 2
    assert shown(program) == before, "what is missing is made again when it is next asked for"


@pytest.mark.long
@pytest.mark.in_memory
def test_a_rebuild_with_the_recovery_key_that_is_cut_off_anywhere_goes_on(program: Program, tmp_path: Path) -> None:
    key = read_recovery_key(program.json("recovery-key", "new")["recovery_key"])
    program.json("user", "add", "anna", "--role", "operator")
    program.json("backup", "run")
    before, accounts = shown(program), program.json("user", "list")
    for lost in ("db", "tls", "secrets"):
        shutil.rmtree(program.root / lost, ignore_errors=True)
    at, whole = 0, tmp_path / "lost"
    shutil.copytree(program.root, whole)
    while True:
        at += 1
        shutil.rmtree(program.root)
        shutil.copytree(whole, program.root)
        try:
            rebuild(program.root, lambda step: None, Recovery(key), files=FaultyFiles(at, "kill"))
            break
        except Killed:
            report = rebuild(program.root, lambda step: None, Recovery(key))
        assert report.accounts and not [row for row in report.shares if row.error], at
        assert not (program.root / "db" / "rebuilding").exists()
        if at % 8 == 1:
            assert (shown(program), program.json("user", "list")) == (before, accounts), at
    assert at > 20


def test_a_rebuild_that_is_cut_off_goes_on(program: Program) -> None:
    before = shown(program)
    for at in range(1, 40):
        files = FaultyFiles(at, "kill")
        try:
            rebuild(program.root, lambda step: None, files=files)
        except Killed:
            continue
        break
    else:
        raise AssertionError("the sweep never came to the end of a rebuild")
    assert at > 5
    rebuild(program.root, lambda step: None, files=OsFileLayer())
    assert shown(program) == before


class KilledWhileMoving(FaultyFiles):
    def rename(self, source: Path, target: Path) -> None:
        super().rename(source, target)
        if source.name == "index.db":
            raise Killed


def test_nothing_opens_databases_of_which_a_rebuild_has_moved_only_some(program: Program) -> None:
    with pytest.raises(Killed):
        rebuild(program.root, lambda step: None, files=KilledWhileMoving())
    refused = program.run("ls", SHARE, "--json")
    assert refused.returncode == 7 and b"rebuild_unfinished" in refused.stderr
    aside = Path(program.json("rebuild")["aside"])
    assert {path.name for path in aside.rglob("*.db")} == {"index.db", "finance.db"}
    assert program.run("cat", SHARE, "a").stdout == b"one"


def test_verify_seal_tells_of_a_sound_and_of_a_changed_catalogue(program: Program) -> None:
    assert program.run("verify-seal", SHARE).returncode == 3, "nothing is sealed while nothing serves"
    with program.serving():
        program.json("snapshot", "create", SHARE)
        for _ in range(200):
            found = program.run("verify-seal", SHARE, "--json")
            if found.returncode != 3:
                break
        assert found.returncode == 0, found
    assert b'"equal":true' in found.stdout
