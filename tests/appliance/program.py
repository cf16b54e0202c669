"""The installed program as a process of its own, and a store with real files for it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from appliance.root import open_root
from appliance.vault import Vault
from core.clock import Clock, SystemClock
from staging.changes import Attributes, Change, Create, Kind
from staging.protocol import Open
from tests.share_rig import SHARE_ID, ShareRig

REPOSITORY = Path(__file__).parents[2]
SHARE = "leeds/finance"
_START = "import sys; from appliance.cli.main import main; sys.exit(main())"
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Program:
    """`stagekeeper` on one folder."""

    root: Path

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-c", _START, *words, "--root", str(self.root)]

    def run(self, *words: str, **options: Any) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            self.command(*words), env=self.environment(), capture_output=True, timeout=_PATIENCE_SECONDS, **options
        )

    def json(self, *words: str) -> Any:
        done = self.run(*words, "--json")
        assert (done.returncode, done.stderr) == (0, b""), done
        return msgspec.json.decode(done.stdout)

    @staticmethod
    def environment() -> dict[str, str]:
        """Return an environment in which the program is found from any directory."""
        return {**os.environ, "PYTHONPATH": str(REPOSITORY), "STAGEKEEPER_ROOT": "", "STAGEKEEPER_LISTEN": ""}

    @contextmanager
    def serving(self, *words: str, wrapper: Sequence[str] = ()) -> Iterator["Serving"]:
        """Serve on a free port until the block is left, and check that it then ends well."""
        process = subprocess.Popen(
            list(wrapper) + self.command("serve", "--listen", "127.0.0.1:0", *words),
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line.startswith("listening on https://127.0.0.1:"):
                process.kill()
                raise AssertionError((line, process.communicate()))
            yield Serving(process, int(line.rsplit(":", 1)[1]))
            if process.poll() is None:
                process.terminate()
                assert process.wait(_PATIENCE_SECONDS) == 0, process.communicate()
        finally:
            process.kill()
            process.communicate()


@dataclass(frozen=True)
class Serving:
    """A serving process that is ready."""

    process: "subprocess.Popen[str]"
    port: int


class VaultRig(ShareRig):
    """A share of a real appliance's folder, filled as an agent fills it; nothing serves meanwhile."""

    def __init__(self, root: Path, share: str = SHARE, clock: Clock | None = None) -> None:
        self.epoch = 1
        self.clock = clock or SystemClock()
        self._vault = Vault(open_root(root), self.clock, os.urandom)
        opened = self._vault.register(share, SHARE_ID)
        self.store, self.journal, self.fold = self._vault.store, opened.journal, opened.fold
        self.reader, self.receiver = opened.reader, opened.receiver
        self._session = self.receiver.open(Open(SHARE_ID, self.epoch)).session

    def send(self, paths: list[bytes], changes: list[Change]) -> int:
        return self.receiver.frames(self._session, self.seal(paths, changes)).durable_sequence

    def close(self) -> None:
        self._vault.close()


def fill(root: Path, files: dict[bytes, bytes]) -> None:
    """Put files (in folders at most one deep) into the share and take a snapshot."""
    rig = VaultRig(root)
    folders = sorted({name.rpartition(b"/")[0] for name in files} - {b""})
    paths = [*folders, *files]
    plain = Attributes(0o644, os.getuid(), os.getgid(), 1_795_000_000_000_000_000)
    made: list[Change] = [Create(index, Kind.FOLDER, Attributes(0o755, 0, 0, 1)) for index in range(len(folders))]
    for index, content in enumerate(files.values(), len(folders)):
        made.append(Create(index, Kind.FILE, plain, rig.put(content)))
    rig.send(paths, made)
    rig.snapshot("filled")
    rig.fold.fold_all()
    rig.close()
