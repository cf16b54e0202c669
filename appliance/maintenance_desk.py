"""Collect and scrub on demand. Implements `web.operations.Maintenance`.

Collect's roots are everything that this appliance knows to name chunks: the journals, catalogues and seals of all shares,
and catalogues whose share is not there at the moment. A share that cannot be opened ends it: nothing is removed then.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import msgspec

from appliance.audit import AuditLog
from appliance.audited import audited_steps
from appliance.credentials import Chance
from appliance.database_checks import DatabaseChecks
from appliance.handover import steps_of
from appliance.journal_losses import check_journals, journal_losses
from appliance.rights import Action, Rights
from appliance.vault import Vault
from core.clock import NANOSECONDS, format_time
from core.durable import make_directories
from core.errors import Damaged
from snapshots import damage_db, garbage_db
from snapshots.chunk_store import ChunkStore
from snapshots.collect import Collector, CollectPlace
from snapshots.damage_hits import hits
from snapshots.mark import JournalPart, Roots
from snapshots.scrub import Scrubber
from snapshots.view_db import CatalogueReader
from staging.chunk_format import ChunkKind
from staging.receiver import Key
from web.operations import Actor
from web.share_values import Progress
from web.upkeep_values import CollectReport, FileHit, ScrubReport

_SALT_BYTES = 8
_MAX_HITS = 1000  # more do not fit a screen; `hits_left_off` tells that there are more


class MaintenanceDesk:
    """The operations on the store as a whole."""

    def __init__(
        self, vault: Vault, rights: Rights, audit: AuditLog, chance: Chance, own_roots: Callable[[], Iterable[Key]]
    ) -> None:
        """Bind the parts; `own_roots` gives what else must stay with all that hangs on it, the appliance's backups."""
        self._vault, self._rights, self._audit, self._own_roots = vault, rights, audit, own_roots
        place = CollectPlace(vault.root.db / "collect", lambda: chance(_SALT_BYTES))
        self._collector = Collector(vault.store, place)
        self._scrubber = Scrubber(vault.store)
        self._checks = DatabaseChecks(vault)

    def collect(self, actor: Actor) -> Iterator[Progress | CollectReport]:
        """Free what nothing names any more; the last value is the report."""
        self._rights.check(actor, Action.COLLECT)

        def work(report: Callable[[Progress], None]) -> CollectReport:
            make_directories(self._vault.root.db / "collect")
            done = self._collector.run(
                self._roots, lambda: False, lambda what, count: report(Progress(0, None, count, f"{what}: {count} chunks"))
            )
            figures = {field: getattr(done, field) for field in CollectReport.__struct_fields__}
            return msgspec.convert(figures, CollectReport)

        return audited_steps(self._audit, actor, "collect", "store", {}, steps_of(work))

    def scrub(self, actor: Actor, everything: bool) -> Iterator[Progress | ScrubReport]:
        """Read packs and databases and compare them with their addresses and seals; the last value is the report."""
        self._rights.check(actor, Action.VERIFY)

        def work(report: Callable[[Progress], None]) -> ScrubReport:
            def progress(done: int, total: int) -> None:
                report(Progress(done, total, 0, "packs"))

            done = self._scrubber.run(lambda: False, progress, everything)
            databases, faults = self._checks.run(report, everything)
            readers = list(self._readers(faults))
            found = list(islice(self._hits(readers), _MAX_HITS + 1))
            faults += journal_losses(self._vault.opened())
            return ScrubReport(
                packs=done.packs,
                bytes=done.read_bytes,
                chunks=done.chunks,
                findings=[*done.findings, *faults],
                healed_chunks=done.healed,
                damaged_chunks=done.damaged_chunks,
                hits=found[:_MAX_HITS],
                hits_left_off=len(found) > _MAX_HITS,
                verified_since=format_time(done.oldest_verified_ns),
                databases=databases,
            )

        return audited_steps(self._audit, actor, "scrub", "store", {"all": everything}, steps_of(work))

    def _readers(self, faults: list[str]) -> Iterator[CatalogueReader]:
        """Yield the catalogues that can be opened, and add to `faults` why others cannot."""
        for name in self._vault.names():
            try:
                yield self._vault.share(name).reader
            except Damaged as error:
                told = f"{name} cannot be looked through for files that are hit: {error.message}"
                faults.append(told)

    def _hits(self, readers: list[CatalogueReader]) -> Iterator[FileHit]:
        store = self._vault.store
        for hit in hits(readers, store, damage_db.damaged(store.parts.index)):
            yield FileHit(hit.share, hit.path, hit.snapshots, hit.live)

    def _roots(self) -> Roots:
        shares = [self._vault.share(name) for name in self._vault.names()]
        check_journals(shares)
        catalogues = {share.fold.path for share in shares} | set((self._vault.root.db / "shares").glob("*/*.db"))
        return Roots(
            [[JournalPart(str(path), size) for path, size in share.journal.extents()] for share in shares],
            sorted(str(path) for path in catalogues),
            [
                *((ChunkKind.SEAL, seal.digest) for share in shares for seal in share.reader.ledger.seals()),
                *self._own_roots(),
            ],
        )


def store_metrics(store: ChunkStore) -> Iterator[tuple[str, str, dict[str, str], float]]:
    """Yield what monitoring watches of collect and scrub."""
    index = store.parts.index
    removed = garbage_db.total_removed_bytes(index)
    yield "stagekeeper_collected_bytes_total", "Bytes of chunks that collect has removed", {}, removed
    condemned = garbage_db.count_condemned(index)
    yield "stagekeeper_condemned_chunks", "Chunks that wait for a second mark to be removed", {}, condemned
    yield "stagekeeper_damaged_chunks", "Chunks that are known to be damaged", {}, len(damage_db.damaged(index))
    oldest = Scrubber(store).oldest_verified_ns() / NANOSECONDS
    yield "stagekeeper_verified_since_seconds", "Time since which every pack was written or read through", {}, oldest
