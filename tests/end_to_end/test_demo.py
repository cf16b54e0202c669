"""`stagekeeper demo` as a newcomer runs it: made, continued, ended with Ctrl-C."""

import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.rig import BIN, run, until


def demo_words(folder: Path, *more: str) -> list[str]:
    return [str(BIN / "stagekeeper"), "demo", "--dir", str(folder), *more]


def test_the_demo_is_made_then_continued_and_ended(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    made = run(demo_words(folder, "--exit", "--json"), cwd=tmp_path).json
    assert made["url"].startswith("https://127.0.0.1:") and made["account"] == "admin"
    assert made["export"]["verified"] is True
    assert (folder / "admin-password").stat().st_mode & 0o777 == 0o600
    assert (folder / "recovery-key").stat().st_mode & 0o777 == 0o600
    assert len((folder / "recovery-key").read_text().strip().split("-")) == 14
    assert sum(len(files) for _, _, files in os.walk(folder / "documents")) >= 2000
    (cartridge,) = made["export"]["cartridges"]
    listed = run(["tar", "-tf", cartridge["path"]], stdin=subprocess.DEVNULL).out
    assert b"leeds/documents/finance/2026/Budget 2026.csv" in listed
    _continue_and_interrupt(folder, tmp_path, made["password"])
    root = ["--root", str(folder / "appliance"), "--json"]
    snapshots = run([str(BIN / "stagekeeper"), "snapshot", "list", "leeds/documents", *root]).json["snapshots"]
    assert [row["label"] for row in snapshots] == ["the first copy", "07:00", "12:00", "17:30", "another round"]
    schedules = run([str(BIN / "stagekeeper"), "schedule", "list", *root]).json["schedules"]
    assert sorted(row["action"] for row in schedules) == ["backup", "collect", "export", "scrub", "snapshot"]


def test_a_demo_that_is_interrupted_in_its_making_leaves_nothing_behind_and_is_made_by_the_next_run(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert _interrupt_when(folder, lambda: (folder / "agent").is_dir()) == 130
    assert run(demo_words(folder, "--exit", "--json"), cwd=tmp_path).json["export"]["verified"] is True


@pytest.mark.long
def test_a_demo_may_be_interrupted_at_any_moment(tmp_path: Path) -> None:
    """At its start, behind each line that it tells of its progress, and a little later than that."""
    told = run(demo_words(tmp_path / "whole", "--exit", "--json"), cwd=tmp_path).err.splitlines()
    lines = [line for line in told if not line.startswith("INFO")]
    assert len(lines) > 5
    codes = []
    for count, pause in itertools.product(range(len(lines)), (0, 0.3)):
        folder = tmp_path / f"demo-{count}" if pause else tmp_path / "demo"
        codes.append(_interrupt_behind(folder, count, pause))
    assert set(codes) <= {0, 130, -signal.SIGTERM} and codes.count(130) >= len(lines), codes
    assert run(demo_words(tmp_path / "demo", "--exit", "--json"), cwd=tmp_path).json["export"]["verified"] is True


def test_a_folder_that_is_not_the_demos_is_left_alone(tmp_path: Path) -> None:
    mine = tmp_path / "demo" / "appliance" / "mine"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    for _ in range(2):
        assert run(demo_words(tmp_path / "demo", "--exit"), check=False, cwd=tmp_path).code != 0
    assert mine.read_text() == "mine"


def _interrupt_behind(folder: Path, lines: int, pause: float) -> int:
    """Interrupt a demo that has told so many lines of its progress."""
    told = folder.with_suffix(".told")
    return _interrupt_when(folder, lambda: told.read_bytes().count(b"\n") >= lines, pause)


def _interrupt_when(folder: Path, condition: Callable[[], bool], pause: float = 0) -> int:
    """Start a demo, end it when the condition is true, and return its exit code; nothing of it may go on."""
    told = folder.with_suffix(".told")
    with open(told, "wb") as errors:
        process = subprocess.Popen(demo_words(folder, "--exit", "--json"), stdout=subprocess.PIPE, stderr=errors)
    until(lambda: process.poll() is not None or condition(), 60)
    time.sleep(pause)
    process.terminate()
    output, _ = process.communicate(timeout=60)
    if process.returncode == 130:
        assert output == b"" and "Stopping\n" in told.read_text()
    assert str(folder).encode() not in run(["ps", "-eo", "args"]).out
    return process.returncode


def _continue_and_interrupt(folder: Path, elsewhere: Path, password: str) -> None:
    """Without --exit it goes on; two quick Ctrl-C end it cleanly, and nothing stays behind."""
    process = subprocess.Popen(
        demo_words(folder, "--json"), stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=elsewhere
    )
    assert process.stdout is not None
    continued = json.loads(process.stdout.readline())
    assert continued["password"] == password
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(60) == 0
    until(lambda: str(folder).encode() not in run(["ps", "-eo", "args"]).out, 20)
