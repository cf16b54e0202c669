"""The systemd units are understood by systemd."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = sorted((Path(__file__).parents[2] / "deploy").glob("*.service"))


def test_there_are_two_units() -> None:
    assert [unit.name for unit in UNITS] == ["stagekeeper-agent.service", "stagekeeper.service"]


def test_the_appliance_writes_restores_where_its_callers_look_for_them() -> None:
    lines = UNITS[1].read_text().splitlines()
    assert not [line for line in lines if line.startswith("PrivateTmp=y")]
    assert "ReadWritePaths=-/mnt -/media /tmp /var/tmp" in lines


def test_both_units_may_read_or_restore_every_kind_of_attribute() -> None:
    for unit in UNITS:
        (line,) = [line for line in unit.read_text().splitlines() if line.startswith("CapabilityBoundingSet=")]
        needed = {"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETFCAP", "CAP_SYS_ADMIN"}
        assert needed <= set(line.partition("=")[2].split())


def test_the_agents_mounts_are_seen_by_all_and_released_when_it_was_killed() -> None:
    lines = UNITS[0].read_text().splitlines()
    assert not [line for line in lines if line.startswith(("ProtectKernel", "ProtectC", "ProtectH", "Private", "ReadOnly"))]
    assert "ExecStopPost=/usr/bin/env stagekeeper-agent --state /var/lib/stagekeeper-agent release" in lines


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_ends_its_program_by_sigterm_and_restarts_it_after_a_failure(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    assert {"KillSignal=SIGTERM", "Restart=on-failure", "NoNewPrivileges=yes", "UMask=0077"} <= set(lines)


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_has_nothing_to_say_about_a_unit(unit: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is missing, so nobody has read the units: install systemd (.ci/system-packages)")
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
