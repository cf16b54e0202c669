"""Small files are filled behind the one that makes them: in order, told of, and never left open."""

import contextlib
import os
import threading
from pathlib import Path

import pytest

from core.relpath import RelPath
from snapshots.finishing import Finished, Finishing, OpenFile
from staging.changes import Attributes

LOOKS = Attributes(0o640, os.geteuid(), os.getegid(), 1_600_000_000_000_000_007)


def opened(path: Path, data: bytes) -> OpenFile:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    return OpenFile(RelPath(os.fsencode(path.name)), descriptor, data, LOOKS)


def still_open(folder: Path) -> list[str]:
    """Return what this process has open below a folder."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            found.append(os.readlink(f"/proc/self/fd/{descriptor}"))
    return [path for path in found if path.startswith(f"{folder}/")]


def test_files_are_filled_dressed_and_told_of_in_the_order_in_which_they_were_put_in(tmp_path: Path) -> None:
    told: list[Finished] = []
    with Finishing(told.append) as finishing:
        for number in range(1000):
            finishing.put(opened(tmp_path / str(number), b"%d" % number * 3))
        finishing.end()
    assert still_open(tmp_path) == []
    assert [(one.path, one.missed) for one in told] == [(b"%d" % number, []) for number in range(1000)]
    assert sum(one.size or 0 for one in told) == sum(path.stat().st_size for path in tmp_path.iterdir()) == 8670
    assert {(path.stat().st_mtime_ns, path.stat().st_mode & 0o7777) for path in tmp_path.iterdir()} == {(LOOKS.mtime_ns, 0o640)}


def test_what_is_to_follow_files_runs_when_all_of_them_are_done_and_in_the_same_thread(tmp_path: Path) -> None:
    told: list[Finished] = []
    seen: list[tuple[int, threading.Thread]] = []

    def count() -> None:
        filled = sum(path.stat().st_size == 100_000 for path in tmp_path.iterdir())
        seen.append((filled, threading.current_thread()))

    with Finishing(told.append) as finishing:
        finishing.then(count)
        for number in range(40):
            finishing.put(opened(tmp_path / str(number), bytes(100_000)))
            if number % 20 == 19:
                finishing.then(count)
        finishing.end()
    assert [thread for _, thread in seen] == [threading.current_thread()] * 3
    assert [filled >= least for (filled, _), least in zip(seen, (0, 20, 40), strict=True)] == [True] * 3
    assert len(told) == 40


def test_a_full_disk_costs_one_file_and_is_told(tmp_path: Path) -> None:
    told: list[Finished] = []
    full = OpenFile(RelPath(b"full"), os.open("/dev/full", os.O_WRONLY), b"x", LOOKS)
    with Finishing(told.append) as finishing:
        finishing.put(full)
        finishing.put(opened(tmp_path / "next", b"there"))
        finishing.end()
    assert [(one.path, one.size) for one in told] == [(b"full", None), (b"next", 5)]
    assert told[0].missed == [("file", "No space left on device (ENOSPC)")]
    assert (tmp_path / "next").read_bytes() == b"there"


def test_an_early_end_closes_every_file(tmp_path: Path) -> None:
    with pytest.raises(InterruptedError), Finishing(lambda finished: None) as finishing:
        for number in range(21):
            finishing.put(opened(tmp_path / str(number), b"x"))
        assert len(still_open(tmp_path)) >= 5
        raise InterruptedError
    assert still_open(tmp_path) == []
