"""Making a new appliance: folder, certificate, recovery key, database, first account; its marker as a store comes last."""

import os
import secrets
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from appliance.accounts import Accounts
from appliance.appliance_db import ApplianceDatabase
from appliance.audit import AuditLog
from appliance.ballast import Ballast
from appliance.certificates import CERTIFICATE_FILE, fingerprint, write_certificate
from appliance.credentials import Chance, check_new_password
from appliance.gates import owner_actor
from appliance.recovery_key import RecoveryKey, new_recovery_key, write_public_key
from appliance.root import STORE_ID_BYTES, Root, finish_root, init_root
from appliance.settings import Settings
from core.clock import Clock, SystemClock

FIRST_ACCOUNT = "admin"


@dataclass(frozen=True, slots=True)
class Founded:
    """A new appliance."""

    root: Root
    account: str
    fingerprint: str
    recovery_key: RecoveryKey


def found_appliance(
    path: Path, hostnames: list[str], password: str, clock: Clock | None = None, chance: Chance = secrets.token_bytes
) -> Founded:
    """Make an appliance with the account `admin`; raise `RootOccupied` or `PasswordRefused` before anything is made."""
    clock = clock or SystemClock()
    check_new_password(password)
    root = init_root(Path(os.path.abspath(path)), chance(STORE_ID_BYTES))
    write_certificate(root.tls, hostnames, clock.now_ns())
    recovery_key = new_recovery_key(chance)
    write_public_key(root.recovery_key_file, recovery_key.public)
    with closing(ApplianceDatabase(root.db / "appliance.db")) as database:
        Accounts(database, clock, chance).add(FIRST_ACCOUNT, "admin", password, [])
    with closing(AuditLog(root.audit, root.store_id, clock)) as audit:
        audit.record(owner_actor(os.getuid()), "appliance.init", str(root.path))
    space = Settings().space
    Ballast(root.parts, space.ballast_bytes, space.reserve_bytes).tend()
    finish_root(root)
    return Founded(root, FIRST_ACCOUNT, fingerprint(root.tls / CERTIFICATE_FILE), recovery_key)
