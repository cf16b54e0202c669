"""Deleting shares, and taking that back. Implements `web.operations.Removal`.

Nothing goes at once: a deletion is a control record of the share's journal with a time after which the keeper removes the
share. Until then its branch is refused, reading goes on, and it can be undone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from appliance.audit import AuditLog
from appliance.removals import check_not_held, removal_delay_ns
from appliance.rights import Action, Rights
from appliance.share_worker import ShareWorker
from appliance.vault import OpenShare, Vault
from core.errors import Refused, StagekeeperError
from snapshots.control_format import MAX_REASON, ShareDeleted, ShareUndeleted
from web.operations import Actor, Share

Shown = Callable[[Actor, str], Share]


class NotDeleted(Refused):
    """What was not deleted cannot be taken back."""


@dataclass(frozen=True, slots=True)
class RemovalParts:
    """What the desk works on; `shown` gives a share as answered."""

    vault: Vault
    keeper: ShareWorker
    rights: Rights
    audit: AuditLog
    shown: Shown


class RemovalDesk:
    """The acts by which shares go."""

    def __init__(self, parts: RemovalParts) -> None:
        """Bind the parts."""
        self._parts = parts

    def delete_share(self, actor: Actor, share: str) -> Share:
        """Delete a share: it goes after the delay, and can be taken back until then. A second time changes nothing."""
        with self._audited(actor, "share.delete", share):
            opened = self._parts.vault.share(share)
            check_not_held(opened, self._parts.vault.clock.now_ns())
            if opened.reader.ledger.deletion() is None:
                order_deletion(opened, self._parts.vault.clock.now_ns(), f"deleted by {actor.account}")
        self._parts.keeper.notify(share)
        return self._parts.shown(actor, share)

    def undelete_share(self, actor: Actor, share: str) -> Share:
        """Take the deletion of a share back."""
        with self._audited(actor, "share.undelete", share):
            opened = self._parts.vault.share(share)
            if opened.reader.ledger.deletion() is None:
                raise NotDeleted(f"{share} was not deleted", remedy="see `stagekeeper share status`")
            opened.fold.order(lambda number, _: ShareUndeleted(number))
        return self._parts.shown(actor, share)

    @contextmanager
    def _audited(self, actor: Actor, verb: str, what: str, details: dict[str, Any] | None = None) -> Iterator[None]:
        """Check the right, and note how the act ended."""
        try:
            self._parts.rights.check(actor, Action.REMOVE)
            yield
        except StagekeeperError as error:
            self._parts.audit.record(actor, verb, what, "refused", {**(details or {}), "error": error.type})
            raise
        self._parts.audit.record(actor, verb, what, "done", details)


def order_deletion(share: OpenShare, now_ns: int, reason: str, with_branch: bool = False) -> None:
    """Journal that a share goes after the delay of its policy; durable on return."""
    after_ns = now_ns + removal_delay_ns(share, now_ns)
    share.fold.order(lambda number, _: ShareDeleted(number, now_ns, after_ns, reason[:MAX_REASON], with_branch))
