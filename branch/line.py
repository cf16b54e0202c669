"""One persistent HTTPS connection to the appliance, and what its answers mean.

Bodies have a Content-Length; an answer is whole or an error. A request on a connection that the other side closed
meanwhile is made once more on a new one (every request of the protocol may be repeated). Errors: `Unreachable` and
`ApplianceBusy` (try later), `ApplianceRefused` (refused by name), `CertificateMismatch`.
"""

import contextlib
import http.client
import json
import socket
import ssl
import struct
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from branch.certificate import CertificateMismatch, fingerprint_of, mismatch
from branch.pacer import HeldBack, Pacer
from core.errors import Refused, TryLater

_MAX_ANSWER_BYTES = 16 * 1024 * 1024  # the longest answer, `missing`, is far below
_BYTES_RECEIVED = struct.Struct("<Q")  # fields of struct tcp_info (linux/tcp.h): u64 at 128 and at 200, 208
_RECEIVED_AT, _SENT_AT, _RETRANSMITTED_AT = 128, 200, 208
_BUSY_STATUS = frozenset({408, 425, 429})
_CLOSED = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)


class AddressUnreadable(Refused):
    """The appliance's address is none."""


class Unreachable(TryLater):
    """The appliance cannot be reached."""


class ApplianceBusy(TryLater):
    """The appliance asks to try later, or has a fault of its own."""


class ApplianceRefused(Refused):
    """The appliance refused a request by name; `expected` tells what would fit."""

    def __init__(self, name: str, message: str, remedy: str, status: int, expected: dict[str, Any]) -> None:
        super().__init__(message, remedy=remedy)
        self.name, self.status, self.expected = name, status, expected

    @property
    def type(self) -> str:
        """Return the appliance's own name for the refusal."""
        return self.name


@dataclass(frozen=True, slots=True)
class Address:
    """Where the appliance listens."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """Return the address as text."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"


def parse_address(url: str) -> Address:
    """Read `https://HOST[:PORT]`; raise `AddressUnreadable`."""
    try:
        parts = urlsplit(url)
        if parts.scheme == "https" and parts.hostname and parts.path in ("", "/") and not (parts.query or parts.username):
            return Address(parts.hostname, parts.port or 443)
    except ValueError:
        pass
    raise AddressUnreadable(f"not an address of an appliance: {url}", remedy="write it like https://backup.example:8443")


class Line:
    """A connection, opened when first needed. One thread at a time uses it; `abort` may come from another."""

    def __init__(self, address: Address, context: ssl.SSLContext, timeout_seconds: float, certificate_der: bytes | None) -> None:
        """Talk to `address`; `certificate_der` is the only certificate accepted (None: any)."""
        self._address, self._context, self._timeout = address, context, timeout_seconds
        self._certificate_der = certificate_der
        self._connection: http.client.HTTPSConnection | None = None
        self._counted = 0
        self.wire_bytes = 0

    def peer_certificate(self) -> bytes:
        """Connect if needed and return the other side's certificate (DER)."""
        connection = self._connection or self._connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        return connection.sock.getpeercert(binary_form=True) or b""

    def request(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, pacer: Pacer | None = None
    ) -> bytes:  # fmt: skip
        """Send one request and return the body of its answer; `wire_bytes` grows by all that went over the wire.

        With a `pacer` the body is sent as that lets it pass, or given up with its `HeldBack`.
        """
        is_new = self._connection is None
        try:
            return self._request(method, path, body, headers or {}, pacer)
        except HeldBack:  # perhaps in the middle of a body: nothing else can be said on this connection
            self.close()
            raise
        except _CLOSED as error:
            self.close()
            if is_new:
                raise self._unreachable(error) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error
        try:
            return self._request(method, path, body, headers or {}, pacer)
        except HeldBack:
            self.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error

    def abort(self) -> None:
        """Break the connection from another thread, so that whoever waits on it goes on."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with contextlib.suppress(OSError):  # already closed
                connection.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; may be called twice."""
        if self._connection is not None:
            self._count()
            self._connection.close()
            self._connection = None

    def _request(self, method: str, path: str, body: bytes, headers: dict[str, str], pacer: Pacer | None) -> bytes:
        with pacer.turn() if pacer is not None else contextlib.nullcontext():  # before connecting: a new one may not idle
            connection = self._connection or self._connect()
            pieces = pacer.pieces(body) if pacer is not None and body else body or None
            connection.request(method, path, body=pieces, headers={"Content-Length": str(len(body)), **headers})
        response = connection.getresponse()
        answer = response.read(_MAX_ANSWER_BYTES + 1)
        if len(answer) > _MAX_ANSWER_BYTES or response.length:
            raise http.client.IncompleteRead(answer, response.length)
        self._count()
        if response.will_close:
            self.close()
        if response.status != 200:
            raise _refusal(response.status, answer)
        return answer

    def _connect(self) -> http.client.HTTPSConnection:
        connection = http.client.HTTPSConnection(
            self._address.host, self._address.port, timeout=self._timeout, context=self._context
        )
        try:
            connection.connect()
        except ssl.SSLCertVerificationError as error:
            raise mismatch(error.verify_message) from error
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        self._connection, self._counted = connection, 0
        self._check_certificate()
        return connection

    def _check_certificate(self) -> None:
        if self._certificate_der is not None:
            found = self.peer_certificate()
            if found != self._certificate_der:
                self.close()
                raise mismatch(f"its certificate's fingerprint is {fingerprint_of(found)}")

    def _count(self) -> None:
        """Add what the kernel counted on this connection since the last time."""
        if self._connection is None or self._connection.sock is None:
            return
        try:
            info = self._connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
            sent, received, retransmitted = (
                _BYTES_RECEIVED.unpack_from(info, offset)[0] for offset in (_SENT_AT, _RECEIVED_AT, _RETRANSMITTED_AT)
            )
        except (OSError, struct.error):  # closed, or an older kernel
            return
        total = sent + received - retransmitted
        self.wire_bytes += total - self._counted
        self._counted = total

    def _unreachable(self, error: Exception) -> TryLater | Refused:
        if isinstance(error, TryLater | CertificateMismatch):
            return error
        return Unreachable(
            f"{self._address.url} cannot be reached: {error or type(error).__name__}",
            remedy="changes are kept here until it can; check the network and the appliance",
        )


def _refusal(status: int, answer: bytes) -> TryLater | ApplianceRefused:
    try:
        document = json.loads(answer)
        error = document["error"]
        name, message, remedy = str(error["type"]), str(error["message"]), str(error.get("remedy", ""))
        expected = dict(error.get("expected") or document.get("expected") or {})
    except (ValueError, KeyError, TypeError, AttributeError):
        name, message, remedy, expected = f"http_{status}", f"the appliance answered with status {status}", "", {}
    if status >= 500 or status in _BUSY_STATUS:
        return ApplianceBusy(message, remedy=remedy or "it is tried again by itself")
    return ApplianceRefused(name, message, remedy, status, expected)
