"""Turns go to who asked first, and the holder knows when somebody waits who should not wait long."""

import threading

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
