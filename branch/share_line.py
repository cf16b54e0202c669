"""What an agent says to the appliance: one method an endpoint, over a few connections that are lent out.

The wire bill of the share is kept here, since every byte passes here. Any thread may call; each call borrows a connection.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import msgspec

from branch.effort import Effort
from branch.line import ApplianceBusy, Line
from branch.pacer import Pacer
from branch.wire import WireMeter
from core.digest import Digest
from staging.chunk_format import ChunkKind, decode_keys, encode_keys
from staging.comparison import Answer, Question
from staging.protocol import Acknowledged, Open, Opened, Tasks

SESSION_HEADER = "X-Stagekeeper-Session"
_BYTES = "application/octet-stream"
MAX_KEYS = 20_000  # one question of `missing`

Key = tuple[ChunkKind, Digest]
_Answer = TypeVar("_Answer")


class LinePool:
    """Connections to one appliance, made when all others are lent out."""

    def __init__(self, new_line: Callable[[], Line], token: str) -> None:
        """Make connections with `new_line` and show `token` on each request."""
        self._new_line = new_line
        self._headers = {"Authorization": f"Bearer {token}"}
        self._lock = threading.Lock()
        self._idle: list[Line] = []
        self._lent: set[Line] = set()
        self._is_closed = False

    @contextmanager
    def borrow(self) -> Iterator[Line]:
        """Lend a connection."""
        with self._lock:
            if self._is_closed:
                raise ApplianceBusy("the agent is being stopped")
            line = self._idle.pop() if self._idle else self._new_line()
            self._lent.add(line)
        try:
            yield line
        finally:
            with self._lock:
                self._lent.discard(line)
                self._idle.append(line)

    def call(
        self, meter: WireMeter | None, method: str, path: str, body: bytes, headers: dict[str, str], pacer: Pacer | None = None
    ) -> tuple[bytes, int]:  # fmt: skip
        """Make one request, as fast as `pacer` lets it pass; return (answer, bytes on the wire)."""
        with self.borrow() as line:
            before = line.wire_bytes
            try:
                answer = line.request(method, path, body, self._headers | headers, pacer)
            except Exception:
                if meter is not None:
                    meter.add(line.wire_bytes - before)
                raise
            return answer, line.wire_bytes - before

    def close(self) -> None:
        """Break all connections, those in use too, and lend none from here on."""
        with self._lock:
            self._is_closed = True
            for line in self._lent:
                line.abort()
            for line in self._idle:
                line.close()
            self._idle.clear()


class ShareLine:
    """The endpoints of one share."""

    def __init__(self, pool: LinePool, share: str, meter: WireMeter, pacer: Pacer, effort: Effort) -> None:
        """Talk about `share` within its limit, adding to its bill; `effort` learns from each put."""
        self._pool, self._path, self._meter, self.pacer = pool, f"/intake/v1/shares/{share}/", meter, pacer
        self.effort = effort
        self.session = ""

    def tasks(self) -> Tasks:
        """Ask what the appliance wants of this share."""
        return _decode(self._call("GET", "tasks", b""), Tasks)

    def open(self, message: Open) -> Opened:
        """Begin a session."""
        answer = self._call("POST", "open", msgspec.json.encode(message), "application/json")
        return _decode(answer, Opened)

    def frames(self, body: bytes, payload_bytes: int, compressed_bytes: int) -> Acknowledged:
        """Send frames; they are durable up to the number in the answer."""
        answer = self._call("POST", "frames", body, payload=payload_bytes, compressed=compressed_bytes)
        return _decode(answer, Acknowledged)

    def missing(self, keys: list[Key]) -> set[Key]:
        """Ask which of these chunks the appliance does not hold for this branch."""
        found: set[Key] = set()
        for start in range(0, len(keys), MAX_KEYS):
            found.update(decode_keys(self._call("POST", "missing", encode_keys(keys[start : start + MAX_KEYS]))))
        return found

    def compare(self, question: Question) -> Answer:
        """Ask which folders are different on the appliance, with their names."""
        answer = self._call("POST", "compare", msgspec.msgpack.encode(question))
        try:
            return msgspec.msgpack.decode(answer, type=Answer)
        except msgspec.MsgspecError as error:
            raise ApplianceBusy(f"the appliance's answer cannot be read: {error}", remedy="upgrade the agent") from error

    def chunks(self, body: bytes, payload_bytes: int, compressed_bytes: int) -> None:
        """Put chunks; they are durable on return."""
        with self.effort.timed(len(body)):
            self._call("PUT", "chunks", body, payload=payload_bytes, compressed=compressed_bytes)

    def _call(
        self, method: str, name: str, body: bytes, content_type: str = _BYTES, payload: int = 0, compressed: int = 0
    ) -> bytes:
        headers = {"Content-Type": content_type}
        if self.session:
            headers[SESSION_HEADER] = self.session
        answer, wire_bytes = self._pool.call(self._meter, method, self._path + name, body, headers, self.pacer)
        self.pacer.charge(max(wire_bytes - len(body), 0))
        self._meter.add(wire_bytes, payload, compressed)
        if payload:
            self.pacer.answered()
        return answer


def _decode(answer: bytes, kind: type[_Answer]) -> _Answer:
    try:
        return msgspec.json.decode(answer, type=kind)
    except msgspec.MsgspecError as error:
        raise ApplianceBusy(f"the appliance's answer cannot be read: {error}", remedy="upgrade the agent") from error
