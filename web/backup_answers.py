"""What is answered about backups of the appliance's own files."""

from msgspec import Struct


class Backup(Struct, frozen=True):
    """A backup of the appliance's own files that stands in the store."""

    number: int
    taken_at: str
    size_bytes: int
    key: str  # id of the recovery key that opens it
    digest: str


class NewRecoveryKey(Struct, frozen=True):
    """A recovery key, as it is shown once."""

    recovery_key: str
    key: str
