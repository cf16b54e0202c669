"""`stagekeeper rebuild`: with every database of the store lost or damaged, packs and journals give all of it back."""

import shutil
from pathlib import Path

import pytest

from appliance.rebuilding import rebuild
from appliance.root import Root
from core.durable import OsFileLayer
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
