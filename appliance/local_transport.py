"""Asking the API by opening the appliance in this process, when nothing serves it."""

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from appliance.gates import WsgiApp, owner_actor
from appliance.parts import make_parts
from appliance.settings import Environment
from appliance.transport import Answer, Request, headers_of
from appliance.wiring import PartsFactory, open_appliance
from web.authentication import ACTOR_KEY


def open_locally(path: Path, environment: Environment, stack: ExitStack, parts: PartsFactory = make_parts) -> "LocalTransport":
    """Open the appliance for this process alone; `stack` closes it. Raises `RootLocked` while another has it."""
    appliance = open_appliance(path, environment, parts, stack)
    return LocalTransport(cast(WsgiApp, appliance.app), os.getuid())


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
        for name, value in headers_of(request).items():
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


def _closing(body: Iterable[bytes]) -> Iterator[bytes]:
    try:
        yield from body
    finally:
        ending = getattr(body, "close", None)
        if ending is not None:
            ending()
