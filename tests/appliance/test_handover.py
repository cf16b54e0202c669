"""Work in a thread, read as an iterator."""

import threading
from collections.abc import Callable
from typing import BinaryIO

import pytest

from appliance.handover import GivenUp, pieces_of, steps_of
from core.errors import Damaged


def test_steps_come_in_order_and_the_result_last() -> None:
    def work(take: Callable[[int], None]) -> str:
        for number in range(100):
            take(number)
        return "done"

    assert list(steps_of(work)) == [*range(100), "done"]


def test_an_error_is_raised_where_it_is_read() -> None:
    def work(take: Callable[[int], None]) -> str:
        take(1)
        raise Damaged("wrong bytes")

    steps = steps_of(work)
    assert next(steps) == 1
    with pytest.raises(Damaged, match="wrong bytes"):
        next(steps)


def test_giving_up_ends_the_work_through_its_own_cleaning_up() -> None:
    ended: list[str] = []

    def work(take: Callable[[int], None]) -> None:
        try:
            while True:
                take(1)
        except GivenUp:
            ended.append("cleaned up")
            raise

    steps = steps_of(work)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert ended == ["cleaned up"]
    assert not [thread for thread in threading.enumerate() if thread.name == "work"]


def test_work_does_not_run_far_ahead_of_its_reader() -> None:
    written: list[int] = []

    def work(stream: BinaryIO) -> None:
        for number in range(50):
            written.append(number)
            stream.write(b"x")

    pieces = pieces_of(work)
    assert next(pieces) == b"x"
    assert len(written) <= 12
    assert b"".join(pieces) == b"x" * 49
    assert len(written) == 50


def test_nothing_runs_before_the_first_step_is_asked_for() -> None:
    begun: list[bool] = []
    pieces_of(lambda stream: begun.append(True))
    assert begun == []
