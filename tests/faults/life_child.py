"""A share's whole life as a process of its own, for tracers: FOLDER LEDGER [on]. With `on` it goes on after errors, and ends
with 4 when one of them is not one of ours."""

import sys
from pathlib import Path

from core.durable import OS_FILES
from core.errors import StagekeeperError
from tests.faults.whole_life import Ledger, play, play_on, with_small_packs

FOREIGN = 4


def main(folder: Path, saved: Path, goes_on: bool) -> int:
    with_small_packs()
    ledger = Ledger()
    if not goes_on:
        play(folder, ledger, saved=saved)
        return 0
    told: list[BaseException] = []
    try:
        play_on(folder, ledger, OS_FILES, told.append)
    finally:
        ledger.save(saved)
        for error in told:
            sys.stderr.write(f"{error!r}\n")
    return 0 if all(isinstance(error, StagekeeperError) and error.remedy for error in told) else FOREIGN


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:] == ["on"]))
