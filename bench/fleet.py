"""An appliance under load: many branches, each with a share, driven over TLS by processes of their own."""

import json
import secrets
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from branch.certificate import pinned_context
from branch.enrolment import enroll
from branch.line import Line, parse_address
from core.digest import ZERO_DIGEST, Digest
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
        """Make and serve an appliance below `folder`."""
        self.root = folder / "root"
        password = folder / "password"
        password.write_text("a long bench password\n")
        subprocess.run(
            [_BIN / "stagekeeper", "init", self.root, "--admin-password-file", password], check=True, capture_output=True
        )
        self.server = subprocess.Popen(
            [_BIN / "stagekeeper", "serve", "--root", self.root, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self.server.stdout is not None
        self.url = self.server.stdout.readline().split()[-1]

    def ask(self, *words: str) -> Any:
        """Return what a command answers."""
        command = [_BIN / "stagekeeper", *words, "--root", self.root, "--json"]
        return json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    def enrol(self, name: str) -> Branch:
        """Enrol a branch."""
        made = enroll(self.url, self.ask("branch", "add", name)["code"], _TIMEOUT_SECONDS)
        return Branch(made.branch, self.url, made.token, made.certificate)

    def end(self) -> None:
        """Stop the appliance."""
        self.server.send_signal(signal.SIGTERM)
        self.server.wait()


class Sender:
    """A branch's session: seals frames in a chain and sends them."""

    def __init__(self, branch: Branch) -> None:
        """Open a session of the branch's share, whose first life this is."""
        self._headers = {"Authorization": f"Bearer {branch.token}"}
        self._line = Line(parse_address(branch.url), pinned_context(branch.certificate_pem), _TIMEOUT_SECONDS, None)
        self._share_id = secrets.token_bytes(16)
        body = msgspec.json.encode(Open(self._share_id, 1))
        opened = msgspec.json.decode(self._line.request("POST", f"/intake/v1/shares/{SHARE}/open", body, self._headers))
        self._headers["X-Stagekeeper-Session"] = opened["session"]
        self._sequence, self._hash = 0, ZERO_DIGEST

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
        self._line.request("POST", f"/intake/v1/shares/{SHARE}/frames", frames, self._headers)

    def close(self) -> None:
        """Close the connection."""
        self._line.close()
