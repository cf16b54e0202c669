"""Fixtures: an appliance's folder, opened plumbing and operations over parts in memory, the command line in-process."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.cli.main import main
from appliance.credentials import Chance
from appliance.founding import found_appliance
from appliance.local_transport import open_locally
from appliance.root import Root, open_root
from appliance.settings import Environment
from appliance.wiring import Appliance, Machine, open_appliance
from tests.appliance.memory_parts import MemoryParts
from tests.appliance.settable_clock import SettableClock
from tests.faulty_files import FaultyFiles

PASSWORD = "correct horse battery"
NOTHING_SET = Environment(None, None)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def chance() -> Chance:
    return random.Random(7).randbytes


@pytest.fixture
def root(tmp_path: Path, clock: SettableClock, chance: Chance) -> Root:
    found_appliance(tmp_path / "root", ["backup.example"], PASSWORD, clock, chance)
    return open_root(tmp_path / "root")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[ApplianceDatabase]:
    made = ApplianceDatabase(tmp_path / "appliance.db")
    yield made
    made.close()


@pytest.fixture
def audit(tmp_path: Path, clock: SettableClock) -> Iterator[AuditLog]:
    (tmp_path / "audit").mkdir()
    made = AuditLog(tmp_path / "audit", bytes(16), clock)
    yield made
    made.close()


@pytest.fixture
def files() -> FaultyFiles:
    """Return the disk below the opened appliance; it works until a test says otherwise."""
    return FaultyFiles()


@pytest.fixture
def parts() -> MemoryParts:
    return MemoryParts()


@pytest.fixture
def appliance(root: Root, parts: MemoryParts, clock: SettableClock, chance: Chance, files: FaultyFiles) -> Iterator[Appliance]:
    with ExitStack() as stack:
        yield open_appliance(root.path, NOTHING_SET, parts, stack, machine=Machine(clock, chance, files))


class Terminal:
    """Runs commands in this process and reads what they print."""

    def __init__(self, root: Root, parts: MemoryParts, capture: pytest.CaptureFixture[bytes]) -> None:
        self._root, self._parts, self._capture = root, parts, capture

    def run(self, *words: str) -> tuple[int, bytes, bytes]:
        """Return (exit code, stdout, stderr)."""
        code = main([*words, "--root", str(self._root.path)], partial(open_locally, parts=self._parts))
        out, err = self._capture.readouterr()
        return code, out, err

    def json(self, *words: str) -> Any:
        """Return the document of a command that must end well."""
        code, out, err = self.run(*words, "--json")
        assert (code, err) == (0, b""), err
        return msgspec.json.decode(out)

    def fail(self, *words: str) -> tuple[int, Any]:
        """Return exit code and error of a command that must fail."""
        code, out, err = self.run(*words, "--json")
        assert code != 0 and out == b"", (code, out)
        return code, msgspec.json.decode(err)["error"]


@pytest.fixture
def terminal(root: Root, parts: MemoryParts, capfdbinary: pytest.CaptureFixture[bytes]) -> Terminal:
    return Terminal(root, parts, capfdbinary)
