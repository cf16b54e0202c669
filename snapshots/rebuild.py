"""Making a lost catalogue again: from the newest chain of seals that the journal names, and the journal behind it.

The new catalogue is filled beside its place and moved there whole, so that a rebuild can be cut off and begun again. A share
whose journal is still whole and was never sealed needs nothing of this: its fold begins at the first change.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from core.database import transaction
from core.digest import Digest
from core.durable import OS_FILES, FileLayer, move_file, remove_file
from snapshots.catalogue_db import CatalogueWriter
from snapshots.chunk_store import ChunkStore
from snapshots.control_format import Sealed, decode_control
from snapshots.ledger_db import LedgerWriter
from snapshots.own_content import read_own_content
from snapshots.seal_db import CatalogueFiller
from snapshots.seal_format import SealDamaged, SealHead, decode_rows
from snapshots.sealing import read_head
from snapshots.sweep_db import sweep_all
from staging.journal import Cursor, Journal

_LINES_AT_ONCE_BYTES = 1024 * 1024

Report = Callable[[int, int], None]
"""(rows done, rows in all)"""


def newest_seal(journal: Journal) -> Sealed | None:
    """Return the newest seal that the kept journal names."""
    controls = (decode_control(record.payload) for record in journal.read(Cursor()) if record.header is None)
    seals = [record for record in controls if isinstance(record, Sealed)]
    return seals[-1] if seals else None


def seal_chain(store: ChunkStore, share_id: bytes, digest: Digest) -> list[tuple[Digest, SealHead]]:
    """Return the seals that make up a state, the full one first; raise `SealDamaged` where the chain does not hold."""
    chain: list[tuple[Digest, SealHead]] = []
    wanted: Digest | None = digest
    while wanted is not None:
        head = read_head(store, wanted)
        if head.share_id != share_id:
            raise SealDamaged(f"seal {wanted.hex()} belongs to another share")
        if chain and head.sequence != chain[-1][1].since:
            raise SealDamaged(f"seal {wanted.hex()} ends at {head.sequence}, not at {chain[-1][1].since}")
        chain.append((wanted, head))
        wanted = Digest(head.previous) if head.previous is not None and not head.full else None
    if not chain[-1][1].full:
        raise SealDamaged(f"the chain of seals before {chain[-1][1].sequence} has no beginning")
    return chain[::-1]


def rebuild_catalogue(
    path: Path, journal: Journal, store: ChunkStore, report: Report = lambda done, total: None, files: FileLayer = OS_FILES
) -> int:
    """Make the catalogue at `path`, which does not exist, from seals; return the sequence that it is folded up to (0: no seal).

    Raises `Damaged` kinds when a seal cannot be read.
    """
    newest = newest_seal(journal)
    if newest is None:
        return 0
    unfinished = path.with_name(path.name + ".rebuilt")
    for suffix in ("-wal", "-shm", ""):  # these and no others: what a pattern finds may be another share's catalogue
        leftover = unfinished.with_name(unfinished.name + suffix)
        if leftover.exists():
            remove_file(leftover, files)
    chain = seal_chain(store, journal.share_id, Digest(newest.digest))
    fill_catalogue(unfinished, chain, store, report, journal.start.sequence)
    move_file(unfinished, path, files)
    return newest.sequence


def fill_catalogue(
    path: Path, chain: list[tuple[Digest, SealHead]], store: ChunkStore, report: Report, readable_from: int = 0
) -> None:
    """Write a new catalogue that holds what a chain of seals holds.

    Anchors below `readable_from` are left out: the journal was trimmed up to there after the newest seal was written, and what
    only they kept may be collected.
    """
    catalogue = CatalogueWriter(path)
    connection = catalogue.connection
    total, done = sum(head.rows for _, head in chain), 0
    with transaction(connection):
        filler = CatalogueFiller(connection)
        for digest, head in chain:
            filler.begin_seal()
            rows = 0
            for batch in _rows(head, store):
                filler.add(batch)
                rows += len(batch)
                report(done + rows, total)
            if rows != head.rows:
                raise SealDamaged(f"seal {digest.hex()} holds {rows} rows instead of {head.rows}")
            done += rows
            filler.end_seal(head.sequence, digest, head.full, head.sealed_ns)
        last = chain[-1][1]
        filler.finish(last.sequence)
        ledger = LedgerWriter(connection)
        ledger.meet(last.met_snapshot, last.sequence)
        ledger.meet(ledger.met_snapshot(last.sequence), last.sequence)  # a head of an earlier release does not tell
        ledger.drop_anchors(readable_from)
        sweep_all(connection)
        catalogue.set(
            folded_sequence=last.sequence, brief_since=last.sequence,
            next_node=last.next_node, files=last.files, logical_bytes=last.logical_bytes,
            mirroring=last.mirroring, mirrored=last.mirrored, problem=last.problem, given_control=last.last_control,
            last_snapshot=last.last_snapshot,
        )  # fmt: skip
    catalogue.close()


def _rows(head: SealHead, store: ChunkStore) -> Iterator[list[list[object]]]:
    lines = bytearray()
    for block in read_own_content(store, head.body):
        lines += block
        if len(lines) >= _LINES_AT_ONCE_BYTES:
            end = lines.rfind(b"\n") + 1
            yield decode_rows(bytes(lines[:end]))
            del lines[:end]
    if lines:
        yield decode_rows(bytes(lines))
