"""How many journal records the fold takes in one transaction."""

from collections.abc import Iterable, Iterator

from staging.journal_scan import LoggedRecord

CHANGES_A_TRANSACTION = 20_000  # bounds the WAL and how long a snapshot waits for the write lock
_BYTES_A_TRANSACTION = 64 * 1024 * 1024  # bounds the memory that collected writes hold


def bounded(records: Iterable[LoggedRecord], limit: int) -> Iterator[LoggedRecord]:
    """Yield records up to about `limit` changes, at least one."""
    taken = taken_bytes = 0
    for record in records:
        yield record
        taken += record.header.count if record.header is not None else 1
        taken_bytes += record.header.unpacked_bytes if record.header is not None else len(record.payload)
        if taken >= limit or taken_bytes >= _BYTES_A_TRANSACTION:
            return
