"""Turns go to who asked first, and the holder knows when somebody waits who should not wait long."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from snapshots.turns import Turns


def ask(turns: Turns, order: list[str], name: str, patient: bool = False) -> threading.Thread:
    """Return a thread that waits for its turn."""
    before = turns.waiting

    def take() -> None:
        with turns.taken(patient):
            order.append(name)

    thread = threading.Thread(target=take)
    thread.start()
    while turns.waiting == before:
        threading.Event().wait(0.001)
    return thread


def test_a_holder_that_comes_again_at_once_stands_behind_who_waited() -> None:
    turns, order = Turns(), list[str]()
    with turns.taken():
        threads = [ask(turns, order, name) for name in ("first", "second", "third")]
    with turns.taken():
        order.append("holder")
    for thread in threads:
        thread.join()
    assert order == ["first", "second", "third", "holder"]


def test_only_who_is_not_patient_is_told_to_the_holder() -> None:
    turns, order = Turns(), list[str]()
    with turns.taken():
        threads = [ask(turns, order, "patient", patient=True)]
        assert not turns.is_wanted
        threads.append(ask(turns, order, "hurried"))
        assert turns.is_wanted
    for thread in threads:
        thread.join()
    assert order == ["patient", "hurried"] and not turns.is_wanted and turns.waiting == 0


def test_a_thread_takes_its_turn_again_within_it_and_an_error_gives_it_back() -> None:
    turns, order = Turns(), list[str]()
    with pytest.raises(ValueError, match="failed"), turns.taken(), turns.taken():
        waiting = ask(turns, order, "other")
        raise ValueError("failed")
    waiting.join()
    assert order == ["other"]


class Interrupted(Exception):
    """What a signal's handler raises."""


@contextmanager
def interrupted_wait(turns: Turns, before: Callable[[], None]) -> Iterator[None]:
    """Have the main thread interrupted when it waits within the context; the handler calls `before`, then raises."""

    def handle(number: int, frame: object) -> None:
        before()
        raise Interrupted

    def kill() -> None:
        while not turns.waiting:
            threading.Event().wait(0.001)
        os.kill(os.getpid(), signal.SIGUSR1)

    handler, killer = signal.signal(signal.SIGUSR1, handle), threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        killer.join()
        signal.signal(signal.SIGUSR1, handler)


@pytest.mark.parametrize("is_handed_over", [False, True])
@pytest.mark.parametrize("patient", [False, True])
def test_who_is_interrupted_while_waiting_leaves_no_turn_behind(is_handed_over: bool, patient: bool) -> None:
    turns, order = Turns(), list[str]()
    is_taken, may_give = threading.Event(), threading.Event()

    def hold() -> None:
        with turns.taken():
            is_taken.set()
            may_give.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    is_taken.wait()

    def hand_over() -> None:
        if is_handed_over:
            may_give.set()
            holder.join()

    with pytest.raises(Interrupted), interrupted_wait(turns, hand_over), turns.taken(patient):
        order.append("never")
    assert turns.waiting == 0 and not turns.is_wanted
    may_give.set()
    holder.join()
    other = threading.Thread(target=take_once, args=(turns, order), daemon=True)
    other.start()
    other.join(10)
    assert order == ["other"]


def take_once(turns: Turns, order: list[str]) -> None:
    with turns.taken():
        order.append("other")
