"""EIO and ENOSPC at every durable operation of a share's whole life; the process goes on as soon as the fault is gone.

Each error must come out as one of ours, with the right reaction and a remedy. Then the life is lived to its end; after a power
cut at its end, which loses also what a failed sync had lost for good, nothing answered is missing and nothing is half there.
"""

import random
from pathlib import Path

import pytest

import snapshots.packs as packs_module
from appliance.cli.failures import TRY_LATER, exit_code
from core.errors import StagekeeperError, Stopped, TryLater
from tests.faults.whole_life import SMALL_PACKS, Ledger, check, play, play_on
from tests.faulty_files import FaultyFiles

pytestmark = pytest.mark.in_memory

SAMPLE = 7
FAULTS = ("EIO", "ENOSPC")


@pytest.fixture(autouse=True)
def small_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packs_module, "PACK_BYTES", SMALL_PACKS)


def operations(folder: Path) -> list[str]:
    """Return the durable operations of a life in which nothing fails."""
    folder.mkdir()
    files = FaultyFiles()
    play(folder, Ledger(), files)
    return files.log


def live_with_error(folder: Path, at: int, fault: str) -> list[BaseException]:
    """Live with one error, lose what no sync holds, check, and return what was told."""
    folder.mkdir()
    files, ledger = FaultyFiles(at, fault), Ledger()
    told: list[BaseException] = []
    play_on(folder, ledger, files, told.append)
    assert files.fired
    files.lose_unsynced()
    check(folder, ledger)
    return told


def judge(error: BaseException, fault: str, operation: str) -> None:
    """Check that an error is one of ours and tells the right thing to do."""
    assert isinstance(error, StagekeeperError), f"{operation}: {error!r} is no error of ours"
    assert error.remedy, operation
    assert isinstance(error, TryLater | Stopped) and exit_code(error) == TRY_LATER, (operation, error)
    if fault == "EIO":
        assert "free" not in error.remedy, f"{operation}: {error.remedy!r} does not help against a failing disk"
        assert "disk" in error.remedy, (operation, error.remedy)
    elif not isinstance(error, Stopped):
        assert "space" in error.remedy, (operation, error.remedy)


def judge_all(folder: Path, points: list[tuple[int, str]], log: list[str]) -> None:
    silent = []
    for at, fault in points:
        errors = live_with_error(folder / f"{at}-{fault}", at, fault)
        for error in errors:
            judge(error, fault, f"{fault} at {at}, {log[at - 1]}")
        if not errors:
            silent.append(log[at - 1])
    assert len(silent) <= len(points) // 10, f"errors that nobody was told of: {silent}"


def test_errors_at_a_sample_of_operations_lose_nothing_and_are_told(tmp_path: Path) -> None:
    log = operations(tmp_path / "whole")
    verbs = sorted({entry.split()[0] for entry in log})
    chance = random.Random(20)
    chosen = {chance.choice([at for at, entry in enumerate(log, 1) if entry.startswith(verb + " ")]) for verb in verbs}
    chosen |= set(chance.sample(range(1, len(log) + 1), SAMPLE - len(chosen)))
    judge_all(tmp_path, [(at, chance.choice(FAULTS)) for at in sorted(chosen)], log)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_errors_at_every_operation_lose_nothing_and_are_told(tmp_path: Path, fault: str) -> None:
    log = operations(tmp_path / "whole")
    assert {entry.split()[0] for entry in log} >= {
        "open", "write", "sync", "sync_directory", "rename", "unlink", "make_directory",
    }  # fmt: skip
    judge_all(tmp_path, [(at, fault) for at in range(1, len(log) + 1)], log)
