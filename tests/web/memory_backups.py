"""`web.operations.Backups` in memory."""

from collections.abc import Iterator

from web.backup_answers import Backup, NewRecoveryKey
from web.errors import AccessDenied
from web.operations import Actor
from web.share_values import Progress

SHOWN = Backup(1, "2026-11-22T02:00:00.000000Z", 1000, "00" * 8, "blake3:00")


class MemoryBackups:
    """Takes the same backup again and again."""

    def __init__(self) -> None:
        self.taken: list[Backup] = []

    def run(self, actor: Actor) -> Iterator[Progress | Backup]:
        yield Progress(0, 1000, 0, "backing up")
        self.taken.append(SHOWN)
        yield SHOWN

    def drop(self, actor: Actor, number: int) -> Backup:
        """Let the backup go."""
        return self.taken.pop()

    def list(self, actor: Actor) -> list[Backup]:
        return self.taken

    def new_recovery_key(self, actor: Actor) -> NewRecoveryKey:
        if actor.role != "owner":
            raise AccessDenied("only the owner may", remedy="use the command line")
        return NewRecoveryKey("AAAAA-BBBBB", "00" * 8)
