"""What peers may cost: connections without workers until they speak, deadlines, and a share for each address.

Cheroot by itself does the TLS handshake in the thread that accepts, gives each new connection a worker before it said
anything, lets a peer drip bytes for ever, and reads what is left of a refused body into memory: each of them stops or
bloats a server with a few odd peers. What stays possible: a peer that takes an answer slowly holds a worker as long as
each single write moves within `idle_seconds`; `threads_per_address` bounds how many.
"""

import logging
import socket
import ssl
import threading
from collections import Counter, deque
from typing import Any

from cheroot.errors import FatalSSLAlert
from cheroot.makefile import MakeFile
from cheroot.server import HTTPConnection, HTTPRequest
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server

from appliance.pace import Pace, PacedReader
from appliance.settings import ServerSettings
from core.clock import Clock

_LOG = logging.getLogger("stagekeeper.server")
_BACKLOG = 512  # connections that the kernel holds until they are accepted
_MAX_HEADER_BYTES = 64 * 1024
_MAX_BODY_BYTES = 65 * 1024 * 1024  # one part of an upload is 64 MiB; the web side refuses less by name
_DISCARD_BYTES = 256 * 1024


class TlsAdapter(BuiltinSSLAdapter):
    """TLS 1.2 or newer; the handshake is left to the worker that serves the connection."""

    def __init__(self, certificate: str, key: str) -> None:
        super().__init__(certificate, key)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2

    def wrap(self, sock: socket.socket) -> tuple[socket.socket, dict[str, str]]:
        """Return the socket with TLS laid over it and what requests say about it; nothing is sent or received."""
        tls = self.context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return tls, {"wsgi.url_scheme": "https", "HTTPS": "on"}


class PacedRequest(HTTPRequest):
    """A request whose head has a deadline and whose body has a pace."""

    def parse_request(self) -> None:
        """Shake hands when that is still to be done, then read the head."""
        self.conn.pace.begin_request()
        self.conn.shake_hands()
        super().parse_request()

    def respond(self) -> None:
        """Answer the request."""
        self.conn.pace.begin_body()
        super().respond()

    def send_headers(self) -> None:
        """Send the answer's head; what is left of the body is thrown away in small pieces before."""
        if self.chunked_read:
            self.close_connection = True  # its end was not looked for: what follows might pass for a request
        if not self.close_connection:
            while getattr(self.rfile, "remaining", 0) > 0 and self.rfile.read(_DISCARD_BYTES):
                pass
        super().send_headers()


class PacedConnection(HTTPConnection):
    """A connection that is counted, and waits without a worker until its peer says something."""

    RequestHandlerClass = PacedRequest

    def __init__(self, server: "LimitedServer", sock: socket.socket, makefile: Any = MakeFile) -> None:
        self.pace = Pace(server.limits, server.clock)
        self.fresh = True
        self._makefile = makefile
        self._shaken = not isinstance(sock, ssl.SSLSocket)
        self._counted = False
        super().__init__(server, sock, self._make_file)

    def shake_hands(self) -> None:
        """Do the TLS handshake, once."""
        if self._shaken:
            return
        self.socket.settimeout(self.pace.wait_seconds())
        try:
            self.socket.do_handshake()
        except OSError as error:  # of every kind: what the peer sent is no TLS, or came too late
            raise FatalSSLAlert(*error.args) from error
        self._shaken = True

    def communicate(self) -> bool:
        """Serve one request and tell whether the connection stays."""
        try:
            return bool(super().communicate())  # type: ignore[no-untyped-call]
        finally:
            self.server.leave(self)

    def admit(self) -> bool:
        """Be counted; return False when there are too many already."""
        self._counted = self.server.count(self)
        return self._counted

    def close(self) -> None:
        """Close the socket; may be called twice."""
        if self._counted:
            self._counted = False
            self.server.uncount(self)
        super().close()

    def _make_file(self, sock: socket.socket, mode: str, buffer_bytes: int) -> Any:
        if "r" in mode:
            return PacedReader(sock, buffer_bytes, self.pace)
        return self._makefile(sock, mode, buffer_bytes)


class LimitedServer(Server):
    """A WSGI server with limits for all peers and for each address."""

    ConnectionClass = PacedConnection

    def __init__(self, address: Any, app: Any, limits: ServerSettings, threads: int, clock: Clock, **options: Any) -> None:
        super().__init__(
            address,
            app,
            numthreads=threads,
            server_name="Stagekeeper",
            request_queue_size=_BACKLOG,
            timeout=limits.idle_seconds,  # type: ignore[arg-type]  # any number will do
            shutdown_timeout=limits.stop_seconds,  # type: ignore[arg-type]
            **options,
        )
        self.limits = limits
        self.clock = clock
        self.max_request_header_size = _MAX_HEADER_BYTES
        self.max_request_body_size = _MAX_BODY_BYTES
        self.keep_alive_conn_limit = limits.connections
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._busy: Counter[str] = Counter()
        self._waiting: dict[str, deque[PacedConnection]] = {}

    def process_conn(self, conn: PacedConnection) -> None:
        """Take a connection that is new, or has something to say: the one waits, the other gets a worker in turn."""
        if conn.fresh:
            conn.fresh = False
            if conn.admit():
                self.put_conn(conn)
            else:
                conn.close()
            return
        with self._lock:
            if self._busy[_address(conn)] >= self.limits.threads_per_address:
                self._waiting.setdefault(_address(conn), deque()).append(conn)
                return
            self._busy[_address(conn)] += 1
        super().process_conn(conn)

    def leave(self, conn: PacedConnection) -> None:
        """Give the worker's place to the next connection of the same address."""
        address = _address(conn)
        with self._lock:
            queue = self._waiting.get(address)
            following = queue.popleft() if queue else None
            if following is None:
                self._waiting.pop(address, None)
                self._busy[address] -= 1
                if self._busy[address] <= 0:
                    del self._busy[address]
        if following is not None:
            super().process_conn(following)

    def count(self, conn: PacedConnection) -> bool:
        """Count an open connection; return False, and do not, when there are too many."""
        address = _address(conn)
        with self._lock:
            if self._open.total() >= self.limits.connections:
                return False
            if self._open[address] >= self.limits.connections_per_address:
                return False
            self._open[address] += 1
            return True

    def uncount(self, conn: PacedConnection) -> None:
        """Forget a connection that was counted."""
        address = _address(conn)
        with self._lock:
            self._open[address] -= 1
            if self._open[address] <= 0:
                del self._open[address]

    def error_log(self, msg: str = "", level: int = logging.INFO, traceback: bool = False) -> None:
        """Log what matters; peers that go away or speak nonsense do not."""
        _LOG.log(logging.DEBUG if level <= logging.WARNING else level, "%r", msg, exc_info=traceback)


def _address(conn: PacedConnection) -> str:
    return conn.remote_addr or ""
