"""Odd peers do not keep honest ones from being served. Real sockets, real TLS, short limits."""

import http.client
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from appliance.certificates import CERTIFICATE_FILE, KEY_FILE, write_certificate
from appliance.connections import LimitedServer, TlsAdapter
from appliance.settings import ServerSettings
from core.clock import SystemClock
from core.digest import digest_of
from tests.appliance.settable_clock import SUNDAY_MORNING

_PATIENCE_SECONDS = 20.0
_BLOCK_BYTES = 1024 * 1024


class Application:
    """Answers with what came; `/wait` answers when it is told to, `/early` without reading."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.go_on = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/wait":
            self.entered.release()
            assert self.go_on.wait(_PATIENCE_SECONDS)
        stream, length = environ["wsgi.input"], int(environ.get("CONTENT_LENGTH") or 0)
        body = b"" if path == "/early" else stream.read(length) if path != "/blocks" else b"".join(in_blocks(stream, length))
        answer = f"{environ['wsgi.url_scheme']} {path} {len(body)} {digest_of(body).hex()}".encode()
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]


def in_blocks(stream: Any, length: int) -> Iterator[bytes]:
    """Yield a body as the intake reads it."""
    while length > 0:
        block = stream.read(min(_BLOCK_BYTES, length))
        yield block
        length -= len(block) or length


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    write_certificate(folder, [], SUNDAY_MORNING)
    return folder


@pytest.fixture
def application() -> Iterator[Application]:
    made = Application()
    yield made
    made.go_on.set()


@contextmanager
def serving(application: Application, tls: Path | None, **limits: Any) -> Iterator[tuple[str, int]]:
    """Serve on a free port with the given limits and yield the address."""
    settings = ServerSettings(**{"threads": 4, "threads_per_address": 4, "idle_seconds": 60.0, "stop_seconds": 1.0, **limits})
    server = LimitedServer(("127.0.0.1", 0), application, settings, settings.threads, SystemClock())
    if tls is not None:
        server.ssl_adapter = TlsAdapter(str(tls / CERTIFICATE_FILE), str(tls / KEY_FILE))
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server.bind_addr
    finally:
        application.go_on.set()
        server.stop()
        thread.join()


def trusting(tls: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(tls / CERTIFICATE_FILE))


def ask(address: tuple[str, int], path: str = "/", body: bytes | None = None, tls: Path | None = None, source: str = "") -> str:
    """Return the answer to one request on a connection of its own."""
    options: dict[str, Any] = {"timeout": _PATIENCE_SECONDS, "source_address": (source, 0) if source else None}
    if tls is None:
        connection = http.client.HTTPConnection(*address, **options)
    else:
        connection = http.client.HTTPSConnection(*address, context=trusting(tls), **options)
    try:
        connection.request("POST" if body is not None else "GET", path, body)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def connect(address: tuple[str, int], said: bytes = b"") -> socket.socket:
    peer = socket.create_connection(address, _PATIENCE_SECONDS)
    peer.sendall(said)
    return peer


def is_ended(peer: socket.socket) -> bool:
    """Tell whether the other side ends the connection, an answer before that or not."""
    try:
        while peer.recv(4096):
            pass
    except ConnectionError:
        pass
    return True


def test_bytes_come_through_tls_unharmed(application: Application, tls: Path) -> None:
    body = bytes(range(256)) * 40_000
    with serving(application, tls) as address:
        for _ in range(2):
            assert ask(address, "/x", body, tls) == f"https /x {len(body)} {digest_of(body).hex()}"


@pytest.mark.parametrize("piece_bytes", [1000, 10_022, 100_000, 262_144])
def test_a_body_in_tls_records_of_any_length_is_read_whole(application: Application, tls: Path, piece_bytes: int) -> None:
    body = bytes(range(256)) * 10_000
    pieces = (body[start : start + piece_bytes] for start in range(0, len(body), piece_bytes))
    with serving(application, tls) as address:
        connection = http.client.HTTPSConnection(*address, context=trusting(tls), timeout=_PATIENCE_SECONDS)
        connection.request("PUT", "/blocks", pieces, {"Content-Length": str(len(body))})
        answer = connection.getresponse().read().decode()
        connection.close()
    assert answer == f"https /blocks {len(body)} {digest_of(body).hex()}"


def test_old_tls_is_refused(application: Application, tls: Path) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with serving(application, tls) as address, connect(address) as peer, pytest.raises((ssl.SSLError, ConnectionError)):
        old.wrap_socket(peer)


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x00" * 300])
def test_peers_that_do_not_shake_hands_hold_nobody_up(application: Application, tls: Path, said: bytes) -> None:
    with serving(application, tls, threads=2, header_seconds=0.3, idle_seconds=0.5) as address, ExitStack() as stack:
        peers = [stack.enter_context(connect(address, said)) for _ in range(20)]
        assert ask(address, tls=tls).startswith("https /")
        assert all(is_ended(peer) for peer in peers)


def test_idle_connections_hold_no_worker(application: Application) -> None:
    with serving(application, None, threads=2) as address, ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(address))
        assert ask(address).startswith("http /")


def test_a_head_that_is_dripped_ends_at_its_deadline(application: Application) -> None:
    with serving(application, None, header_seconds=0.5) as address, connect(address, b"GET / HTTP/1.1\r\n") as peer:
        assert is_ended(peer)
        assert ask(address).startswith("http /")


def test_a_body_below_the_smallest_rate_ends(application: Application) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    with serving(application, None, body_grace_seconds=0.5, body_bytes_per_second=1000) as address:
        with connect(address, head + b"x" * 100) as peer:
            assert is_ended(peer)
        assert ask(address, "/", b"x" * 100_000).startswith("http / 100000 ")


def test_one_address_does_not_get_all_workers(application: Application) -> None:
    with serving(application, None, threads=3, threads_per_address=2) as address, ExitStack() as stack:
        request = b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n"
        peers = [stack.enter_context(connect(address, request)) for _ in range(6)]
        for _ in range(2):
            assert application.entered.acquire(timeout=_PATIENCE_SECONDS)
        assert ask(address, source="127.0.0.2").startswith("http /")
        assert not application.entered.acquire(blocking=False)
        application.go_on.set()
        assert all(peer.recv(4096).startswith(b"HTTP/1.1 200") for peer in peers)


def test_connections_are_bounded_for_one_address_and_for_all(application: Application) -> None:
    with serving(application, None, connections=6, connections_per_address=4) as address, ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(connect(address))
        assert is_ended(stack.enter_context(connect(address)))
        assert ask(address, source="127.0.0.2").startswith("http /")
    with serving(application, None, connections=2) as address, ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(address))
        assert is_ended(stack.enter_context(connect(address)))


def test_a_connection_that_ended_is_not_counted_any_more(application: Application) -> None:
    with serving(application, None, connections=2) as address:
        answered = 0
        for _ in range(200):  # the server notices an end a moment later, on a busy machine some moments later
            with suppress(http.client.RemoteDisconnected, ConnectionResetError):
                answered += ask(address).startswith("http /")
            if answered == 20:
                return
        raise AssertionError(f"only {answered} of 200 connections were answered")


def test_a_body_that_nobody_read_is_thrown_away_and_the_connection_stays_in_step(application: Application, tls: Path) -> None:
    with serving(application, tls) as address:
        connection = http.client.HTTPSConnection(*address, context=trusting(tls), timeout=_PATIENCE_SECONDS)
        for path in ("/early", "/x"):
            connection.request("POST", path, b"GET /forged HTTP/1.1\r\n\r\n" * 10_000)
            assert path in connection.getresponse().read().decode()
        connection.close()


def test_a_chunked_body_ends_the_connection(application: Application) -> None:
    head = b"POST /early HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with (
        serving(application, None) as address,
        connect(address, head + b"5\r\nhello\r\n0\r\n\r\nGET /forged HTTP/1.1\r\n\r\n") as peer,
    ):
        answer = b""
        while piece := peer.recv(4096):
            answer += piece
    assert answer.count(b"HTTP/1.1 200") == 1 and b"forged" not in answer


def test_requests_that_came_together_are_all_answered(application: Application, tls: Path) -> None:
    with serving(application, tls) as address, ExitStack() as stack:
        peer = stack.enter_context(connect(address))
        secure = stack.enter_context(trusting(tls).wrap_socket(peer, server_hostname="localhost"))
        secure.sendall(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(5)))
        answer = b""
        while b"/4 " not in answer:
            answer += secure.recv(4096)
    assert answer.count(b"HTTP/1.1 200") == 5


def test_huge_heads_and_bodies_are_refused(application: Application) -> None:
    with serving(application, None) as address:
        with connect(address, b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 100_000 + b"\r\n\r\n") as peer:
            assert b" 413 " in peer.recv(4096)
        with connect(address, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n") as peer:
            assert b" 413 " in peer.recv(4096)
