"""Removing rows of a catalogue that no fence sees any longer.

A row goes only when it is closed, its death is sealed (so that the chain of seals knows it), and no fence is left in its
lifetime. What a sequence that was a fence had kept is found by the index of deaths: between the fences around it. Names whose
time the journal still knows become brief ones.
"""

from core.database import Connection
from snapshots.ledger_db import FENCES
from snapshots.schema_db import LIVE

_ROWS_AT_ONCE = 2000  # so that fold and snapshots wait only milliseconds
_SWEEPS_AT_ONCE = 50
_SEEN_BY_NONE = "died > ?1 AND died <= ?2 AND born > ?3 AND born <= ?1 LIMIT ?4"


def sweep_rows(connection: Connection) -> int:
    """Remove up to some thousand rows, inside a transaction of the caller; return how many."""
    (sealed,) = connection.execute("SELECT max(sequence) FROM seal").fetchone()
    if sealed is None:
        return 0
    removed = 0
    for (sequence,) in connection.execute("SELECT sequence FROM sweep ORDER BY sequence LIMIT ?", (_SWEEPS_AT_ONCE,)).fetchall():
        removed += _sweep(connection, sequence, sealed)
        if removed >= _ROWS_AT_ONCE:
            break
    return removed


def sweep_all(connection: Connection) -> None:
    """Remove every closed row that no fence sees, in a catalogue just made from seals."""
    connection.execute("CREATE TEMP TABLE seen (sequence INTEGER PRIMARY KEY)")
    connection.execute(f"INSERT INTO seen {FENCES}")
    for table in ("entry", "state"):
        connection.execute(
            f"DELETE FROM {table} WHERE died < ? AND NOT EXISTS"
            f" (SELECT 1 FROM seen WHERE seen.sequence >= {table}.born AND seen.sequence < {table}.died)",
            (LIVE,),
        )
    connection.execute("DROP TABLE seen")


def _sweep(connection: Connection, sequence: int, sealed: int) -> int:
    (below, above, here) = connection.execute(
        f"SELECT max(sequence) FILTER (WHERE sequence < ?1), min(sequence) FILTER (WHERE sequence > ?1),"
        f" max(sequence = ?1) FROM ({FENCES})",
        (sequence,),
    ).fetchone()
    if here:  # it is a fence again: nothing that it keeps may go
        connection.execute("DELETE FROM sweep WHERE sequence=?", (sequence,))
        return 0
    until = min(sealed, LIVE if above is None else above)
    bounds = (sequence, until, below or 0, _ROWS_AT_ONCE)
    connection.execute(
        f"INSERT OR REPLACE INTO brief SELECT parent, name, born, died, node FROM entry WHERE (parent, name, born) IN"
        f" (SELECT parent, name, born FROM entry WHERE {_SEEN_BY_NONE}) AND died > (SELECT min(sequence) FROM anchor)",
        bounds,
    )
    removed = connection.execute(
        f"DELETE FROM entry WHERE (parent, name, born) IN (SELECT parent, name, born FROM entry WHERE {_SEEN_BY_NONE})", bounds
    ).rowcount
    removed += connection.execute(
        f"DELETE FROM state WHERE (node, born) IN (SELECT node, born FROM state WHERE {_SEEN_BY_NONE})", bounds
    ).rowcount
    if removed == 0 and above is not None and sealed >= above:  # whatever dies later is seen by the fence above
        connection.execute("DELETE FROM sweep WHERE sequence=?", (sequence,))
        connection.execute("DELETE FROM fence WHERE sequence=?", (sequence,))
    return int(removed)
