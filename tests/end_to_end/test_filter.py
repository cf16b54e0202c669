"""The filter capture with real programs on its mount."""

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.end_to_end.filter_rig import FilterRig, needs_fuse
from tests.end_to_end.rig import BIN, until
from tests.tree_compare import differences

pytestmark = needs_fuse


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[FilterRig]:
    made = FilterRig(tmp_path)
    yield made
    made.close()


def test_everything_that_programs_do_can_be_restored(rig: FilterRig) -> None:
    rig.begin()
    (rig.share / "before").mkdir()
    (rig.share / "before" / "file").write_bytes(os.urandom(300_000))
    rig.capture()
    script = """
    echo one > a; echo two >> a; mkdir d d/e; mv a d/b; ln d/b c; ln -s c s; mkfifo f; mknod n c 1 3
    cp before/file copy; mv copy before/file; chmod 640 c; chown 12:34 d; touch -d 2001-02-03 d/e
    setfattr -n user.colour -v red c; setfacl -m u:12:rwx d; truncate -s 1M big; truncate -s 10 before/file
    ln c c2; rm c; mv -T d/e e; mkdir gone; rmdir gone; : > empty; python3 -c "
import os
fd = os.open('unlinked', os.O_RDWR | os.O_CREAT); os.unlink('unlinked'); os.write(fd, b'x' * 9000); os.close(fd)
os.mkdir(b'\\\\xff'); os.symlink(b'\\\\xfe', b'\\\\xff/l')"
    """
    subprocess.run(["sh", "-euc", script], cwd=rig.share, check=True)
    rig.check()


def test_sqlite_survives_the_kill_of_its_writer_and_is_whole_when_restored(rig: FilterRig) -> None:
    rig.begin()
    rig.capture()
    script = """
import sqlite3, itertools
db = sqlite3.connect("t.db", isolation_level=None)
db.execute("PRAGMA journal_mode=WAL")
db.execute("CREATE TABLE IF NOT EXISTS t(a INTEGER PRIMARY KEY, b BLOB)")
for number in itertools.count():
    with db:
        db.execute("BEGIN")
        db.execute("INSERT INTO t(b) VALUES (randomblob(300))")
        db.execute("UPDATE t SET b = randomblob(200) WHERE a = 1 + abs(random()) % (SELECT max(a) FROM t)")
    print(number, flush=True)
"""
    for _ in range(2):
        writer = subprocess.Popen([sys.executable, "-c", script], cwd=rig.share, stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < 150:
            pass
        writer.kill()
        writer.wait()
        assert _sqlite(rig.share / "t.db", "PRAGMA integrity_check") == "ok"
    rows = _sqlite(rig.share / "t.db", "SELECT count(*) FROM t")
    rig.check()
    assert _sqlite(rig.folder / "restored" / "t.db", "PRAGMA integrity_check") == "ok"
    assert _sqlite(rig.folder / "restored" / "t.db", "SELECT count(*) FROM t") == rows


def test_a_clone_and_an_unpacked_archive_are_restored_byte_by_byte(rig: FilterRig) -> None:
    rig.begin()
    rig.capture()
    source = rig.folder / "source"
    for folder in range(60):
        (source / f"folder-{folder}").mkdir(parents=True)
        for number in range(50):
            (source / f"folder-{folder}" / f"file-{number}").write_bytes(os.urandom(folder * 37 + number * 11))
    os.link(source / "folder-1" / "file-1", source / "folder-2" / "link")
    subprocess.run(["tar", "--format=pax", "-cf", rig.folder / "a.tar", "-C", source, "."], check=True)
    (rig.share / "unpacked").mkdir()
    subprocess.run(["tar", "-xpf", rig.folder / "a.tar", "-C", rig.share / "unpacked"], check=True)
    assert differences(source, rig.share / "unpacked") == []
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    git = ["git", "-C", rig.share / "unpacked", *identity]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "all"], check=True)
    subprocess.run(["git", "clone", "-q", "--no-local", rig.share / "unpacked", rig.share / "clone"], check=True)
    for place in (rig.share / "clone", rig.share / "unpacked"):
        subprocess.run(["git", "-C", place, "fsck", "--strict"], check=True, capture_output=True)
    rig.check()
    subprocess.run(["git", "-C", rig.folder / "restored" / "clone", "fsck", "--strict"], check=True, capture_output=True)


def test_random_reads_writes_and_mappings_agree_with_a_model(rig: FilterRig) -> None:
    rig.begin()
    rig.capture()
    program = Path(__file__).with_name("random_io.py")
    for seed in (1, 2, 3):
        subprocess.run([sys.executable, program, rig.share / f"file-{seed}", str(seed), "1500"], check=True, timeout=120)
    rig.check()


def test_a_kill_of_the_agent_in_the_middle_of_work_loses_nothing(rig: FilterRig) -> None:
    rig.begin()
    for number in range(3):
        rig.capture()
        work = f"i=0; while echo $i > f-{number}-$i && mv f-{number}-$i g-$((i % 50)); do i=$((i + 1)); done"
        program = subprocess.Popen(["sh", "-c", work], cwd=rig.share, stderr=subprocess.DEVNULL)
        until(lambda n=number: (rig.share / "g-49").exists())
        rig.stop_agent(9)
        program.wait(30)
        subprocess.run([BIN / "stagekeeper-agent", "release", "--state", rig.state], check=True, capture_output=True)
        (rig.share / "past").write_bytes(os.urandom(100))
    rig.capture()
    rig.check()


def _sqlite(path: Path, question: str) -> str:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return str(database.execute(question).fetchone()[0])
