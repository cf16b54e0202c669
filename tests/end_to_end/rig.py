"""An appliance and an agent as an operator runs them: the installed commands, TLS on loopback, real folders."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
PASSWORD = "correct horse battery staple"


class Outcome:
    """How a command ended."""

    def __init__(self, code: int, out: bytes, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Rig:
    """Below one folder: `root` (appliance), `agent` (state), `share` (what is protected)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root, self.state, self.share = folder / "root", folder / "agent", folder / "share"
        self.share.mkdir(exist_ok=True)
        self.server: subprocess.Popen[str] | None = None
        self.agent_process: subprocess.Popen[str] | None = None
        self.url = ""
        self.port = 0

    def init(self) -> None:
        password = self.folder / "password"
        password.write_text(PASSWORD + "\n")
        self.appliance("init", str(self.root), "--admin-password-file", str(password))

    def serve(self, *, wrapper: list[str] | None = None) -> str:
        words = [
            *(wrapper or []),
            str(BIN / "stagekeeper"),
            "serve",
            "--root",
            str(self.root),
            "--listen",
            f"127.0.0.1:{self.port}",
        ]
        self.server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self.server.stdout is not None
        line = self.server.stdout.readline()
        if line.startswith("listening on "):
            self.url = line.split()[-1]
            self.port = int(self.url.rpartition(":")[2])
        return line

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.server is not None
        if self.server.poll() is None:
            os.killpg(self.server.pid, number)
        code = self.server.wait(60)
        self.server = None
        return code

    def enroll(self, branch: str = "leeds", share: str = "data") -> None:
        code = self.appliance("branch", "add", branch).json["code"]
        self.agent("enroll", self.url, code)
        self.agent("protect", str(self.share), "--as", share)

    def appliance(self, *words: str, check: bool = True) -> Outcome:
        extra = ["--json"] if words[0] not in ("init",) and "-" not in words[-1:] and words[0] != "cat" else []
        root = [] if words[0] == "init" else ["--root", str(self.root)]
        return run([str(BIN / "stagekeeper"), *words, *root, *extra], check)

    def agent(self, *words: str, check: bool = True) -> Outcome:
        return run([str(BIN / "stagekeeper-agent"), words[0], "--state", str(self.state), *words[1:]], check)

    def start_agent(self) -> None:
        words = [str(BIN / "stagekeeper-agent"), "run", "--state", str(self.state)]
        self.agent_process = subprocess.Popen(words, text=True, start_new_session=True)

    def stop_agent(self, number: int = signal.SIGTERM) -> int:
        assert self.agent_process is not None
        if self.agent_process.poll() is None:
            os.killpg(self.agent_process.pid, number)
        code = self.agent_process.wait(60)
        self.agent_process = None
        return code

    def look(self, timeout: int = 300) -> None:
        self.agent("run", "--once", "--timeout", str(timeout))

    def close(self) -> None:
        for process in (self.agent_process, self.server):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def run(words: list[str], check: bool = True, **more: Any) -> Outcome:
    """Run a command; with `check` fail the test loudly when it does."""
    done = subprocess.run(words, capture_output=True, **more)
    outcome = Outcome(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
    if check and outcome.code:
        raise AssertionError(f"{' '.join(words)} ended with {outcome.code}:\n{outcome.err}\n{outcome.out[-2000:]!r}")
    return outcome


def until(condition: Any, seconds: float = 30.0) -> float:
    """Wait until a condition holds; return how long it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise AssertionError(f"not so within {seconds} s")
        time.sleep(0.02)
    return time.monotonic() - began
