"""Asking the API over the control socket. The other way, in this process, is `local_transport`: same answers either way."""

import http.client
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from appliance import control_socket
from core.errors import TryLater

_PIECE_BYTES = 256 * 1024


class ApplianceUnreachable(TryLater):
    """The serving process went away."""


class AnswerCutShort(TryLater):
    """The answer ended before its end."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request; the address is complete and percent-encoded."""

    method: str
    address: str
    body: bytes = b""
    range_first: int = 0
    if_range: str = ""  # the entity tag that the rest must belong to


@dataclass(frozen=True, slots=True)
class Answer:
    """Status and body of an answer; the pieces end only where the answer does."""

    status: int
    length: int | None
    etag: str
    pieces: Iterator[bytes]


class Transport(Protocol):
    """Carries requests to the API."""

    def send(self, request: Request) -> Answer:
        """Return the answer to a request; its pieces must be read or dropped before the next one."""


class SocketTransport:
    """Requests over the control socket, a connection each."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def send(self, request: Request) -> Answer:
        """Return the answer; raise `ApplianceUnreachable` when nobody listens."""
        connection = _ControlConnection(self._path)
        try:
            connection.request(request.method, request.address, request.body or None, headers_of(request))
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ApplianceUnreachable(
                f"the serving process does not answer: {error}", remedy="see whether it runs, then try again"
            ) from error
        etag = response.getheader("ETag", "")
        return Answer(response.status, response.length, etag, _pieces(connection, response))


class _ControlConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        """Connect to the control socket."""
        connection = control_socket.connect(self._path)
        if connection is None:
            raise ConnectionRefusedError("nobody listens on the control socket")
        self.sock: socket.socket = connection


def headers_of(request: Request) -> dict[str, str]:
    """Return a request's header fields."""
    headers = {"Content-Type": "application/json"} if request.body else {}
    if request.range_first:
        headers |= {"Range": f"bytes={request.range_first}-", "If-Range": request.if_range}
    return headers


def _pieces(connection: http.client.HTTPConnection, response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield a body as it comes; raise `AnswerCutShort` when it ends early (http.client may take that for the end)."""
    expected, received = response.length, 0
    try:
        while piece := response.read1(_PIECE_BYTES):
            received += len(piece)
            yield piece
        if expected is not None and received < expected:
            raise _cut_short(received)
    except (OSError, http.client.HTTPException) as error:
        raise _cut_short(received) from error
    finally:
        connection.close()


def _cut_short(received: int) -> AnswerCutShort:
    return AnswerCutShort(
        f"the answer was broken off after {received} bytes", remedy="see the log of the serving process, then try again"
    )
