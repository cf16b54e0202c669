"""Work done beside the caller, in order, with a bound on how much may wait."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec

Parameters = ParamSpec("Parameters")


class InOrder:
    """Runs calls one after the other in one thread.

    The first error is raised by a later `submit` or by `drain`; nothing runs behind it, and it is raised again each time.
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._waiting: deque[Future[None]] = deque()
        self._failure: Exception | None = None

    def submit(self, call: Callable[Parameters, None], *args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        """Run `call` behind all others; block while `depth` calls wait."""
        while len(self._waiting) >= self._depth:
            self._waiting.popleft().result()
        self._waiting.append(self._thread.submit(self._run, partial(call, *args, **kwargs)))

    def drain(self) -> None:
        """Return when all calls are done."""
        while self._waiting:
            self._waiting.popleft().result()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End the thread when the running call is done, drop those that wait; may be called twice."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _run(self, call: Callable[[], None]) -> None:
        if self._failure is not None:
            raise self._failure
        try:
            call()
        except Exception as error:
            self._failure = error
            raise
