"""Verifying seals on demand. Implements `web.operations.Sealing`."""

import secrets
from collections.abc import Callable, Iterator

from appliance.audit import AuditLog
from appliance.audited import audited_steps
from appliance.handover import steps_of
from appliance.rights import Action, Rights
from appliance.vault import OpenShare, Vault
from core.digest import format_digest
from snapshots.seal_verify import SealVerdict, verify_seals
from web.operations import Actor
from web.share_values import Progress
from web.upkeep_values import SealReport

_EVERY_ROWS = 100_000


def verify_share(vault: Vault, opened: OpenShare, report: Callable[[Progress], None]) -> SealVerdict:
    """Compare a share's catalogue with its chain of seals; raise `NeverSealed`, and `Damaged` kinds."""
    told = [0]

    def progress(done: int, total: int) -> None:
        if done - told[0] >= _EVERY_ROWS:
            told[0] = done
            report(Progress(done, total, done, "rows"))

    scratch = vault.root.run / f"verify-{secrets.token_hex(8)}.db"
    return verify_seals(opened.fold.path, opened.journal, vault.store, scratch, progress)


class SealDesk:
    """The operations on seals."""

    def __init__(self, vault: Vault, rights: Rights, audit: AuditLog) -> None:
        """Bind the parts."""
        self._vault, self._rights, self._audit = vault, rights, audit

    def verify_seal(self, actor: Actor, share: str) -> Iterator[Progress | SealReport]:
        """Compare a share's catalogue with its chain of seals; the last value is the report."""
        self._rights.check_path(actor, Action.VERIFY, share)
        opened = self._vault.share(share)

        def work(report: Callable[[Progress], None]) -> SealReport:
            return self._verify(opened, report)

        steps = steps_of(work)
        return audited_steps(self._audit, actor, "seal.verify", share, {}, steps)

    def _verify(self, opened: OpenShare, report: Callable[[Progress], None]) -> SealReport:
        verdict = verify_share(self._vault, opened, report)
        return SealReport(
            share=opened.name,
            sequence=verdict.sequence,
            digest=format_digest(verdict.digest),
            seals=verdict.seals,
            rows=verdict.rows,
            equal=not verdict.differences,
            differences=list(verdict.differences),
        )
