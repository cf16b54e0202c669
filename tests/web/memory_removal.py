"""`web.operations.Removal` in memory: remembers what was asked."""

from core.relpath import RelPath
from web.operations import Actor
from web.share_values import Branch, Share
from web.upkeep_values import PurgeReport

SHOWN = Share("leeds/office", "deleted", "deleted by admin", 7, 7, 0.0, 3, 30, None, "2026-11-23T07:00:00Z")


class MemoryRemoval:
    """Acts by which things go, told in `asked`."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def delete_share(self, actor: Actor, share: str) -> Share:
        self.asked.append(("delete_share", actor.account, share))
        return SHOWN

    def undelete_share(self, actor: Actor, share: str) -> Share:
        self.asked.append(("undelete_share", actor.account, share))
        return SHOWN

    def delete_branch(self, actor: Actor, branch: str) -> Branch:
        self.asked.append(("delete_branch", actor.account, branch))
        return Branch(branch, "deleted", None, None, 1, "2026-11-23T07:00:00Z")

    def undelete_branch(self, actor: Actor, branch: str) -> Branch:
        self.asked.append(("undelete_branch", actor.account, branch))
        return Branch(branch, "enrolled", None, None, 1)

    def purge(self, actor: Actor, share: str, path: RelPath) -> PurgeReport:
        self.asked.append(("purge", actor.account, share, path))
        return PurgeReport(share, "p", 1, 2, True, [3], ["SK0001L9"], [], "2026-11-27T07:00:00Z")
