"""Stagekeeper as a candidate: the installed commands, an appliance on loopback with TLS, one agent."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.measure import Measured, allocated_bytes, cpu_seconds_of, peak_mb_of, timed

_BIN = Path(sys.executable).parent


class Stagekeeper:
    """Agent start to all durable and folded; agent and appliance together."""

    name = "stagekeeper"

    def begin(self, work: Path) -> None:
        """Make an appliance, serve it, enrol one agent."""
        self._root, self._state = work / "root", work / "agent"
        password = work / "password"
        password.write_text("a long bench password\n")
        timed([str(_BIN / "stagekeeper"), "init", str(self._root), "--admin-password-file", str(password)])
        self._server = subprocess.Popen(
            [_BIN / "stagekeeper", "serve", "--root", self._root, "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._server.stdout is not None
        url = self._server.stdout.readline().split()[-1]
        code = json.loads(self._ask("branch", "add", "bench"))["code"]
        timed([*self._agent("enroll"), url, code])
        self._protected = False
        self.wire_bytes = 0  # of the last `protect`, both directions, TLS and HTTP too

    def protect(self, source: Path) -> Measured:
        """Look, send, wait until everything is durable and folded."""
        if not self._protected:
            timed([*self._agent("protect"), str(source), "--as", "data"])
            self._protected = True
        before = self._wire()
        cpu = cpu_seconds_of(self._server.pid)
        began = time.perf_counter()
        agent = timed([*self._agent("run"), "--once", "--timeout", "3600"])
        while True:
            state = json.loads(self._ask("share", "status", "bench/data"))
            if state["folded_sequence"] == state["durable_sequence"]:
                break
            time.sleep(0.02)
        wall = time.perf_counter() - began
        after = self._wire()
        self.wire_bytes = sum(after[key] - before.get(key, 0) for key in ("compressed_bytes", "framing_bytes"))
        both_cpu = agent.cpu_seconds + cpu_seconds_of(self._server.pid) - cpu
        return Measured(wall, both_cpu, max(agent.peak_mb, peak_mb_of(self._server.pid)))

    def stored_bytes(self) -> int:
        """Return what the appliance takes, journal and databases too."""
        self._ask("stats")
        return allocated_bytes(self._root)

    def stored_without_journal_bytes(self) -> int:
        """Return what `stats` calls stored: all that the appliance takes but the journal."""
        return int(json.loads(self._ask("stats"))["stored_bytes"])

    def restore(self, target: Path) -> Measured:
        """Restore the live state."""
        words = [str(_BIN / "stagekeeper"), "restore", "bench/data", "--to", str(target), "--root", str(self._root)]
        cpu = cpu_seconds_of(self._server.pid)
        client = timed(words)
        both_cpu = client.cpu_seconds + cpu_seconds_of(self._server.pid) - cpu
        return Measured(client.wall_seconds, both_cpu, max(client.peak_mb, peak_mb_of(self._server.pid)))

    def end(self) -> None:
        """Stop the appliance."""
        self._server.send_signal(signal.SIGTERM)
        self._server.wait()

    def _agent(self, command: str) -> list[str]:
        return [str(_BIN / "stagekeeper-agent"), command, "--state", str(self._state)]

    def _wire(self) -> dict[str, int]:
        answer = subprocess.run([*self._agent("status"), "--json"], capture_output=True, check=True, text=True).stdout
        shares = json.loads(answer).get("shares", [])
        return dict(shares[0]["wire"]) if shares else {}

    def _ask(self, *words: str) -> str:
        command: list[str | Path] = [_BIN / "stagekeeper", *words, "--root", self._root, "--json"]
        return subprocess.run(command, capture_output=True, check=True, text=True, env=dict(os.environ)).stdout
