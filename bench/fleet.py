"""An appliance under load: many branches, each with a share, driven over TLS by processes of their own."""

import functools
import secrets
import signal
import ssl
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance.cli.late import open_locally
from appliance.console import open_console
from appliance.settings import Environment
from branch.certificate import pinned_context
from branch.effort import Effort
from branch.enrolment import enroll
from branch.line import Line, parse_address
from branch.pacer import Pacer
from branch.share_line import LinePool, ShareLine
from branch.wire import WireBill, WireMeter
from core.clock import SystemClock
from core.digest import Digest
from staging.changes import Attributes, Change, Create, Kind, Mirror
from staging.frame_format import read_header, seal_frame
from staging.protocol import Open

_BIN = Path(sys.executable).parent
_TIMEOUT_SECONDS = 120.0
SHARE = "data"
PLAIN = Attributes(0o644, 0, 0, 0)


@dataclass(frozen=True)
class Branch:
    """What a process needs to speak as a branch."""

    name: str
    url: str
    token: str
    certificate_pem: str


class Fleet:
    """A serving appliance with enrolled branches."""

    def __init__(self, folder: Path) -> None:
        """Make an appliance below `folder` and serve it."""
        password = folder / "password"
        password.write_text("a long bench password\n")
        root = folder / "root"
        subprocess.run([_BIN / "stagekeeper", "init", root, "--admin-password-file", password], check=True, capture_output=True)
        self._serve(root)

    @classmethod
    def of(cls, root: Path) -> "Fleet":
        """Serve an appliance that stands already."""
        fleet = cls.__new__(cls)
        fleet._serve(root)
        return fleet

    def _serve(self, root: Path) -> None:
        self.root = root
        self.server = subprocess.Popen(
            [_BIN / "stagekeeper", "serve", "--root", root, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.server.stdout is not None
        self.url = self.server.stdout.readline().split()[-1]
        with ExitStack() as stack:  # a console of a serving appliance has nothing to close
            self.console = open_console(root, Environment(None, None), open_locally, stack)

    def enrol(self, name: str) -> Branch:
        """Enrol a branch."""
        made = enroll(self.url, self.console.ask("POST", "branches", body={"name": name})["code"], _TIMEOUT_SECONDS)
        return Branch(made.branch, self.url, made.token, made.certificate)

    def wait_folded(self, *names: str) -> None:
        """Return when all that is durable of some shares is folded."""
        for name in names:
            while True:
                row = self.console.ask("GET", f"shares/{name}")
                if row["folded_sequence"] == row["durable_sequence"]:
                    break
                time.sleep(0.05)

    def end(self) -> None:
        """Stop the appliance."""
        self.server.send_signal(signal.SIGTERM)
        self.server.wait()


class Sender:
    """A branch's session: seals frames in a chain and sends them, and polls as an agent does that has nothing to send."""

    def __init__(self, branch: Branch, share_id: bytes | None = None) -> None:
        """Open a session of the branch's share; it is new unless an id is given, and is gone on with."""
        address, context = parse_address(branch.url), _context(branch.certificate_pem)
        self._pool = LinePool(lambda: Line(address, context, _TIMEOUT_SECONDS, None), branch.token)
        clock = SystemClock()
        pacer = Pacer([], clock, lambda seconds: datetime.fromtimestamp(seconds, UTC), threading.Event().wait)
        self._line = ShareLine(self._pool, SHARE, WireMeter(WireBill()), pacer, Effort(clock))
        self._share_id = share_id or secrets.token_bytes(16)
        opened = self._line.open(Open(self._share_id, 1))
        self._line.session = opened.session
        self._sequence, self._hash = opened.durable_sequence, Digest(opened.durable_hash)
        self.poll()

    def seal(self, paths: list[bytes], changes: list[Change]) -> bytes:
        """Return the next frame of the chain."""
        frame = seal_frame(self._share_id, 1, self._sequence + 1, self._hash, paths, changes)
        self._sequence, self._hash = self._sequence + len(changes), Digest(read_header(frame).hash)
        return frame

    def begin(self, path: bytes) -> None:
        """Lay an empty file as the whole baseline."""
        self.send(self.seal([path], [Mirror(True), Create(0, Kind.FILE, PLAIN), Mirror(False)]))

    def send(self, frames: bytes) -> None:
        """Send frames; they are durable on return."""
        self._line.frames(frames, 0, 0)

    def poll(self) -> None:
        """Ask for tasks, on the connection that was kept, and learn when to ask again."""
        self.poll_seconds = self._line.tasks().poll_seconds

    def close(self) -> None:
        """Close the connection."""
        self._pool.close()


@functools.cache
def _context(certificate_pem: str) -> ssl.SSLContext:
    return pinned_context(certificate_pem)  # one for hundreds of agents of a process; a connection has a session of its own
