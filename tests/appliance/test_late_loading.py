"""What the commands load late is there, and what only asks a serving process loads none of it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import appliance.cli
from appliance.cli.late import load

CLI = Path(appliance.cli.__file__).parent
PLACES = sorted(
    {place for path in CLI.glob("*.py") for place in re.findall(r'load\("([^"]+)"\)', path.read_text(encoding="utf-8"))}
)


def test_there_are_places() -> None:
    assert len(PLACES) >= 4


@pytest.mark.parametrize("place", PLACES)
def test_what_is_loaded_late_is_there(place: str) -> None:
    assert callable(load(place))


def test_commands_alone_load_neither_server_nor_database() -> None:
    names = ("flask", "cheroot", "apscheduler", "cryptography", "sqlite_utils", "snapshots", "tapeexport")
    script = f"import sys, appliance.cli.main; print([name for name in {names} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout == "[]\n"
