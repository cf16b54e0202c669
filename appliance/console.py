"""The one path of all commands: a request to the API, by whichever way the appliance can be reached.

When it serves, requests go over its control socket; otherwise the folder is locked, the app is built in this process
and called with the owner as actor. A command that finds another one at work waits a moment for it.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_from_bytes

import msgspec

from appliance import control_socket
from appliance.root import open_root
from appliance.root_lock import RootLocked
from appliance.settings import Environment
from appliance.transport import Answer, AnswerCutShort, Request, SocketTransport, Transport
from core.clock import SystemClock

_PATIENCE_SECONDS = 10.0  # for another command, or for a serving process that is just starting or ending
_POLL_SECONDS = 0.05

Query = dict[str, str | bytes | int]
OnProgress = Callable[[dict[str, Any]], None]
OpenLocally = Callable[[Path, Environment, ExitStack], Transport]


class ApiError(Exception):
    """The API answered an error."""

    def __init__(self, status: int, document: dict[str, Any]) -> None:
        super().__init__(document.get("message", ""))
        self.status = status
        self.document = document


def open_console(path: Path, environment: Environment, open_locally: OpenLocally, stack: ExitStack) -> "Console":
    """Return a console of the appliance at `path`; `stack` closes it."""
    root = open_root(path)
    clock = SystemClock()
    deadline = clock.monotonic() + _PATIENCE_SECONDS
    while True:
        connection = control_socket.connect(root.control_socket)
        if connection is not None:
            connection.close()
            return Console(SocketTransport(root.control_socket))
        try:
            return Console(open_locally(path, environment, stack))
        except RootLocked:
            if clock.monotonic() >= deadline:
                raise
            time.sleep(_POLL_SECONDS)


class Console:
    """Asks the API and hands on what it answers; errors become `ApiError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def ask(self, method: str, path: str, query: Query | None = None, body: object = None) -> Any:
        """Return the JSON document that answers; an empty answer is an empty object."""
        answer = self._checked(_request(method, path, query, body))
        return msgspec.json.decode(b"".join(answer.pieces) or b"{}")

    def ask_all(self, path: str, plural: str, query: Query | None = None) -> Any:
        """Return a whole list as one document, however many pages it has."""
        document = self.ask("GET", path, query)
        following = document["next"]
        while following is not None:
            page = self.ask("GET", path, {**(query or {}), "after": following})
            document[plural] += page[plural]
            following = page["next"]
        document["next"] = None
        return document

    def follow(self, path: str, body: object, on_progress: OnProgress) -> Any:
        """Start a long operation, report its progress, and return its result."""
        for line in _lines(self._checked(_request("POST", path, None, body)).pieces):
            message = msgspec.json.decode(line)
            if "progress" in message:
                on_progress(message["progress"])
            elif "error" in message:
                raise ApiError(0, message["error"])
            else:
                return message["result"]
        raise AnswerCutShort("the operation was broken off", remedy="see the log of the serving process, then try again")

    def pieces(self, method: str, path: str, query: Query | None = None, body: object = None) -> Iterator[bytes]:
        """Yield a body that is no JSON, to its end or to an error."""
        return self._checked(_request(method, path, query, body)).pieces

    def download(self, path: str, query: Query) -> Iterator[bytes]:
        """Yield a file; when its answer breaks off, ask once for the rest, which then says why."""
        request = _request("GET", path, query, None)
        answer = self._checked(request)
        received = 0
        try:
            for piece in answer.pieces:
                received += len(piece)
                yield piece
        except AnswerCutShort:
            if not received or not answer.etag:
                raise
            rest = self._checked(dataclasses.replace(request, range_first=received, if_range=answer.etag))
            if rest.status != 206:  # another content by now
                raise
            yield from rest.pieces

    def _checked(self, request: Request) -> Answer:
        answer = self._transport.send(request)
        if answer.status < 400:
            return answer
        body = b"".join(answer.pieces)
        try:
            document = msgspec.json.decode(body)["error"]
        except (msgspec.DecodeError, KeyError, TypeError):
            document = {"type": "fault", "message": f"the answer is a {answer.status} without words", "remedy": ""}
        raise ApiError(answer.status, document)


def address(path: str, query: Query | None = None) -> str:
    """Return an address of the API; values are percent-encoded, bytes as they are."""
    pairs = [f"{name}={_encoded(value)}" for name, value in (query or {}).items()]
    return "/api/v1/" + quote(path) + ("?" + "&".join(pairs) if pairs else "")


def _encoded(value: str | bytes | int) -> str:
    return quote_from_bytes(value, safe="") if isinstance(value, bytes) else quote(str(value), safe="")


def _request(method: str, path: str, query: Query | None, body: object) -> Request:
    encoded = b"" if body is None else msgspec.json.encode(body)
    return Request(method, address(path, query), encoded)


def _lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from filter(None, lines)
    if rest:
        yield rest
