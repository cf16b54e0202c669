"""Reading every database through within scrub's period, as a part of each scrub.

SQLite keeps no checksums: a bit that flips inside a row is read as it stands. So a share's catalogue is compared with its seals,
whose bytes have digests, and every database is read to its end with all its indexes. A scrub takes those that were not checked
for longest, so many that all come round early; the chunk index is compared with the packs by the scrub of packs. Nothing is
changed: what is wrong is told with its remedy.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from appliance.seal_desk import verify_share
from appliance.vault import OpenShare, Vault
from core.database import faults_of
from core.errors import Damaged
from snapshots import damage_db
from snapshots.scrub import DAY_NS, PERIOD_NS
from snapshots.seal_verify import NeverSealed
from web.share_values import Progress

_EARLY_NS = PERIOD_NS * 5 // 6
_TOLD = 5  # of a catalogue's differences: `verify-seal` shows them all
_REMEDY = "stop the service and run `stagekeeper rebuild`"
_BACKUP_REMEDY = "stop the service and run `stagekeeper rebuild --recovery-key-file F`"


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A database: its name for people, its file, and the share whose catalogue it is."""

    name: str
    path: Path
    share: str | None = None


class DatabaseChecks:
    """Checks the databases of one appliance."""

    def __init__(self, vault: Vault) -> None:
        """Bind the vault; nothing is read yet."""
        self._vault = vault

    def run(self, report: Callable[[Progress], None], everything: bool) -> tuple[int, list[str]]:
        """Check what is due, or everything; return how many databases that were, and what is wrong with them."""
        store = self._vault.store.parts
        findings: list[str] = []
        due = self._due(everything)
        for done, candidate in enumerate(due):
            report(Progress(done, len(due), 0, "databases"))
            findings += self._check(candidate, report)
            with store.lock:
                damage_db.set_checked(store.index, candidate.name, store.clock.now_ns())
        return len(due), findings

    def _due(self, everything: bool) -> list[_Candidate]:
        """Return what was not checked for longest: all that is overdue, and else a day's part of all."""
        now = self._vault.clock.now_ns()
        checked = damage_db.checked(self._vault.store.parts.index, now)
        every = sorted(self._candidates(), key=lambda candidate: checked.get(candidate.name, 0))
        if everything:
            return every
        a_day = -(-len(every) * DAY_NS // _EARLY_NS)
        ages = [(now - checked.get(candidate.name, 0), candidate) for candidate in every]
        return [
            candidate
            for place, (age, candidate) in enumerate(ages)
            if age >= _EARLY_NS and (place < a_day or (candidate.name in checked and age >= PERIOD_NS))
        ]

    def _candidates(self) -> Iterator[_Candidate]:
        db = self._vault.root.db
        for name in ("index", "appliance", "inventory"):
            path = db / f"{name}.db"
            if path.exists():
                yield _Candidate(f"{name}.db", path)
        for share in self._vault.names():
            yield _Candidate(f"shares/{share}.db", db / "shares" / f"{share}.db", share)

    def _check(self, candidate: _Candidate, report: Callable[[Progress], None]) -> Iterator[str]:
        remedy = _BACKUP_REMEDY if candidate.name in ("appliance.db", "inventory.db") else _REMEDY
        try:
            opened = self._vault.share(candidate.share) if candidate.share is not None else None
            faults = faults_of(candidate.path)
            if opened is not None and not faults and not _waits_for_seal(opened):
                faults = [f"{told} by its seals" for told in verify_share(self._vault, opened, report).differences[:_TOLD]]
        except NeverSealed:
            return
        except Damaged as error:
            yield f"{candidate.name}: {error.message} ({error.remedy or remedy})"
            return
        for fault in faults:
            yield f"{candidate.name}: {fault} ({remedy})"


def _waits_for_seal(share: OpenShare) -> bool:
    """Tell whether something was purged since the newest seal, which still holds it; the keeper seals anew within a minute."""
    return share.reader.ledger.purged() > 0 and share.reader.ledger.newest_seal() is None
