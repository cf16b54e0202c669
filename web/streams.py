"""Streams of pieces that somebody may stop reading before their end."""

from collections.abc import Iterator
from typing import Any


def close(iterator: Iterator[Any]) -> None:
    """End a generator that will not be read to its end; anything else has nothing to end."""
    ending = getattr(iterator, "close", None)
    if ending is not None:
        ending()
