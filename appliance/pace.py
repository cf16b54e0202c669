"""How long a connection's reads may wait: a deadline for the head of a request, a smallest mean rate for its body."""

import socket
import ssl
from typing import Any

from cheroot.makefile import StreamReader

from appliance.settings import ServerSettings
from core.clock import Clock


class TooSlow(TimeoutError):
    """The peer took longer than it is given."""


class Pace:
    """The clock of one connection; used by the thread that serves it."""

    def __init__(self, settings: ServerSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._began_at = self._clock.monotonic()
        self._body_bytes: int | None = None  # None while the head is read

    @property
    def idle_seconds(self) -> float:
        """How long a single wait may last when nothing shorter is set."""
        return self._settings.idle_seconds

    def begin_request(self) -> None:
        """Start the deadline of handshake, request line and headers."""
        self._began_at = self._clock.monotonic()
        self._body_bytes = None

    def begin_body(self) -> None:
        """Start counting the body."""
        self._began_at = self._clock.monotonic()
        self._body_bytes = 0

    def wait_seconds(self) -> float:
        """Return how long the next read may wait; raise `TooSlow` when no time is left."""
        elapsed = self._clock.monotonic() - self._began_at
        if self._body_bytes is None:
            rest = self._settings.header_seconds - elapsed
        else:
            earned = self._body_bytes / self._settings.body_bytes_per_second
            rest = self._settings.body_grace_seconds + earned - elapsed
        if rest <= 0:
            raise TooSlow("timed out")  # the words that cheroot knows a time-out by
        return min(rest, self.idle_seconds)

    def count(self, received: int) -> None:
        """Count received bytes."""
        if self._body_bytes is not None:
            self._body_bytes += received


class PacedSocketIO(socket.SocketIO):
    """The raw reader below the buffer: asks the pace before each wait."""

    def __init__(self, sock: socket.socket, pace: Pace) -> None:
        super().__init__(sock, "rb")
        self._paced = sock
        self._pace = pace

    def readinto(self, buffer: Any) -> int | None:
        """Read once, waiting as long as the pace allows."""
        self._paced.settimeout(self._pace.wait_seconds())
        try:
            received = super().readinto(buffer)
        finally:
            self._paced.settimeout(self._pace.idle_seconds)  # writes share the socket, not the deadline
        self._pace.count(received or 0)
        return received


class PacedReader(StreamReader):
    """A connection's bytes, each read within the pace."""

    def __init__(self, sock: socket.socket, buffer_bytes: int, pace: Pace) -> None:
        super(StreamReader, self).__init__(PacedSocketIO(sock, pace), buffer_bytes)  # in place of a plain SocketIO
        self.bytes_read = 0
        self._buffer_bytes = buffer_bytes
        self._tls = sock if isinstance(sock, ssl.SSLSocket) else None

    def read(self, size: int | None = None) -> bytes:
        """Return exactly `size` bytes, or fewer at the end; large pieces are received in place."""
        if size is None or size <= self._buffer_bytes:
            return bytes(super().read(size))  # type: ignore[no-untyped-call]
        piece = bytearray(size)
        view = memoryview(piece)
        received = 0
        while received < size:
            # Not `readinto`: in the pure Python reader it fails when more is buffered than is still wanted (a TLS record
            # that reaches beyond the piece).
            count = self.readinto1(view[received:])
            if not count:
                break
            received += count
        self.bytes_read += received
        return bytes(view[:received])

    def has_data(self) -> bool:
        """Tell whether bytes are here already, also such that TLS holds: no selector reports those."""
        buffered = super().has_data()  # type: ignore[no-untyped-call]
        return bool(buffered) or (self._tls is not None and self._tls.pending() > 0)
