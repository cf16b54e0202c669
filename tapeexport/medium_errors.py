"""Errors of the medium that a cartridge is written to, told apart from errors of the store.

A full or broken destination must not make the appliance stop taking data, as a failed write of the journal does: so the
reaction is always `TryLater`. The data is still in the store, and an export can be run again.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from core.durable import NoSpace, WriteFailed
from core.errors import TryLater

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class CartridgeNotWritten(TryLater):
    """The medium failed; what was written is of no use."""


@contextmanager
def medium_errors(what: str) -> Iterator[None]:
    """Turn errors of the operating system inside the block into `NoSpace` or `CartridgeNotWritten`, naming `what`."""
    try:
        yield
    except WriteFailed as error:
        raise CartridgeNotWritten(error.message, remedy="check the destination, then export again") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if error.errno in _FULL:
            raise NoSpace(f"cannot write {what}: {reason}", remedy="free space there, then export again") from error
        raise CartridgeNotWritten(f"cannot write {what}: {reason}", remedy="check the destination, then export again") from error
