"""Marks with the installed commands: the snapshot is there when `mark` returns, and a database comes back from it."""

import json
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from branch.hooks import Hooks
from tests.end_to_end.postgres import Postgres
from tests.end_to_end.rig import BIN, Rig, run, until
from tests.faults.loop_disk import loop_disk

PAGE = (Path(__file__).parents[2] / "docs" / "consistency.md").read_text()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Another user than root comes to what lies in this folder; pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="stagekeeper-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@contextmanager
def serving(folder: Path) -> Iterator[Rig]:
    rig = Rig(folder)
    rig.init()
    rig.serve()
    rig.enroll()
    try:
        yield rig
    finally:
        rig.close()


def mark(rig: Rig, *options: str) -> dict[str, object]:
    words = [str(BIN / "stagekeeper-agent"), "mark", "nightly", *options, "--state", str(rig.state), "--json"]
    answer: dict[str, object] = run(words).json
    return answer


def hooks_of_page(share: str, replaced: dict[str, str]) -> str:
    """Return the section of a share in docs/consistency.md, with other words for some of its own."""
    (block,) = re.findall(rf"^```toml\n(\[{share}\]\n.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for word, other in replaced.items():
        assert word in block, word
        block = block.replace(word, other)
    return block.replace(f"[{share}]", "[data]")


@pytest.mark.parametrize("is_running", [False, True], ids=["alone", "beside an agent"])
def test_a_mark_returns_when_the_snapshot_can_be_read(tmp_path: Path, is_running: bool) -> None:
    with serving(tmp_path) as rig:
        if is_running:
            rig.start_agent()
            until(lambda: rig.appliance("share", "list").json["shares"])
        (rig.state / "hooks.toml").write_text('[data]\nbefore = [["true"]]\n')
        (rig.share / "file").write_text("as marked")
        marked = mark(rig, "--level", "application")
        (rig.share / "file").write_text("later")
        assert rig.appliance("cat", f"leeds/data@{marked['id']}", "file").out == b"as marked"
        (listed,) = rig.appliance("snapshot", "list", "leeds/data").json["snapshots"]
        assert marked == {**listed, "not_applied": []}
        told = {name: listed[name] for name in ("label", "trigger", "consistency", "state")}
        assert told == {"label": "nightly", "trigger": "barrier", "consistency": "application", "state": "ready"}


def test_a_database_under_load_comes_back_from_a_frozen_look_with_all_that_it_had_confirmed(open_folder: Path) -> None:
    with loop_disk(open_folder, 200) as disk, serving(open_folder) as rig:
        postgres = Postgres(disk.folder / "data", open_folder / "sockets")
        postgres.make()
        postgres.start()
        rig.agent("unprotect", "data")
        rig.agent("protect", str(disk.folder), "--as", "database")
        words = {
            '"psql"': ", ".join(json.dumps(word) for word in postgres.client[:3]),
            "/srv/database": str(disk.folder),
        }
        text = hooks_of_page("database", words).replace("[data]", "[database]")
        (rig.state / "hooks.toml").write_text(text)
        postgres.query("CREATE TABLE sale(number bigint PRIMARY KEY, text text)")
        confirmed, stop = [0], threading.Event()

        def sell() -> None:
            while not stop.is_set():
                postgres.query(f"INSERT INTO sale SELECT {confirmed[0]} + n, repeat('x', 200) FROM generate_series(1, 50) n")
                confirmed[0] += 50

        seller = threading.Thread(target=sell)
        seller.start()
        try:
            until(lambda: confirmed[0] > 200)
            before = confirmed[0]
            marked = mark(rig, "--level", "application")
        finally:
            stop.set()
            seller.join()
            postgres.stop()
        assert (marked["consistency"], marked["not_applied"]) == ("application", [])
        target = disk.folder / "restored"
        rig.appliance("restore", f"leeds/database@{marked['id']}", "--to", str(target))
        (target / "data" / "postmaster.pid").unlink()
        again = Postgres(target / "data", open_folder / "sockets")
        again.start()
        try:
            count, highest = again.query("SELECT count(*), max(number) FROM sale").split("|")
            assert int(count) == int(highest) >= before
            again.query("REINDEX DATABASE postgres")
        finally:
            again.stop()


def test_a_dump_is_in_the_snapshot_whole(open_folder: Path) -> None:
    database = open_folder / "database"
    database.mkdir()
    postgres = Postgres(database / "data", open_folder / "sockets")
    postgres.make()
    postgres.start()
    try:
        with serving(open_folder) as rig:
            postgres.query("CREATE DATABASE shop")
            words = {"--username=postgres": f'--username=postgres", "--host={postgres.sockets}', "/srv/dumps": str(rig.share)}
            (rig.state / "hooks.toml").write_text(hooks_of_page("dumps", words))
            marked = mark(rig, "--level", "application")
            dump = open_folder / "dump"
            dump.write_bytes(rig.appliance("cat", f"leeds/data@{marked['id']}", "shop.dump").out)
            assert marked["consistency"] == "application"
            subprocess.run(["pg_restore", "--list", str(dump)], check=True, capture_output=True)
    finally:
        postgres.stop()
        shutil.rmtree(database)


def test_the_page_shows_hooks_that_can_be_read_and_its_defaults() -> None:
    sections = [msgspec.toml.decode(block, type=dict[str, Hooks]) for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)]
    assert len(sections) == 3
    shown = sections[0]["finance"]
    assert (shown.before_seconds, shown.hold_seconds, shown.after_seconds) == (
        Hooks().before_seconds, Hooks().hold_seconds, Hooks().after_seconds,
    )  # fmt: skip
