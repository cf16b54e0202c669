"""Requests over the control socket: what is whole, what was cut short, and how a download goes on."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance import control_socket
from appliance.console import ApiError, Console, address
from appliance.local_transport import LocalTransport
from appliance.server import ControlServer
from appliance.settings import ServerSettings
from appliance.transport import AnswerCutShort, ApplianceUnreachable, SocketTransport
from core.clock import SystemClock
from core.errors import Damaged

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
CONTENT = bytes(range(256)) * 4000


@contextmanager
def listening(path: Path, app: WsgiApp) -> Iterator[Console]:
    """Serve an app on a control socket and yield a console that asks it."""
    settings = ServerSettings(threads=2, threads_per_address=2, stop_seconds=1.0)
    server = ControlServer(str(path), app, settings, 2, SystemClock(), peercreds_enabled=True)
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield Console(SocketTransport(path))
    finally:
        server.stop()
        thread.join()
        control_socket.remove(path)


class BreakingFile:
    """Serves CONTENT, but breaks off behind `breaks_at` bytes; what is asked from there on fails, or not."""

    def __init__(self, damaged: bool, etag: str = "one") -> None:
        self.damaged, self.etag = damaged, etag
        self.ranges: list[str] = []
        self.breaks_at = 500_000

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        asked = environ.get("HTTP_RANGE", "")
        self.ranges.append(asked)
        if not asked:
            start_response("200 OK", [("Content-Length", str(len(CONTENT))), ("ETag", "one")])
            return self._broken()
        if self.damaged:
            body = msgspec.json.encode({"error": {"type": "chunk_lost", "message": "gone", "remedy": ""}})
            start_response("500 Oops", [("Content-Length", str(len(body)))])
            return [body]
        rest = CONTENT[int(asked.removeprefix("bytes=").removesuffix("-")) :]
        status = "206 Partial" if environ["HTTP_IF_RANGE"] == self.etag else "200 OK"
        start_response(status, [("Content-Length", str(len(rest)))])
        return [rest]

    def _broken(self) -> Iterator[bytes]:
        yield CONTENT[: self.breaks_at]
        raise Damaged("on the way")


def test_a_download_that_breaks_off_goes_on_from_there(tmp_path: Path) -> None:
    app = BreakingFile(damaged=False)
    with listening(tmp_path / "s", app) as console:
        assert b"".join(console.download("x", {})) == CONTENT
    assert app.ranges == ["", "bytes=500000-"]


def test_a_download_that_cannot_go_on_says_why(tmp_path: Path) -> None:
    with listening(tmp_path / "s", BreakingFile(damaged=True)) as console:
        received = b""
        with pytest.raises(ApiError) as error:
            for piece in console.download("x", {}):
                received += piece
    assert error.value.document["type"] == "chunk_lost"
    assert received == CONTENT[:500_000]


def test_a_content_that_changed_meanwhile_is_not_mixed(tmp_path: Path) -> None:
    with listening(tmp_path / "s", BreakingFile(damaged=False, etag="two")) as console, pytest.raises(AnswerCutShort):
        list(console.download("x", {}))


@pytest.mark.parametrize("headers", [[], [("Content-Length", "20")]])
def test_a_document_that_is_cut_short_is_not_used(tmp_path: Path, headers: list[tuple[str, str]]) -> None:
    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", headers)
        yield b'{"a":1}'
        raise Damaged("on the way")

    with listening(tmp_path / "s", app) as console, pytest.raises(AnswerCutShort):
        console.ask("GET", "x")


def test_an_operation_without_a_last_line_was_broken_off(tmp_path: Path) -> None:
    lines = [b'{"progress":{"n":1}}\n{"pro', b'gress":{"n":2}}\n']

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [])
        return iter(lines)

    seen: list[Any] = []
    with listening(tmp_path / "s", app) as console:
        with pytest.raises(AnswerCutShort):
            console.follow("x", {}, seen.append)
        lines.append(b'{"result":7}')
        assert console.follow("x", {}, seen.append) == 7
        lines[-1] = b'{"error":{"type":"no_space"}}\n'
        with pytest.raises(ApiError):
            console.follow("x", {}, seen.append)
    assert seen == [{"n": 1}, {"n": 2}] * 3


def test_nobody_on_the_socket_is_unreachable(tmp_path: Path) -> None:
    assert control_socket.connect(tmp_path / "s") is None
    with pytest.raises(ApplianceUnreachable):
        Console(SocketTransport(tmp_path / "s")).ask("GET", "x")
    control_socket.listen(tmp_path / "s").close()
    assert control_socket.connect(tmp_path / "s") is None
    control_socket.listen(tmp_path / "s").close()
    control_socket.remove(tmp_path / "s")
    control_socket.remove(tmp_path / "s")


def test_in_one_process_an_error_on_the_way_is_raised_as_it_is() -> None:
    console = Console(LocalTransport(BreakingFile(damaged=True), 0))
    with pytest.raises(Damaged, match="on the way"):
        list(console.download("x", {}))


def test_addresses_carry_any_bytes() -> None:
    assert (
        address("shares/b/s/ls", {"path": b"a b/\xff%&", "at": "GMT+1"})
        == "/api/v1/shares/b/s/ls?path=a%20b%2F%FF%25%26&at=GMT%2B1"
    )
    assert address("users/ä?/x") == "/api/v1/users/%C3%A4%3F/x"
