"""A small appliance for the agent's tests: the real receiver and journal, chunks in memory, served over real HTTPS."""

import contextlib
import datetime
import hashlib
import json
import secrets
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from core.clock import SystemClock
from core.digest import Digest
from core.errors import StagekeeperError
from staging.changes import Barrier
from staging.chunk_format import ChunkKind, PackedChunk, checked_bytes
from staging.frame_format import Frame, unpack_frame
from staging.journal import Cursor, Journal
from staging.protocol import CONTENTS_TASK, Open, PeerRefused, Task, Tasks
from staging.receiver import ChunkMissing, Key, ShareReceiver
from staging.recipe_format import decode_node, read_pieces

TOKEN = "branch-token"


class BranchRevoked(PeerRefused):
    """The branch's token is no longer good."""


class MemoryStore:
    """Chunks in a dict; a node whose parts are missing is refused by name."""

    def __init__(self) -> None:
        self.chunks: dict[Key, bytes] = {}
        self.asked = self.put_chunks = 0
        self._gate = threading.RLock()

    def missing(self, domain: str, keys: Iterable[Key]) -> list[Key]:
        asked = list(keys)
        self.asked += len(asked)
        return [key for key in asked if key not in self.chunks]

    def put(self, domain: str, chunks: Iterable[PackedChunk]) -> None:
        for chunk in chunks:
            data = bytes(checked_bytes(chunk))
            if chunk.kind is ChunkKind.NODE:
                level, pieces = decode_node(data)
                kind = ChunkKind.NODE if level else ChunkKind.DATA
                absent = [
                    (kind, piece.digest) for piece in pieces if not piece.is_hole and (kind, piece.digest) not in self.chunks
                ]
                if absent:
                    raise ChunkMissing("parts are missing", missing=[f"{k.value}:{d.hex()}" for k, d in absent])
            self.put_chunks += 1
            self.chunks[chunk.kind, chunk.digest] = data

    def sizes(self, keys: Iterable[Key]) -> dict[Key, int]:
        return {key: self._size_of(*key) for key in keys}

    def _size_of(self, kind: ChunkKind, digest: Digest) -> int:
        data = self.chunks[kind, digest]
        return sum(piece.length for piece in decode_node(data)[1]) if kind is ChunkKind.NODE else len(data)

    def gate(self) -> AbstractContextManager[None]:
        return _Gate(self._gate)

    def content(self, content: Any) -> bytes:
        """Return the bytes of a content, holes as zeros."""
        fetch = lambda digest: self.chunks[ChunkKind.NODE, digest]  # noqa: E731
        pieces = read_pieces(content, fetch)
        return b"".join(bytes(p.length) if p.is_hole else self.chunks[ChunkKind.DATA, Digest(p.digest)] for p in pieces)


class _Gate(contextlib.AbstractContextManager[None]):
    def __init__(self, lock: Any) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


Fault = Callable[[str, str], str]
"""(method, last part of the path) → "" | "cut" (before it is worked on) | "drop" (the answer) | "busy"."""


class Target:
    """The appliance: `start` and `stop` may be called again and again, what was durable stays."""

    def __init__(self, directory: Path, store: MemoryStore | None = None) -> None:
        self.directory = directory
        self.store = store or MemoryStore()
        self.certificate, self._key = _make_certificate(directory)
        self.codes = {"once"}
        self.is_revoked = False
        self.fault: Fault = lambda method, name: ""
        self.requests: list[str] = []
        self.poll_seconds = 30.0
        self.wanted: list[bytes] = []  # the files that every share is asked for
        self.port = 0
        self._journals: dict[str, Journal] = {}
        self._receivers: dict[str, ShareReceiver] = {}
        self._lock = threading.Lock()
        self._server: _Server | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def code(self) -> str:
        der = ssl.PEM_cert_to_DER_cert(self.certificate.read_text())
        return f"once.{hashlib.sha256(der).hexdigest()}"

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"target": self})
        server = _Server(("127.0.0.1", self.port), handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self._key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = server.server_address[1]
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_connections()
            self._server = None
        with self._lock:
            for journal in self._journals.values():
                journal.close()
            self._journals.clear()
            self._receivers.clear()

    def receiver(self, share: str, message: Open | None = None) -> ShareReceiver:
        with self._lock:
            found = self._receivers.get(share)
            if found is None:
                directory = self.directory / "journals" / share
                id_path = self.directory / f"{share}.id"
                if not id_path.exists():
                    if message is None:
                        raise FileNotFoundError("the share has not been opened yet")
                    id_path.write_bytes(message.share_id)
                share_id = id_path.read_bytes()
                journal = self._journals[share] = Journal(directory, share_id, SystemClock())
                found = ShareReceiver(share_id, "branch", journal, self.store, lambda: secrets.token_hex(8))
                self._receivers[share] = found
            return found

    def frames(self, share: str = "data") -> Iterator[Frame]:
        """Yield everything durable of a share."""
        self.receiver(share)
        for record in self._journals[share].read(Cursor()):
            if record.header is not None:
                yield unpack_frame(record.payload, record.header)

    def barrier(self, share: str, sequence: int) -> dict[str, Any]:
        """Answer like an appliance whose fold is at the end."""
        snapshot = None
        for frame in self.frames(share):
            for number, change in enumerate(frame.changes, start=frame.header.first_sequence):
                if number == sequence and isinstance(change, Barrier):
                    consistency = change.consistency.name.lower()
                    snapshot = {"id": number, "sequence": number, "label": change.label, "consistency": consistency}
        return {"folded_sequence": self.durable(share), "snapshot": snapshot}

    def durable(self, share: str = "data") -> int:
        """Return the last durable sequence of a share."""
        self.receiver(share)
        return self._journals[share].durable.sequence


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self._open: set[Any] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections are cut on purpose here."""

    def close_connections(self) -> None:
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(2)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    target: Target
    wbufsize = -1

    def log_message(self, *_: object) -> None:
        """Stay quiet."""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_PUT = do_GET

    def _serve(self) -> None:
        name = self.path.rsplit("/", 1)[-1]
        fault = self.target.fault(self.command, name)
        length = int(self.headers["Content-Length"] or 0)
        if fault == "cut":
            self.rfile.read(length // 2)
            self._cut()
            return
        body = self.rfile.read(length)
        if len(body) < length:
            self._cut()
            return
        self.target.requests.append(name)
        try:
            status, answer = (503, _error("busy", "try later")) if fault == "busy" else (200, self._answer(name, body))
        except StagekeeperError as error:
            status, answer = 409, _error(error.type, error.message, getattr(error, "expected", {}))
        if fault == "drop":
            self._cut()
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _cut(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(2)

    def _answer(self, name: str, body: bytes) -> bytes:
        target = self.target
        if name == "enroll":
            token = json.loads(body)["token"]
            if token not in target.codes:
                raise PeerRefused("unknown code")
            target.codes.discard(token)
            return json.dumps({"branch": "branch", "token": TOKEN}).encode()
        if target.is_revoked or self.headers["Authorization"] != f"Bearer {TOKEN}":
            raise BranchRevoked("the branch is revoked")
        if "/barriers/" in self.path:
            return json.dumps(target.barrier(self.path.split("/")[-3], int(name))).encode()
        return self._share_answer(self.path.split("/")[-2], name, body)

    def _share_answer(self, share: str, name: str, body: bytes) -> bytes:
        if name == "open":
            message = msgspec.json.decode(body, type=Open)
            opened = self.target.receiver(share, message).open(message)
            return msgspec.json.encode(msgspec.structs.replace(opened, poll_seconds=self.target.poll_seconds))
        receiver = self.target.receiver(share)
        if name == "tasks":
            return msgspec.json.encode(
                Tasks([Task(CONTENTS_TASK, path) for path in self.target.wanted], self.target.poll_seconds)
            )
        if name == "frames":
            return msgspec.json.encode(receiver.frames(self.headers["X-Stagekeeper-Session"], body))
        if name == "missing":
            return receiver.missing(body)
        if hasattr(receiver, "check_session"):
            receiver.check_session(self.headers["X-Stagekeeper-Session"])
        receiver.chunks(body)
        return b"{}"


def _error(name: str, message: str, expected: dict[str, Any] | None = None) -> bytes:
    return json.dumps({"error": {"type": name, "message": message, "remedy": "", "expected": expected or {}}}).encode()


def _make_certificate(directory: Path) -> tuple[Path, Path]:
    directory.mkdir(parents=True, exist_ok=True)
    certificate_path, key_path = directory / "certificate.pem", directory / "key.pem"
    if certificate_path.exists():
        return certificate_path, key_path
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stagekeeper")])
    now = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)  # long over: the fingerprint counts, not the date
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=30))
        .sign(key, hashes.SHA256())
    )
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    no_encryption = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, no_encryption)
    key_path.write_bytes(pem)
    return certificate_path, key_path
