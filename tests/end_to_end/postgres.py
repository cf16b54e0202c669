"""A real PostgreSQL from Debian, with its data below one folder, for tests that bring one to rest."""

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest

USER = "postgres"


def programs() -> Path:
    """Return where Debian keeps the programs of the server; skip loudly where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if os.geteuid() != 0 or not found:
        pytest.skip("POSTGRESQL IS NOT TESTED HERE: that takes root, and the package postgresql")
    return found[-1]


class Postgres:
    """A server on a socket in `sockets`, which root may use as the superuser."""

    def __init__(self, data: Path, sockets: Path) -> None:
        self.data, self.sockets, self._programs = data, sockets, programs()
        sockets.mkdir(exist_ok=True)
        for folder in (sockets, data.parent):
            shutil.chown(folder, USER)

    def make(self) -> None:
        self._as_user("initdb", "--pgdata", str(self.data), "--wal-segsize=1", "--auth=trust", "--no-instructions")

    def start(self) -> None:
        options = f"-k {self.sockets} -c listen_addresses= -c min_wal_size=2MB -c max_wal_size=8MB -c max_connections=10"
        log = str(self.sockets / "log")
        self._as_user("pg_ctl", "--wait", "--pgdata", str(self.data), "--options", options, "--log", log, "start")

    def stop(self) -> None:
        self._as_user("pg_ctl", "--wait", "--mode=immediate", "--pgdata", str(self.data), "stop")

    def query(self, text: str) -> str:
        return subprocess.run([*self.client, f"--command={text}"], check=True, capture_output=True, text=True).stdout.strip()

    @property
    def client(self) -> list[str]:
        """Return the words that begin a question, as root."""
        return ["psql", "--host", str(self.sockets), f"--username={USER}", "--no-psqlrc", "--tuples-only", "--no-align"]

    def _as_user(self, program: str, *words: str) -> None:
        account = pwd.getpwnam(USER)
        command = [str(self._programs / program), *words]
        done = subprocess.run(
            command, cwd="/", user=account.pw_uid, group=account.pw_gid, extra_groups=[], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr}"
