"""Whether a journal reaches as far back as it should.

A trim notes in the catalogue how far it goes before it removes anything. So a journal that begins behind that place has lost
segments to somebody else.
"""

from dataclasses import dataclass

from snapshots.view_db import CatalogueReader
from staging.journal import Journal


@dataclass(frozen=True, slots=True)
class JournalLoss:
    """Changes first..last stood in segments that are gone; `folded` and `sealed` tell how far others hold them too."""

    first: int
    last: int
    folded: int
    sealed: int

    @property
    def lost_for_good(self) -> range:
        """Return the changes that nothing else holds: those that were acknowledged and are not folded."""
        return range(max(self.first, self.folded + 1), self.last + 1)

    @property
    def in_catalogue_only(self) -> range:
        """Return the changes that could not be made again if the catalogue were lost: they are folded, and not sealed."""
        return range(max(self.first, self.sealed + 1), min(self.folded, self.last) + 1)


def journal_loss(journal: Journal, reader: CatalogueReader, folded: int) -> JournalLoss | None:
    """Return what is gone of a journal, None when all is there that should be. Any thread may ask."""
    begins = journal.kept_behind()  # looked at before the catalogue: what a trim removes is noted there by then
    reaches = reader.ledger.brief_since()
    if begins <= reaches:
        return None
    seal = reader.ledger.newest_seal()
    return JournalLoss(reaches + 1, begins, folded, 0 if seal is None else seal.sequence)
