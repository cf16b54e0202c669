"""Comparing a catalogue with one that was filled from its seals, as of the sequence that was sealed.

Rows that no fence sees any longer may be missing on either side: they are left out. Snapshots and holds are compared after
the journal's acts since the seal were done to the sealed ones too; when the catalogue is ahead of those or behind, the next
verification will do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from core.database import open_database, transaction, translated
from snapshots.control_format import Control, SnapshotTaken
from snapshots.ledger_db import FENCES, LedgerWriter

_SHOWN = 100
_ENTRY = "parent, name, born, {died}, node"
_STATE = (
    "node, born, {died}, changed, kind, size, mode, uid, gid, {owner}, mtime_ns, xattrs, content_kind, content, target, device"
)
_SNAPSHOT = 'id, sequence, taken_ns, label, "trigger", consistency, deleted_ns, drop_after_ns, delete_reason, known_at'


@dataclass(frozen=True, slots=True)
class Acts:
    """What was done to snapshots since a seal: the number of the last control record, and the snapshots that were taken."""

    last: int
    taken: frozenset[int]


def apply_acts(sealed: Path, last: int, controls: Iterable[Control]) -> Acts:
    """Do to the sealed snapshots what control records say that come behind the one with the number `last`."""
    taken: set[int] = set()
    connection = open_database(sealed).conn
    try:
        with transaction(connection):
            for control in controls:
                LedgerWriter(connection).apply(control)
                last = control.number
                if isinstance(control, SnapshotTaken):
                    taken.add(control.id)
        return Acts(last, frozenset(taken))
    finally:
        connection.close()


def differing_rows(catalogue: Path, sealed: Path, sequence: int, acts: Acts) -> tuple[int, list[str]]:
    """Return how many rows were compared, and up to a hundred that one side holds and the other does not."""
    connection = open_database(catalogue, read_only=True).conn
    try:
        with translated(catalogue):
            connection.execute("ATTACH DATABASE ? AS sealed", (f"{sealed.absolute().as_uri()}?mode=ro",))
            connection.execute("BEGIN")  # one state of the catalogue, whatever is dropped meanwhile
            connection.execute("CREATE TEMP TABLE seen (sequence INTEGER PRIMARY KEY)")
            connection.execute(f"INSERT INTO seen SELECT sequence FROM ({FENCES}) WHERE sequence <= ?", (sequence,))
            (known,) = connection.execute(
                "SELECT max(CAST(value AS INTEGER)) FROM main.meta WHERE key IN ('last_control', 'given_control')"
            ).fetchone()
            tables = ("entry", "state", "snapshot", "hold") if known == acts.last else ("entry", "state")
            compared, found = 0, []
            for table in tables:
                here, there = _rows("main", table, sequence, acts.taken), _rows("sealed", table, sequence, acts.taken)
                compared += connection.execute(f"SELECT count(*) FROM ({there})").fetchone()[0]
                for side, query in (("not sealed", f"{here} EXCEPT {there}"), ("sealed, not there", f"{there} EXCEPT {here}")):
                    rows = connection.execute(f"{query} LIMIT {_SHOWN}").fetchall()
                    found += [f"{table} {row[0]} {row[1]!r}: {side}" for row in rows]
            return compared, found[:_SHOWN]
    finally:
        connection.close()


def _rows(schema: str, table: str, sequence: int, taken: frozenset[int]) -> str:
    if table == "snapshot":
        good = f"CASE WHEN id NOT IN ({','.join(map(str, taken))}) THEN good END"  # of what was taken since, the fold tells
        return f"SELECT {_SNAPSHOT}, {good} FROM {schema}.snapshot WHERE sequence <= {sequence}"
    if table == "hold":
        known = f"SELECT 1 FROM {schema}.snapshot n WHERE n.id = h.snapshot AND n.sequence <= {sequence}"
        return f"SELECT snapshot, name, owner, reason, expires_ns FROM {schema}.hold h WHERE EXISTS ({known})"
    died = f"CASE WHEN died <= {sequence} THEN died END"
    owner = f"(SELECT hex(o.user) || ':' || hex(o.\"group\") FROM {schema}.owner o WHERE o.id = t.owner)"
    columns = (_ENTRY if table == "entry" else _STATE).format(died=died, owner=owner)
    return (
        f"SELECT {columns} FROM {schema}.{table} t WHERE born <= {sequence} AND (died > {sequence} OR EXISTS"
        " (SELECT 1 FROM seen WHERE seen.sequence >= t.born AND seen.sequence < t.died))"
    )
