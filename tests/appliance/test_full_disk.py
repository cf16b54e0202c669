"""A disk with no byte left, for real: a small tmpfs that is filled. Reading and deleting go on, new data waits."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.appliance.conftest import PASSWORD
from tests.appliance.program import SHARE, Program, fill
from tests.appliance.test_serve import get, https
from tests.faults.loop_disk import unmount

FILES = {b"Budget.txt": b"a budget\n", b"2026/Plan.txt": b"a plan\n"}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("A FULL DISK IS NOT TESTED HERE: only root can mount a tmpfs")
    folder = tmp_path / "small"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "none", str(folder)], capture_output=True)
    if done.returncode:
        pytest.fail(f"A FULL DISK IS NOT TESTED HERE: root cannot mount a tmpfs ({done.stderr.decode().strip()})")
    yield folder
    unmount(folder)


@pytest.fixture
def program(small: Path, tmp_path: Path) -> Program:
    (tmp_path / "password").write_text(PASSWORD)
    made = Program(small / "root")
    assert made.run("init", "--admin-password-file", str(tmp_path / "password")).returncode == 0
    fill(made.root, FILES)
    assert made.run("ls", SHARE).returncode == 0
    return made


def fill_disk(folder: Path) -> None:
    """Write until nothing more goes in, the last byte of the last page included."""
    with (folder / "fill").open("ab", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(4096))


def newest(program: Program) -> str:
    return str(program.json("snapshot", "list", SHARE)["snapshots"][-1]["id"])


def test_on_a_full_disk_everything_can_be_read(program: Program, small: Path, tmp_path: Path) -> None:
    fill_disk(small)
    for words in (["ls", f"{SHARE}@latest"], ["snapshot", "list", SHARE], ["share", "list"], ["versions", SHARE, "Budget.txt"]):
        program.json(*words)
    assert program.json("restore", f"{SHARE}@latest", "--to", str(tmp_path / "back"))["files"] == 2
    assert (tmp_path / "back" / "2026" / "Plan.txt").read_bytes() == b"a plan\n"
    assert program.run("cat", SHARE, "Budget.txt").stdout == b"a budget\n"
    for words in (["stats"], ["audit", "verify"], ["user", "list"]):
        program.json(*words)
    archive = program.run("export", "run", f"{SHARE}@latest", "--to", "-")
    assert (archive.returncode, archive.stderr) == (0, b"") and b"a plan\n" in archive.stdout


def test_on_a_full_disk_snapshots_can_be_deleted_and_pruned(program: Program, small: Path) -> None:
    fill_disk(small)
    program.json("snapshot", "delete", SHARE, newest(program))
    assert program.json("prune", SHARE)["decisions"] is not None
    assert {row["state"] for row in program.json("snapshot", "list", SHARE)["snapshots"]} == {"deleted"}


def test_a_full_disk_is_told_and_forgotten_when_there_is_room_again(program: Program, small: Path) -> None:
    before = program.json("stats")["ballast_bytes"]
    fill_disk(small)
    assert (program.json("stats")["ballast_bytes"], before > 2_000_000) == (0, True)
    (small / "fill").unlink()
    assert program.json("stats")["ballast_bytes"] == before


def test_serving_begins_on_a_full_disk_answers_people_and_ends_with_0(program: Program, small: Path) -> None:
    fill_disk(small)
    with program.serving() as serving:
        status, reasons = get(program, serving.port, "/readyz")
        assert status == 503 and b"full" in reasons and b"/" not in reasons
        program.json("ls", f"{SHARE}@latest")
        token = program.json("user", "token", "admin", "--scope", "all")["token"]
        assert get(program, serving.port, "/api/v1/shares", Authorization=f"Bearer {token}")[0] == 200


def test_a_disk_that_fills_while_serving_ends_neither_reading_nor_the_service(program: Program, small: Path) -> None:
    with program.serving():
        program.json("ls", f"{SHARE}@latest")
        fill_disk(small)
        program.json("stats")
        assert program.run("export", "run", f"{SHARE}@latest", "--to", "-").returncode == 0
        program.json("snapshot", "delete", SHARE, newest(program))
        fill_disk(small)  # whoever filled the disk takes the ballast too: the service still ends well


def test_new_data_waits_before_the_disk_is_really_full(program: Program, small: Path) -> None:
    with program.serving() as serving:
        code = program.json("branch", "add", "leeds")["code"]
        connection = https(program, serving.port)
        connection.request("POST", "/intake/v1/enroll", msgspec.json.encode({"token": code.split(".")[0]}))
        token = msgspec.json.decode(connection.getresponse().read())["token"]
        free = program.json("stats")["free_bytes"]
        with (small / "fill").open("wb") as file:
            file.write(bytes(free - 3_000_000))
        headers = {"Authorization": f"Bearer {token}", "X-Stagekeeper-Session": "x"}
        for place in ("frames", "chunks"):
            connection.request("POST", f"/intake/v1/shares/finance/{place}", b"x" * 100, headers)
            answer = connection.getresponse()
            error = msgspec.json.decode(answer.read())["error"]
            assert (answer.status, error["type"]) == (503, "disk_almost_full") and "/" not in error["message"]
            assert error["message"].startswith("the appliance's disk is almost full")
    assert program.json("stats")["ballast_bytes"] > 0
