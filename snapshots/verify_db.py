"""Comparing a catalogue with one that was filled from its seals, as of the sequence that was sealed.

Rows that no fence sees any longer may be missing on either side: they are left out.
"""

from pathlib import Path

from core.database import open_database
from snapshots.ledger_db import FENCES

_SHOWN = 100
_ENTRY = "parent, name, born, {died}, node"
_STATE = (
    "node, born, {died}, changed, kind, size, mode, uid, gid, {owner}, mtime_ns, xattrs, content_kind, content, target, device"
)


def differing_rows(catalogue: Path, sealed: Path, sequence: int) -> tuple[int, list[str]]:
    """Return how many rows were compared, and up to a hundred that one side holds and the other does not."""
    database = open_database(catalogue, read_only=True)
    try:
        connection = database.conn
        connection.execute("ATTACH DATABASE ? AS sealed", (f"{sealed.absolute().as_uri()}?mode=ro",))
        connection.execute("BEGIN")  # one state of the catalogue, whatever is dropped meanwhile
        connection.execute("CREATE TEMP TABLE seen (sequence INTEGER PRIMARY KEY)")
        connection.execute(f"INSERT INTO seen SELECT sequence FROM ({FENCES}) WHERE sequence <= ?", (sequence,))
        compared, found = 0, []
        for table in ("entry", "state"):
            here, there = _rows("main", table, sequence), _rows("sealed", table, sequence)
            compared += connection.execute(f"SELECT count(*) FROM ({there})").fetchone()[0]
            for side, query in (("not sealed", f"{here} EXCEPT {there}"), ("sealed, not there", f"{there} EXCEPT {here}")):
                rows = connection.execute(f"{query} LIMIT {_SHOWN}").fetchall()
                found += [f"{table} {row[0]} {row[1]!r}: {side}" for row in rows]
        return compared, found[:_SHOWN]
    finally:
        database.conn.close()


def _rows(schema: str, table: str, sequence: int) -> str:
    died = f"CASE WHEN died <= {sequence} THEN died END"
    owner = f"(SELECT hex(o.user) || ':' || hex(o.\"group\") FROM {schema}.owner o WHERE o.id = t.owner)"
    columns = (_ENTRY if table == "entry" else _STATE).format(died=died, owner=owner)
    return (
        f"SELECT {columns} FROM {schema}.{table} t WHERE born <= {sequence} AND (died > {sequence} OR EXISTS"
        " (SELECT 1 FROM seen WHERE seen.sequence >= t.born AND seen.sequence < t.died))"
    )
