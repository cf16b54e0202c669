"""The control socket: where the serving process listens for the command line of the same machine.

Addresses of sockets hold 107 bytes; a longer path is reached through an open descriptor of its folder.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.durable import OS_FILES
from core.errors import Refused

_LONGEST_ADDRESS = 107  # sizeof(sockaddr_un.sun_path) - 1


class ControlRefused(Refused):
    """The control socket may not be used by this user."""


def listen(path: Path) -> socket.socket:
    """Return a bound socket (0600) at `path`, in place of a stale one; the caller holds the folder's lock."""
    if path.is_socket():
        OS_FILES.unlink(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # the name gets this mode when it is bound; changing it later is a gap
        with _address(path) as address:
            listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def connect(path: Path) -> socket.socket | None:
    """Return a connection to the serving process, or None when none serves (a stale socket is none)."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(path) as address:
            connection.connect(address)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except PermissionError as error:
        connection.close()
        raise ControlRefused(
            f"{path} may not be used by this user", remedy="run the command as the owner of the folder, or as root"
        ) from error
    return connection


def remove(path: Path) -> None:
    """Remove the socket's name, if it is there."""
    if path.is_socket():
        OS_FILES.unlink(path)


@contextmanager
def _address(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
