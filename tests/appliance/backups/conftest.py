"""What every test of backups begins with: an appliance's folder, its recovery key, and the folder open."""

from pathlib import Path

import pytest

from appliance.recovery_key import RecoveryKey
from tests.appliance.backups.backup_rig import BackupRig, found
from tests.appliance.settable_clock import SettableClock


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "root"


@pytest.fixture
def key(folder: Path, clock: SettableClock) -> RecoveryKey:
    return found(folder, clock)


@pytest.fixture
def rig(folder: Path, key: RecoveryKey, clock: SettableClock) -> BackupRig:
    return BackupRig(folder, clock)
