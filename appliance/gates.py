"""WSGI gates before the web side: who may speak as the owner, room on a full disk, an end to long answers at the stop."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from web.authentication import ACTOR_KEY
from web.operations import Actor

Environ = dict[str, Any]
WsgiApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

_PEER_KEY = "X_REMOTE_UID"  # set by cheroot from SO_PEERCRED; no header can set it


class StoppedOnTheWay(Exception):
    """The process stops; the answer is broken off so that nobody takes it for whole."""


def owner_actor(uid: int) -> Actor:
    """Return who asks at the appliance's own command line."""
    return Actor("owner", "owner", f"uid:{uid}")


def network_gate(app: WsgiApp) -> WsgiApp:
    """Return the app for peers of the network: they bring their own proof of who they are."""

    def gate(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        environ.pop(ACTOR_KEY, None)
        return app(environ, start_response)

    return gate


def owner_gate(app: WsgiApp, owner: int) -> WsgiApp:
    """Return the app for the control socket: root and the folder's owner speak as the owner, nobody else at all."""

    def gate(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        uid = environ.get(_PEER_KEY, "")
        if uid not in ("0", str(owner)):
            return _refuse(start_response)
        environ[ACTOR_KEY] = owner_actor(int(uid))
        return app(environ, start_response)

    return gate


def stopping_gate(app: WsgiApp, stopping: Callable[[], bool]) -> WsgiApp:
    """Return the app whose answers are broken off between two pieces once the process stops."""

    def gate(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        return _Stoppable(app(environ, start_response), stopping)

    return gate


def tending_gate(app: WsgiApp, tend: Callable[[], None]) -> WsgiApp:
    """Return the app before each of whose requests the disks are looked after."""

    def gate(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        tend()
        return app(environ, start_response)

    return gate


class _Stoppable:
    """An answer that asks before each piece; a class, because a server calls `close` also before the first."""

    def __init__(self, answer: Iterable[bytes], stopping: Callable[[], bool]) -> None:
        self._answer = answer
        self._stopping = stopping

    def __iter__(self) -> Iterator[bytes]:
        for index, piece in enumerate(self._answer):
            if index and self._stopping():  # what is ready in one piece is still sent
                raise StoppedOnTheWay("the appliance stops")
            yield piece

    def close(self) -> None:
        """End the answer."""
        ending = getattr(self._answer, "close", None)
        if ending is not None:
            ending()


def _refuse(start_response: Callable[..., Any]) -> Iterable[bytes]:
    error = {
        "type": "control_refused",
        "message": "this user may not use the control socket",
        "remedy": "run the command as the owner of the appliance's folder, or as root",
    }
    body = msgspec.json.encode({"error": error})
    start_response("403 Forbidden", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
