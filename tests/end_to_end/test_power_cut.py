"""The installed `serve` over an ext4 of its own, whose power is cut while an agent works: what was answered is there."""

import random
import threading
from pathlib import Path

import pytest

from tests.end_to_end.rig import Rig, until
from tests.end_to_end.test_injected_kills import check_after, work_until_dead
from tests.faults.loop_disk import LoopDisk, loop_disk

SEEDS = range(5)


def cut_while_working(rig: Rig, disk: LoopDisk, seed: int) -> dict[int, Path]:
    """Cut the power at some moment behind some answered snapshots; return copies of what the share was at each of them."""
    chance = random.Random(seed)
    rig.init()
    rig.serve()
    rig.enroll()
    copies: dict[int, Path] = {}
    worker = threading.Thread(target=work_until_dead, args=(rig, copies))
    worker.start()
    answered = chance.randrange(1, 4)
    until(lambda: len(copies) >= answered or not worker.is_alive(), 120)
    threading.Event().wait(chance.uniform(0, 1.5))
    disk.cut()
    worker.join()
    rig.stop(9)
    disk.power_on()
    return copies


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_under_the_installed_service_loses_nothing_answered(tmp_path: Path, seed: int) -> None:
    with loop_disk(tmp_path) as disk:
        rig = Rig(tmp_path)
        rig.root = disk.folder / "root"
        try:
            copies = cut_while_working(rig, disk, seed)
            assert copies, "a cut before anything was answered shows nothing"
            check_after(rig, copies)
        finally:
            rig.close()
