"""SIGTERM and SIGINT as a call from an ordinary thread.

Python runs a handler in the main thread, between two of its steps: there it may not take a lock that the main thread holds,
and it does not run at all when the signal comes just before the main thread sleeps in the system. Therefore the handlers
here do nothing; the byte that the interpreter writes into a pipe when a signal comes wakes a thread, which makes the call.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def at_ending_signal(call: Callable[[], None]) -> Iterator[None]:
    """Within the context the first SIGTERM or SIGINT leads to one `call` from another thread; main thread only."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)

    def listen() -> None:
        if os.read(reader, 1):
            call()

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    handlers = [(number, signal.signal(number, _ignore)) for number in _ENDING]
    listener.start()
    try:
        yield
    finally:
        for number, handler in handlers:
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup)
        os.close(writer)
        listener.join()
        os.close(reader)


def _ignore(number: int, frame: object) -> None:
    """Be a handler: without one the interpreter would not write into the pipe."""
