"""SQLite's own writes and syncs, met by the kernel: the process of a share's whole life (seals, prune, collect and rebuilds
included) is killed at them, or they fail once and it goes on."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import snapshots.packs as packs_module
from tests.appliance.program import REPOSITORY
from tests.faults.whole_life import SMALL_PACKS, Ledger, check, play

CALLS = ("pwrite64", "fsync", "fdatasync", "ftruncate", "unlink")
POINTS = 70  # of each call; a life has a thousand writes
SAMPLE = (("pwrite64", "signal=SIGKILL"), ("fsync", "signal=SIGKILL"), ("pwrite64", "error=ENOSPC"), ("fsync", "error=EIO"))
GOING_ON = (("pwrite64", "EIO"), ("pwrite64", "ENOSPC"), ("fsync", "EIO"))


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", SMALL_PACKS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """The ledger of a life in which nothing happens."""
    ledger = Ledger()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packs_module, "PACK_BYTES", SMALL_PACKS)
        play(tmp_path_factory.mktemp("whole"), ledger)
    return ledger


def trace(folder: Path, words: list[str], goes_on: bool) -> "subprocess.CompletedProcess[str]":
    """Live once under strace; the ledger lies beside the folder."""
    assert shutil.which("strace"), "strace is missing: apt-get install strace"
    (folder / "store").mkdir(parents=True)
    child = [sys.executable, "-m", "tests.faults.life_child", str(folder / "store"), str(folder / "ledger")]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        ["strace", "-f", "-qq", *words, *child, *(["on"] if goes_on else [])],
        env=environment, cwd=folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def count(folder: Path, call: str) -> int:
    """Return how many of a system call a life makes."""
    log = folder / "calls"
    assert trace(folder, ["-o", str(log), "-e", f"trace={call}"], False).returncode == 0
    return log.read_text().count(f"{call}(")


def meet(folder: Path, call: str, what: str, when: int, whole: Ledger) -> None:
    """Live until the `when`-th call meets its fault, and check what is left; a life that goes on must come to its end."""
    goes_on = what.startswith("error=")
    done = trace(folder, ["-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={when}"], goes_on)
    assert done.returncode in ((0,) if goes_on else (-signal.SIGKILL, 128 + signal.SIGKILL)), (call, what, when, done.stderr)
    ledger = Ledger.load(folder / "ledger") if (folder / "ledger").exists() else Ledger()
    assert not goes_on or ledger.done == whole.done, (call, what, when)
    ledger.models = whole.models
    if not goes_on:  # it may have died before the ledger said so; where a step was done again, the numbers are its own
        ledger.dropping = whole.dropping
    try:
        check(folder / "store", ledger)
    except BaseException as error:
        raise AssertionError(f"{call} {when}, {what}: {error}") from error
    shutil.rmtree(folder)


def points(folder: Path, call: str, number: int, seed: int) -> list[int]:
    total = count(folder, call)
    return sorted(random.Random(seed).sample(range(1, total), min(number, total - 1)))


def test_a_sample_of_faults_at_sqlites_own_calls_loses_nothing(tmp_path: Path, whole: Ledger) -> None:
    (when,) = points(tmp_path / "count", "fsync", 1, 5)
    for call, what in SAMPLE:
        meet(tmp_path / f"{call}-{what}", call, what, when, whole)


@pytest.mark.long
@pytest.mark.parametrize("call", CALLS)
def test_kills_at_sqlites_own_calls_lose_nothing(tmp_path: Path, whole: Ledger, call: str) -> None:
    for when in points(tmp_path / "count", call, POINTS, 6):
        meet(tmp_path / str(when), call, "signal=SIGKILL", when, whole)


@pytest.mark.long
@pytest.mark.parametrize(("call", "error"), GOING_ON)
def test_errors_at_sqlites_own_calls_are_told_and_lose_nothing(tmp_path: Path, whole: Ledger, call: str, error: str) -> None:
    for when in points(tmp_path / "count", call, POINTS, 7):
        meet(tmp_path / str(when), call, f"error={error}", when, whole)
