"""Two ways to ask the API: over the control socket, or by calling the app in this process. Same answers either way."""

import http.client
import io
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

from appliance import control_socket
from appliance.gates import WsgiApp, owner_actor
from core.errors import TryLater
from web.authentication import ACTOR_KEY

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
            connection.request(request.method, request.address, request.body or None, _headers(request))
            response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise ApplianceUnreachable(
                f"the serving process does not answer: {error}", remedy="see whether it runs, then try again"
            ) from error
        etag = response.getheader("ETag", "")
        return Answer(response.status, response.length, etag, _pieces(connection, response))


class LocalTransport:
    """Requests to the app in this process, as the folder's owner."""

    def __init__(self, app: WsgiApp, uid: int) -> None:
        self._app = app
        self._uid = uid

    def send(self, request: Request) -> Answer:
        """Return the answer; what breaks it off is raised by its pieces as it is."""
        path, _, query = request.address.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": request.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "0",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "",
            "CONTENT_LENGTH": str(len(request.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": False,
            "wsgi.multiprocess": False,
            "wsgi.run_once": True,
            ACTOR_KEY: owner_actor(self._uid),
        }
        for name, value in _headers(request).items():
            key = name.upper().replace("-", "_")
            environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
        started: list[tuple[str, list[tuple[str, str]]]] = []

        def start_response(status: str, headers: list[tuple[str, str]], _: Any = None) -> Callable[[bytes], object]:
            started.append((status, headers))
            return lambda piece: None

        body = self._app(environ, start_response)
        status, headers = started[-1]
        named = {name.lower(): value for name, value in headers}
        length = int(named["content-length"]) if "content-length" in named else None
        return Answer(int(status.split()[0]), length, named.get("etag", ""), _closing(body))


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


def _headers(request: Request) -> dict[str, str]:
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


def _closing(body: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from body
    finally:
        ending = getattr(body, "close", None)
        if ending is not None:
            ending()
