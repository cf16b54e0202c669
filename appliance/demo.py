"""The demo: an appliance, a branch agent, a sample share, a few rounds of edits, snapshots, an export, schedules.

Everything is done with the commands that an operator has, as child processes; the demo only calls them in order. Its folder
is kept, so that the next run goes on with the same data.
"""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from appliance.credentials import Chance, new_password
from appliance.sample_share import edit_sample, fill_sample
from core.durable import make_directories, remove_file, replace_file
from core.errors import StagekeeperError, TryLater
from core.signals import at_ending_signal

ACCOUNT = "admin"
SHARE = "leeds/documents"
_BRANCH, _NAME = SHARE.split("/")
_MAKING = "making"  # stands in the folder until the agent is enrolled
_PREFERRED_PORT = 8443
_ROUNDS = ("07:00", "12:00", "17:30")
_STOP_SECONDS = 30

Say = Callable[[str], None]


class DemoFailed(StagekeeperError):
    """A step of the demo did not do what it should."""


class DemoEnded(Exception):
    """Ctrl-C or SIGTERM came before everything was made."""


class PortTaken(TryLater):
    """Something else listens where the demo's appliance was enrolled."""


class Demo:
    """One run of the demo below a folder."""

    def __init__(self, folder: Path, chance: Chance, say: Say) -> None:
        """Bind the folder; nothing is done before `begin`."""
        self.folder, self._chance, self._say = folder.absolute(), chance, say
        self.root = self.folder / "appliance"
        self.state = self.folder / "agent"
        self.share = self.folder / "documents"
        self.cartridges = self.folder / "cartridges"
        self._children: list[subprocess.Popen[str]] = []
        self._step: subprocess.Popen[str] | None = None
        self._ending = threading.Event()

    @property
    def url(self) -> str:
        """Return the page's address."""
        return f"https://127.0.0.1:{(self.folder / 'port').read_text().strip()}"

    @property
    def password(self) -> str:
        """Return the admin's password, kept in a file that only its owner can read."""
        return (self.folder / "admin-password").read_text().strip()

    def begin(self) -> dict[str, Any]:
        """Make or continue the demo; return what `--json` prints, with the appliance serving; `DemoEnded` after `interrupt`."""
        is_new = not (self.folder / "ready").exists()
        self._prepare()
        self._serve()
        if is_new:
            self._first_run()
        else:
            self._say("Continuing with the data of the last run")
            self._look()
            self._half_day(self._due_round(), "another round")
        export = msgspec.json.decode((self.folder / "export.json").read_bytes())
        return {"url": self.url, "account": ACCOUNT, "password": self.password, "root": str(self.root), "export": export}

    def protect(self) -> None:
        """Run the agent beside the appliance until `interrupt`."""
        self._start(["branch", "run", "--state", str(self.state)])
        self._ending.wait()

    def interrupt(self) -> None:
        """End it soon, from any thread: the command that runs is ended, and no other is begun."""
        self._say("Stopping")
        self._ending.set()
        step = self._step
        if step is not None:
            step.terminate()

    def end(self) -> None:
        """Stop agent and appliance cleanly."""
        for child in reversed(self._children):
            child.terminate()
            try:
                child.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._children.clear()

    def _prepare(self) -> None:
        for folder in (self.folder, self.share, self.cartridges):
            make_directories(folder)
        if (self.folder / _MAKING).exists():  # ended between the appliance and its enrolled agent, which know no way back
            self._say("The last run was ended before its agent was enrolled: beginning anew")
            for half_made in (self.root, self.state):
                shutil.rmtree(half_made, ignore_errors=True)
        if not (self.folder / "admin-password").exists():
            replace_file(self.folder / "admin-password", (new_password(self._chance) + "\n").encode())
        if not (self.folder / "port").exists():
            replace_file(self.folder / "port", f"{_free_port()}\n".encode())
        if not (self.root / "store-id").exists():
            self._say("Making the appliance: certificate, databases, account")
            if not self.root.exists():  # else it is not the demo's, and `init` says so
                replace_file(self.folder / _MAKING, b"")
            password_file = str(self.folder / "admin-password")
            words = ("init", str(self.root), "--admin-password-file", password_file, "--hostname", "localhost", "--json")
            made = msgspec.json.decode(self._command(*words))
            replace_file(self.folder / "recovery-key", (made["recovery_key"] + "\n").encode())
        if not (self.folder / "sampled").exists():
            copied = fill_sample(self.share)
            self._say(f"Copied {copied} files of this machine into the sample share")
            replace_file(self.folder / "sampled", b"")

    def _serve(self) -> None:
        port = int((self.folder / "port").read_text())
        if not _is_free(port):
            raise PortTaken(
                f"127.0.0.1:{port} is in use, and the demo's agent was enrolled there",
                remedy=f"stop what listens there, or start anew by removing {self.folder}",
            )
        server = self._start(["appliance", "serve", "--root", str(self.root), "--listen", f"127.0.0.1:{port}"])
        assert server.stdout is not None
        line = server.stdout.readline()
        if not line.startswith("listening on "):
            raise DemoFailed(f"the appliance did not start: {line.strip() or 'see above'}", remedy="see the message above")

    def _first_run(self) -> None:
        if (self.folder / _MAKING).exists():
            self._enrol()
        self._say("Laying the first copy of the share")
        self._look()
        self._on_root("snapshot", "create", SHARE, "--label", "the first copy")
        for number, label in enumerate(_ROUNDS, start=1):
            self._half_day(number, label)
        self._say("Exporting the newest snapshot to a cartridge")
        report = self._on_root("export", "run", f"{SHARE}@latest", "--to", str(self.cartridges))
        replace_file(self.folder / "export.json", msgspec.json.encode(report))
        self._schedule("twice-a-day", "0 7,12 * * 1-5", "--action", "snapshot")
        self._schedule("evening-tape", "0 19 * * 1-5", "--action", "export", "--to", str(self.cartridges))
        replace_file(self.folder / "ready", b"")

    def _enrol(self) -> None:
        code = self._on_root("branch", "add", _BRANCH)["code"]
        self._agent("enroll", self.url, code)
        self._agent("protect", str(self.share), "--as", _NAME)
        remove_file(self.folder / _MAKING)

    def _half_day(self, number: int, label: str) -> None:
        done = edit_sample(self.share, number)
        self._look()
        self._on_root("snapshot", "create", SHARE, "--label", label)
        self._say(f"Round {number}: {done}; snapshot “{label}”")

    def _schedule(self, name: str, cron: str, *rest: str) -> None:
        known = {row["name"] for row in self._on_root("schedule", "list")["schedules"]}
        if name not in known:
            self._on_root("schedule", "add", name, "--cron", cron, "--tz", "UTC", "--share", SHARE, *rest)

    def _due_round(self) -> int:
        """Return the number of the round that is due: each one leaves a snapshot, and so did the first copy."""
        return len(self._on_root("snapshot", "list", SHARE)["snapshots"])

    def _look(self) -> None:
        self._agent("run", "--once", "--timeout", "300")

    def _on_root(self, *words: str) -> Any:
        return msgspec.json.decode(self._command(*words, "--root", str(self.root), "--json"))

    def _command(self, *words: str) -> str:
        return self._run(["appliance", *words])

    def _agent(self, *words: str) -> str:
        return self._run(["branch", words[0], "--state", str(self.state), *words[1:]])

    def _run(self, words: list[str]) -> str:
        if self._ending.is_set():
            raise DemoEnded
        with subprocess.Popen(
            [sys.executable, "-m", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as step:
            self._step = step
            if self._ending.is_set():  # since it was asked above, and `interrupt` saw no step
                step.terminate()
            output, errors = step.communicate()
        self._step = None
        if self._ending.is_set():
            raise DemoEnded
        if step.returncode:
            raise DemoFailed(f"{' '.join(words)}: {errors.strip()[-2000:]}", remedy="see the message")
        return output

    def _start(self, words: list[str]) -> "subprocess.Popen[str]":
        """Start a child in a session of its own, so that Ctrl-C reaches it only through `end`."""
        child = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.PIPE, text=True, start_new_session=True)
        self._children.append(child)
        return child


def run_demo(folder: Path, leave: bool, say: Say, show: Callable[[dict[str, Any]], None]) -> bool:
    """Run the demo until Ctrl-C or SIGTERM, or until it is made when `leave` is set; return whether it was made."""
    demo = Demo(folder, secrets.token_bytes, say)
    if os.geteuid() != 0:
        say("Not running as root: owners, trusted attributes and device files cannot be given back in restores")
    with at_ending_signal(demo.interrupt):
        try:
            show(demo.begin())
            if not leave:
                demo.protect()
        except DemoEnded:
            return False
        finally:
            demo.end()
    return True


def _free_port() -> int:
    if _is_free(_PREFERRED_PORT):
        return _PREFERRED_PORT
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
