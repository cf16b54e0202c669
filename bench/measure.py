"""Timing a command as a whole process with its children: wall seconds, CPU seconds, peak memory; and what a folder takes."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: seconds on the wall, seconds of CPU, peak resident MB of the largest process."""

    wall_seconds: float
    cpu_seconds: float
    peak_mb: float


def timed(words: Sequence[str], environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Measured:
    """Run a command to its end; raise when it fails."""
    runner = [sys.executable, "-I", "-S", str(Path(__file__).with_name("runner.py"))]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as told:
        ended = subprocess.run(
            ["/bin/sh", "-c", f'exec "$@" 3>&{told.fileno()}', "sh", *runner, *words],
            env={**os.environ, **(environment or {})}, cwd=folder, stdout=output, stderr=subprocess.STDOUT,
            pass_fds=[told.fileno()], check=False,
        )  # fmt: skip
        if ended.returncode:
            output.seek(0)
            raise SystemExit(f"{' '.join(words)} failed:\n{output.read().decode(errors='replace')[-3000:]}")
        told.seek(0)
        return Measured(*json.load(told))


def cpu_seconds_of(pid: int) -> float:
    """Return the CPU seconds that a running process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_mb_of(pid: int) -> float:
    """Return the peak resident memory of a running process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def allocated_bytes(folder: Path) -> int:
    """Return what a folder takes, as `du` counts it."""
    return int(subprocess.run(["du", "-s", "--block-size=1", folder], capture_output=True, check=True).stdout.split()[0])


def drop_caches() -> None:
    """Write everything back; with root also forget the page cache, so that each candidate begins alike."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return
