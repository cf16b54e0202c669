"""Real power cuts on a real ext4, SQLite's files included, at any durable operation and at any moment of a share's whole life."""

import os
import random
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import snapshots.packs as packs_module
from tests.faults.loop_disk import LoopDisk, loop_disk
from tests.faults.whole_life import SMALL_PACKS, Ledger, check, play
from tests.faulty_files import FaultyFiles

SAMPLE = 3
MOMENTS = 60
_CUT, _LIVED = 3, 0


class CutPower(FaultyFiles):
    """Calls `cut`, which does not return, right before or right after the operation of a number."""

    def __init__(self, at: int, after: bool, cut: Callable[[], None]) -> None:
        super().__init__()
        self._cut_at, self._cut_after, self._cut = at, after, cut

    def _before(self, verb: str, path: Path) -> None:
        super()._before(verb, path)
        if self.count == self._cut_at and not self._cut_after:
            self._cut()

    def open_append(self, path: Path) -> int:
        descriptor = super().open_append(path)
        self._after()
        return descriptor

    def _after(self) -> None:
        if self.count == self._cut_at and self._cut_after:
            self._cut()


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopDisk]:
    monkeypatch.setattr(packs_module, "PACK_BYTES", SMALL_PACKS)
    with loop_disk(tmp_path) as made:
        yield made


def operations(folder: Path) -> tuple[int, Ledger]:
    """Return how many durable operations a whole life has, and its ledger."""
    folder.mkdir()
    files, ledger = FaultyFiles(), Ledger()
    play(folder, ledger, files)
    return files.count, ledger


def in_child(work: Callable[[], None]) -> int:
    """Begin work in a process of its own, which ends hard; return its id."""
    child = os.fork()
    if child:
        return child
    try:
        work()
        os._exit(_LIVED)
    except BaseException:
        os._exit(1)


def live_until_cut(disk: LoopDisk, saved: Path, at: int, after: bool) -> Path:
    """Live on the disk until the power is cut at an operation; return the folder as it is when the power is there again."""
    folder = disk.folder / f"life-{at}-{secrets.token_hex(4)}"  # no name twice: a cut takes removals back too
    folder.mkdir()
    ledger = Ledger()

    def cut() -> None:
        disk.cut()
        ledger.save(saved)
        os._exit(_CUT)

    child = in_child(lambda: play(folder, ledger, CutPower(at, after, cut)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == _CUT
    disk.power_on()
    return folder


def compare(folder: Path, ledger: Ledger) -> None:
    folder.mkdir(exist_ok=True)  # the life's own folder is not its own to sync
    check(folder, ledger)
    shutil.rmtree(folder)


def sweep(disk: LoopDisk, tmp_path: Path, whole: Ledger, points: list[tuple[int, bool]]) -> None:
    for at, after in points:
        folder = live_until_cut(disk, tmp_path / "ledger", at, after)
        ledger = Ledger.load(tmp_path / "ledger")
        ledger.models = whole.models  # a cut may come before there is any
        try:
            compare(folder, ledger)
        except BaseException as error:
            raise AssertionError(f"power cut {'after' if after else 'before'} operation {at}: {error}") from error


def test_power_cuts_at_a_sample_of_operations_lose_nothing_answered(disk: LoopDisk, tmp_path: Path) -> None:
    total, whole = operations(tmp_path / "whole")
    chance = random.Random(8)
    sweep(disk, tmp_path, whole, [(at, chance.random() < 0.5) for at in chance.sample(range(total // 4, total), SAMPLE)])


@pytest.mark.long
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_power_cuts_at_every_operation_lose_nothing_answered(disk: LoopDisk, tmp_path: Path, after: bool) -> None:
    total, whole = operations(tmp_path / "whole")
    assert total > 150
    sweep(disk, tmp_path, whole, [(at, after) for at in range(1, total + 1)])


@pytest.mark.long
def test_power_cuts_at_any_moment_lose_nothing_answered(disk: LoopDisk, tmp_path: Path) -> None:
    """Not only between operations, but while SQLite writes; the process lives on a little and may answer nothing wrong."""
    _, whole = operations(tmp_path / "whole")
    chance, met = random.Random(9), set()
    for number in range(MOMENTS):
        saved = tmp_path / "ledger"
        Ledger().save(saved)
        folder = disk.folder / f"life-{number}"
        folder.mkdir()
        child = in_child(lambda folder=folder, saved=saved: play(folder, Ledger(), saved=saved))
        threading.Event().wait(chance.uniform(0.05, 1.0))
        disk.cut()
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        disk.power_on()
        ledger = Ledger.load(saved)
        met.add(ledger.done)
        ledger.models, ledger.dropping = whole.models, whole.dropping
        compare(folder, ledger)
    assert len(met) > 5, "the cuts must come at many different steps"
