"""The agent dies anywhere; run again, it converges, and nothing that was acknowledged is lost or taken back."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from random import Random

import pytest

from tests.branch.crash_child import ENDED, NOT_REACHED
from tests.branch.edits import Editor
from tests.branch.rig import REPOSITORY, Rig


class Children:
    """Agents that die at a chosen operation."""

    def __init__(self, rig: Rig) -> None:
        command = [sys.executable, "-m", "tests.branch.crash_child", str(rig.state.path)]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True)

    def run(self, at: int, fault: str) -> int:
        assert self._process.stdin and self._process.stdout
        print(at, fault, file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def children(rig: Rig) -> Iterator[Children]:
    made = Children(rig)
    yield made
    made.close()


def check_ledger(rig: Rig) -> None:
    """What the agent holds for acknowledged is durable, and what is durable fits together."""
    if (rig.target.directory / "data.id").exists():
        assert rig.acknowledged() <= rig.target.durable()
        rig.replay.take_all(rig.target)


@pytest.mark.parametrize("fault", ["kill", "kill_after", "torn"])
def test_death_at_every_durable_operation(rig: Rig, children: Children, fault: str) -> None:
    rig.protect()
    editor, endings = Editor(rig.tree, Random(11)), []
    for at in range(1, 16):  # one more than a run has
        editor.edit(4)
        endings.append(children.run(at, fault))
        check_ledger(rig)
        editor.edit(2)
        rig.once()
        rig.check()
        check_ledger(rig)
    assert set(endings) == {ENDED, NOT_REACHED} and endings[-1] == NOT_REACHED


def test_death_at_every_durable_operation_of_a_baseline(rig: Rig, children: Children) -> None:
    editor = Editor(rig.tree, Random(12))
    editor.edit(60)
    rig.protect()
    ended, at = ENDED, 0
    while ended != NOT_REACHED:  # nothing is done in between: each continues where the last one died
        at += 1
        ended = children.run(at, "kill")
        check_ledger(rig)
    rig.once()
    rig.check()
    assert [entry for entry in rig.replay.log if entry.startswith("mirror")][-1] == "mirror False"


def test_death_at_every_durable_operation_while_the_appliance_is_away(rig: Rig, children: Children) -> None:
    rig.protect()
    rig.once()
    editor, port = Editor(rig.tree, Random(13)), rig.target.port
    for at in range(1, 12):
        rig.target.stop()
        editor.edit(4)
        threading.Timer(0.3, rig.target.start).start()
        assert children.run(at, "kill") in (ENDED, NOT_REACHED)
        while rig.target._server is None:
            threading.Event().wait(0.01)
        rig.once()
        rig.check()
    assert rig.target.port == port


def test_sigkill_of_the_running_agent_at_any_moment(rig: Rig) -> None:
    rig.protect()
    (rig.state.path / "settings.toml").write_text("settle_seconds = 0.02\nsettle_limit_seconds = 0.05\n")
    random = Random(14)
    editor = Editor(rig.tree, random)
    for _ in range(5):
        editor.edit(20)
        process = rig.process("run")
        for _ in range(25):
            editor.edit(2)
            threading.Event().wait(random.uniform(0.01, 0.05))
        process.kill()
        process.communicate()
        check_ledger(rig)
    rig.once()
    rig.check()


def test_a_clean_stop_keeps_what_was_found(rig: Rig) -> None:
    (rig.tree / "file").write_bytes(os.urandom(100_000))
    rig.protect()
    process = rig.process("run")
    while not (rig.target.directory / "data.id").exists() or not rig.target.durable():
        assert process.poll() is None
        threading.Event().wait(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, b"")
    rig.check()
