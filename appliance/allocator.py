"""The C library's memory, as a process of many threads needs it.

glibc gives each thread a heap of its own and seldom gives back what was used there: dozens of threads that each held one put
body for a moment keep hundreds of megabytes for good. Two heaps are enough for two cores' worth of C code (mallopt(3)).
"""

import contextlib
import ctypes

_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h
_ARENAS = 2


def share_heaps() -> None:
    """Let all threads share two heaps. To be called before threads are made; other C libraries do not know it."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_ARENA_MAX, _ARENAS)
