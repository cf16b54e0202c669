"""Signals lead to a call from another thread, whatever the main thread is doing."""

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from core.signals import at_ending_signal


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_call_may_take_a_lock_that_the_main_thread_holds(number: signal.Signals) -> None:
    lock, ended = threading.Lock(), threading.Event()
    calls: list[int] = []

    def end() -> None:
        with lock:
            calls.append(threading.get_ident())
        ended.set()

    with at_ending_signal(end):
        with lock:
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            assert not ended.wait(0.05)
        assert ended.wait(10)
    assert len(calls) == 1 and calls[0] != threading.main_thread().ident


def test_a_signal_ends_a_wait_that_began_before_it_and_one_that_begins_after_it() -> None:
    for delay in [0.0] * 200 + [0.05]:
        ended = threading.Event()
        with at_ending_signal(ended.set):
            threading.Timer(delay, os.kill, (os.getpid(), signal.SIGTERM)).start()
            assert ended.wait(10)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT raise, as it does unless whoever started the tests had it ignored (a shell's background job)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_what_was_set_before_is_set_again_after_it() -> None:
    handler = signal.getsignal(signal.SIGINT)
    threads = threading.active_count()
    with at_ending_signal(lambda: None):
        assert signal.getsignal(signal.SIGINT) is not handler
    assert signal.getsignal(signal.SIGINT) is handler and threading.active_count() == threads
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
