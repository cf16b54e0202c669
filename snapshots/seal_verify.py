"""Proving that a catalogue equals what was sealed: the chain of seals is read, filled into a catalogue, and compared."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from core.digest import Digest
from core.durable import OS_FILES, FileLayer, remove_file
from core.errors import NotFound
from snapshots.chunk_store import ChunkStore
from snapshots.control_format import Control, decode_control
from snapshots.rebuild import Report, fill_catalogue, newest_seal, seal_chain
from snapshots.seal_format import SealDamaged
from snapshots.verify_db import apply_acts, differing_rows
from staging.journal import Cursor, Journal
from staging.journal_format import JournalDamaged


class NeverSealed(NotFound):
    """A share has no seal yet."""


@dataclass(frozen=True, slots=True)
class SealVerdict:
    """What a verification found; `differences` is empty when the catalogue equals its seals."""

    sequence: int
    digest: Digest
    seals: int
    rows: int
    differences: tuple[str, ...]


def verify_seals(
    catalogue: Path, journal: Journal, store: ChunkStore, scratch: Path, report: Report, files: FileLayer = OS_FILES
) -> SealVerdict:
    """Compare a catalogue with its chain of seals; `scratch` is a path for a catalogue that is removed at the end.

    Raises `NeverSealed`, and `Damaged` kinds when a seal cannot be read or its frame is not the journal's.
    """
    newest = newest_seal(journal)
    if newest is None:
        raise NeverSealed("nothing is sealed yet", remedy="take a snapshot; it is sealed within a minute")
    chain = seal_chain(store, journal.share_id, Digest(newest.digest))
    head = chain[-1][1]
    acts = _acts_since(journal, head.last_control)
    with contextlib.suppress(JournalDamaged):  # the frame may be kept no longer
        if journal.position_at(head.sequence).hash != head.frame_hash:
            raise SealDamaged(f"the seal at {head.sequence} names another frame than the journal holds")
    try:
        fill_catalogue(scratch, chain, store, report)
        done = apply_acts(scratch, head.last_control, acts)
        rows, differences = differing_rows(catalogue, scratch, head.sequence, done)
    finally:
        for leftover in scratch.parent.glob(scratch.name + "*"):
            remove_file(leftover, files)
    return SealVerdict(head.sequence, Digest(newest.digest), len(chain), rows, tuple(differences))


def _acts_since(journal: Journal, number: int) -> list[Control]:
    """Return the control records of the kept journal behind one: what they did to snapshots stands in no seal yet."""
    found = (decode_control(record.payload) for record in journal.read(Cursor()) if record.header is None)
    return [record for record in found if record.number > number]
