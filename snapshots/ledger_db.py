"""A share's ledger: its snapshots with their holds, and what else keeps states of the past readable.

Snapshots, anchors and leases are the *fences* of a share: sequences whose state is kept exactly. What was a fence once and is
none any more leaves a `sweep` behind: rows to be looked at that perhaps no fence sees any longer. `LedgerWriter` works inside
the caller's transaction; `LedgerReader` may be asked by any thread.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.clock import NANOSECONDS
from core.database import Connection
from core.digest import Digest
from snapshots.control_format import (
    Control,
    HoldReleased,
    HoldSet,
    PolicySet,
    Sealed,
    ShareDeleted,
    ShareUndeleted,
    SnapshotDeleted,
    SnapshotDropped,
    SnapshotLabelled,
    SnapshotTaken,
    SnapshotUndeleted,
)
from snapshots.schema_db import LIVE

_SNAPSHOT_COLUMNS = (
    'id, snapshot.sequence, taken_ns, label, "trigger", consistency, good, deleted_ns, drop_after_ns, delete_reason,'
    " files, logical_bytes"
)
_SNAPSHOTS = f"SELECT {_SNAPSHOT_COLUMNS} FROM snapshot LEFT JOIN fence ON fence.sequence = snapshot.sequence"
FENCES = "SELECT sequence FROM snapshot UNION SELECT sequence FROM anchor UNION SELECT sequence FROM lease"
_KEPT = "SELECT sequence FROM snapshot UNION ALL SELECT sequence FROM anchor"
_START = f"sequence BETWEEN ? AND ? AND mirroring != 2 AND sequence IN ({_KEPT})"

BARRIER = "barrier"
"""The trigger of a snapshot that the branch asked for, within its order of changes."""
BURST = "burst"
"""The trigger of the snapshot before a burst of losses, and the name of the hold that it comes with."""
BURST_HOLD_NS = 30 * 24 * 3600 * NANOSECONDS  # to notice and act, holidays included; then policy decides as for any other
LAST_EXPIRY_NS = 2**63 - 1  # in the year 2262: SQLite has no longer numbers, and earlier releases journaled holds with such

Query = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A snapshot as stored; `id` is unique in the share. `good` is None until the fold has come there.

    So are `files` and `logical_bytes`, which also stay None for a snapshot of the first release: it did not keep them.
    """

    id: int
    sequence: int
    taken_ns: int
    label: str
    trigger: str
    consistency: int
    good: int | None = None
    deleted_ns: int = 0
    drop_after_ns: int = 0
    delete_reason: str = ""
    files: int | None = None
    logical_bytes: int | None = None

    @classmethod
    def of(cls, record: SnapshotTaken) -> "SnapshotRow":
        """Return the row that a record makes."""
        return cls(record.id, record.sequence, record.taken_ns, record.label, record.trigger, record.consistency)


@dataclass(frozen=True, slots=True)
class Hold:
    """A reason why a snapshot stays. `expires_ns` is 0 when it stays until it is released."""

    snapshot: int
    name: str
    owner: str
    reason: str
    expires_ns: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """That the share is to go, and after when; `with_branch` when it goes because its branch does."""

    deleted_ns: int
    drop_after_ns: int
    with_branch: bool
    reason: str


@dataclass(frozen=True, slots=True)
class SealRow:
    """A record in the store that holds the catalogue up to a sequence."""

    sequence: int
    digest: Digest
    full: bool
    sealed_ns: int


@dataclass(frozen=True, slots=True)
class Counters:
    """What the fold counts, as of a sequence: from here it can go on."""

    next_node: int
    files: int
    logical_bytes: int
    mirroring: int
    mirrored: int
    problem: str
    met_snapshot: int  # the highest id that the journal has told of, removed or not


class LedgerWriter:
    """The changing verbs, inside a transaction of the caller."""

    def __init__(self, connection: Connection) -> None:
        """Bind the catalogue's connection."""
        self._connection = connection

    def apply(self, record: Control) -> bool:
        """Do what a control record says; return True when a fence came into being. Doing it again changes nothing."""
        execute = self._connection.execute
        if isinstance(record, SnapshotTaken):
            return self._take(record)
        if isinstance(record, SnapshotLabelled):
            execute("UPDATE snapshot SET label=? WHERE id=?", (record.label, record.snapshot))
        elif isinstance(record, HoldSet):
            expires_ns = min(record.expires_ns, LAST_EXPIRY_NS)
            row = (record.snapshot, record.name, record.owner, record.reason, expires_ns)
            execute("INSERT OR REPLACE INTO hold SELECT ?1,?2,?3,?4,?5 WHERE EXISTS (SELECT 1 FROM snapshot WHERE id=?1)", row)
        elif isinstance(record, HoldReleased):
            execute("DELETE FROM hold WHERE snapshot=? AND name=?", (record.snapshot, record.name))
        elif isinstance(record, SnapshotDeleted):
            times = (record.deleted_ns, record.drop_after_ns, record.reason, record.snapshot)
            execute("UPDATE snapshot SET deleted_ns=?, drop_after_ns=?, delete_reason=? WHERE id=?", times)
        elif isinstance(record, SnapshotUndeleted):
            execute("UPDATE snapshot SET deleted_ns=0, drop_after_ns=0, delete_reason='' WHERE id=?", (record.snapshot,))
        elif isinstance(record, SnapshotDropped):
            self._drop(record.snapshot)
        elif isinstance(record, Sealed):
            self._seal(SealRow(record.sequence, Digest(record.digest), record.full, record.sealed_ns))
        elif isinstance(record, ShareDeleted):
            told = f"{record.deleted_ns} {record.drop_after_ns} {int(record.with_branch)} {record.reason}"
            execute("INSERT OR REPLACE INTO meta VALUES ('deletion', ?)", (told,))
        elif isinstance(record, ShareUndeleted):
            execute("DELETE FROM meta WHERE key='deletion'")
        elif isinstance(record, PolicySet):
            execute("INSERT OR REPLACE INTO meta VALUES ('policy', ?)", (record.document.decode(),))
            least = f"{record.least_delay_ns} {record.least_until_ns}"
            execute("INSERT OR REPLACE INTO meta VALUES ('least_delay', ?)", (least,))
        return False

    def pass_fence(self, sequence: int, counters: Counters, good: bool) -> None:
        """Remember what the fold counted when it came to a fence, and whether the share was good there."""
        counted = (counters.next_node, counters.files, str(counters.logical_bytes), counters.mirroring, counters.mirrored)
        row = (sequence, *counted, counters.problem, counters.met_snapshot)
        self._connection.execute("INSERT OR IGNORE INTO fence VALUES (?,?,?,?,?,?,?,?)", row)
        self._connection.execute("UPDATE snapshot SET good=? WHERE sequence=? AND good IS NULL", (int(good), sequence))

    def meet(self, snapshot: int, at: int) -> None:
        """Remember that the journal has told of a snapshot of this id, at the fence there too when one was passed."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('met_snapshot', ?)", (str(snapshot),))
        self._connection.execute("UPDATE fence SET met_snapshot=? WHERE sequence=?", (snapshot, at))

    def met_snapshot(self, at: int) -> int:
        """Return the highest id of a snapshot that the journal told of up to where it is folded; 0 when it told of none.

        A catalogue of an earlier release has kept no such number: there it is the highest of those that are left.
        """
        (highest,) = self._connection.execute(
            "SELECT max((SELECT coalesce(max(id), 0) FROM snapshot WHERE sequence <= ?1 AND known_at <= ?1),"
            " coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE key='met_snapshot'), 0))", (at,)
        ).fetchone()  # fmt: skip
        return int(highest)

    def fences_behind(self, sequence: int) -> list[int]:
        """Return the fences above a sequence, lowest first."""
        rows = self._connection.execute(f"SELECT sequence FROM ({FENCES}) WHERE sequence > ? ORDER BY 1", (sequence,))
        return [row[0] for row in rows]

    def newest_fence(self, sequence: int) -> int:
        """Return the highest fence up to a sequence, 0 when there is none."""
        (newest,) = self._connection.execute(f"SELECT max(sequence) FROM ({FENCES}) WHERE sequence <= ?", (sequence,)).fetchone()
        return newest or 0

    def newest_sealed(self) -> int:
        """Return the sequence of the newest seal, 0 when there is none."""
        (newest,) = self._connection.execute("SELECT max(sequence) FROM seal").fetchone()
        return newest or 0

    def set_deferred(self, label: str | None) -> None:
        """Remember that a scheduled snapshot waits, or that none does."""
        self._connection.execute("DELETE FROM meta WHERE key='deferred'")
        if label is not None:
            self._connection.execute("INSERT INTO meta VALUES ('deferred', ?)", (label,))

    def add_anchor(self, sequence: int, taken_ns: int) -> bool:
        """Keep the state as of a sequence for questions about instants; return False when an anchor did so already."""
        cursor = self._connection.execute("INSERT OR IGNORE INTO anchor VALUES (?,?)", (sequence, taken_ns))
        return bool(cursor.rowcount > 0)

    def drop_anchors(self, below: int) -> None:
        """Let go of the anchors below a sequence."""
        self._connection.execute("INSERT OR IGNORE INTO sweep SELECT sequence FROM anchor WHERE sequence < ?", (below,))
        self._connection.execute("DELETE FROM anchor WHERE sequence < ?", (below,))

    def drop_anchor(self, sequence: int) -> None:
        """Let go of one anchor."""
        self._connection.execute("INSERT OR IGNORE INTO sweep SELECT sequence FROM anchor WHERE sequence=?", (sequence,))
        self._connection.execute("DELETE FROM anchor WHERE sequence=?", (sequence,))

    def add_lease(self, sequence: int) -> None:
        """Keep the state as of a sequence for a reader."""
        self._connection.execute("INSERT OR IGNORE INTO lease VALUES (?)", (sequence,))

    def end_leases(self, sequences: Sequence[int] | None = None) -> None:
        """Let go of leases; of all (None) when the catalogue is opened: their readers are gone."""
        rows = (
            self._connection.execute("SELECT sequence FROM lease").fetchall() if sequences is None else [(s,) for s in sequences]
        )
        self._connection.executemany("INSERT OR IGNORE INTO sweep VALUES (?)", rows)
        self._connection.executemany("DELETE FROM lease WHERE sequence=?", rows)

    def _take(self, record: SnapshotTaken) -> bool:
        cursor = self._connection.execute(
            'INSERT OR IGNORE INTO snapshot (id, sequence, taken_ns, label, "trigger", consistency, known_at, good)'
            " VALUES (?1,?2,?3,?4,?5,?6,?7,(SELECT mirroring = 0 AND mirrored AND problem = '' FROM fence WHERE sequence = ?2))",
            (record.id, record.sequence, record.taken_ns, record.label, record.trigger, record.consistency, record.known_at),
        )
        if cursor.rowcount > 0 and record.trigger == BURST:  # the hold is part of the act: no crash can come between
            hold = (record.id, BURST, "stagekeeper", record.label, record.taken_ns + BURST_HOLD_NS)
            self._connection.execute("INSERT INTO hold VALUES (?,?,?,?,?)", hold)
        return bool(cursor.rowcount > 0)

    def _drop(self, snapshot: int) -> None:
        self._connection.execute("INSERT OR IGNORE INTO sweep SELECT sequence FROM snapshot WHERE id=?", (snapshot,))
        self._connection.execute("DELETE FROM snapshot WHERE id=?", (snapshot,))
        self._connection.execute("DELETE FROM hold WHERE snapshot=?", (snapshot,))

    def _seal(self, row: SealRow) -> None:
        if row.full:  # those before it are needed no more
            self._connection.execute("DELETE FROM seal WHERE sequence < ?", (row.sequence,))
        values = (row.sequence, row.digest, int(row.full), row.sealed_ns)
        self._connection.execute("INSERT OR REPLACE INTO seal VALUES (?,?,?,?)", values)


class LedgerReader:
    """The asking verbs. `query` returns all rows of a SELECT."""

    def __init__(self, query: Query) -> None:
        """Bind the way to the catalogue."""
        self._query = query

    def snapshots(self, deleted: bool = False) -> list[SnapshotRow]:
        """Return the snapshots by sequence; with `deleted` also those that are to go."""
        where = "" if deleted else "WHERE deleted_ns = 0"
        rows = self._query(f"{_SNAPSHOTS} {where} ORDER BY snapshot.sequence, id", ())
        return [_snapshot_row(row) for row in rows]

    def snapshot(self, snapshot_id: int) -> SnapshotRow | None:
        """Return one snapshot, also one that is to go."""
        rows = self._query(f"{_SNAPSHOTS} WHERE id=?", (snapshot_id,))
        return _snapshot_row(rows[0]) if rows else None

    def newest_snapshot(self) -> SnapshotRow | None:
        """Return the snapshot of the highest sequence that is not to go."""
        rows = self._query(f"{_SNAPSHOTS} WHERE deleted_ns = 0 ORDER BY snapshot.sequence DESC, id DESC LIMIT 1", ())
        return _snapshot_row(rows[0]) if rows else None

    def barrier(self, sequence: int) -> SnapshotRow | None:
        """Return the snapshot that the branch asked for at a sequence, also one that is to go."""
        rows = self._query(f"{_SNAPSHOTS} WHERE snapshot.sequence=? AND \"trigger\"='{BARRIER}'", (sequence,))
        return _snapshot_row(rows[0]) if rows else None

    def holds(self) -> dict[int, list[Hold]]:
        """Return the holds of each snapshot that has any, also expired ones."""
        found: dict[int, list[Hold]] = {}
        for row in self._query("SELECT snapshot, name, owner, reason, expires_ns FROM hold ORDER BY snapshot, name", ()):
            found.setdefault(row[0], []).append(Hold(*row))
        return found

    def policy(self) -> bytes | None:
        """Return the share's policy document, None when none was set."""
        rows = self._query("SELECT value FROM meta WHERE key='policy'", ())
        return str(rows[0][0]).encode() if rows else None

    def least_delay(self) -> tuple[int, int]:
        """Return (delay, until): the least delay of a removal that is ordered before a time, in nanoseconds."""
        rows = self._query("SELECT value FROM meta WHERE key='least_delay'", ())
        delay_ns, until_ns = str(rows[0][0]).split() if rows else ("0", "0")
        return int(delay_ns), int(until_ns)

    def deletion(self) -> Deletion | None:
        """Return that the share is to go, None when it stays."""
        rows = self._query("SELECT value FROM meta WHERE key='deletion'", ())
        if not rows:
            return None
        deleted_ns, drop_after_ns, with_branch, reason = str(rows[0][0]).split(" ", 3)
        return Deletion(int(deleted_ns), int(drop_after_ns), with_branch == "1", reason)

    def purged(self) -> int:
        """Return the sequence before which no instant can be read, because something was purged there."""
        rows = self._query("SELECT value FROM meta WHERE key='purged'", ())
        return int(rows[0][0]) if rows else 0

    def brief_since(self) -> int:
        """Return the sequence behind which it is known of every frame what it touched, and no brief name is missing."""
        rows = self._query("SELECT value FROM meta WHERE key='brief_since'", ())
        return int(rows[0][0]) if rows else 0

    def is_leased(self) -> bool:
        """Tell whether a reader keeps a state."""
        return bool(self._query("SELECT 1 FROM lease LIMIT 1", ()))

    def deferred(self) -> str | None:
        """Return the label of the scheduled snapshot that waits for the share to be good, None when none waits."""
        rows = self._query("SELECT value FROM meta WHERE key='deferred'", ())
        return str(rows[0][0]) if rows else None

    def fence_before(self, sequence: int) -> int:
        """Return the highest fence up to a sequence, 0 (the empty share) when there is none."""
        ((below,),) = self._query(f"SELECT max(sequence) FROM ({FENCES}) WHERE sequence <= ?", (sequence,))
        return below or 0

    def passed_fence(self, first: int, below: int) -> bool:
        """Tell whether a fence is or was in first..below-1, unless all that it alone kept is removed."""
        return bool(self._query("SELECT 1 FROM fence WHERE sequence >= ? AND sequence < ? LIMIT 1", (first, below)))

    def counters_at(self, fence: int) -> Counters | None:
        """Return what the fold had counted at a fence; None where it was not kept (a fence of the first release)."""
        rows = self._query(
            "SELECT next_node, files, logical_bytes, mirroring, mirrored, problem, coalesce(met_snapshot, 0) FROM fence"
            " WHERE sequence=?", (fence,)
        )  # fmt: skip
        return Counters(rows[0][0], rows[0][1], int(rows[0][2]), *rows[0][3:]) if rows else None

    def anchors(self) -> list[tuple[int, int]]:
        """Return (sequence, time in nanoseconds) of each anchor, oldest first."""
        return [(row[0], row[1]) for row in self._query("SELECT sequence, taken_ns FROM anchor ORDER BY sequence", ())]

    def is_kept(self, sequence: int) -> bool:
        """Tell whether a snapshot or an anchor keeps the state as of a sequence."""
        return bool(self._query(f"SELECT 1 FROM ({_KEPT}) WHERE sequence = ? LIMIT 1", (sequence,)))

    def replay_start(self, lowest: int, sequence: int) -> tuple[int, Counters] | None:
        """Return the newest kept fence in lowest..sequence from which the journal can be replayed, and what was counted there.

        Within a repair that is none: which names it had stated by then is not kept.
        """
        return self._start("DESC", lowest, sequence)

    def oldest_start(self, lowest: int) -> int | None:
        """Return the oldest kept fence from `lowest` on from which the journal can be replayed."""
        found = self._start("ASC", lowest, LIVE)
        return None if found is None else found[0]

    def _start(self, order: str, lowest: int, highest: int) -> tuple[int, Counters] | None:
        rows = self._query(f"SELECT sequence FROM fence WHERE {_START} ORDER BY sequence {order} LIMIT 1", (lowest, highest))
        counters = self.counters_at(rows[0][0]) if rows else None
        return None if counters is None else (rows[0][0], counters)

    def newest_seal(self) -> SealRow | None:
        """Return the newest seal."""
        rows = self._query("SELECT sequence, digest, full, sealed_ns FROM seal ORDER BY sequence DESC LIMIT 1", ())
        return SealRow(rows[0][0], Digest(rows[0][1]), bool(rows[0][2]), rows[0][3]) if rows else None

    def seals(self) -> list[SealRow]:
        """Return the seals that are kept, oldest first: a full one and those behind it."""
        rows = self._query("SELECT sequence, digest, full, sealed_ns FROM seal ORDER BY sequence", ())
        return [SealRow(row[0], Digest(row[1]), bool(row[2]), row[3]) for row in rows]


def _snapshot_row(row: tuple[Any, ...]) -> SnapshotRow:
    """Return a row as a value; sums of bytes are text in the table, as they may pass what SQLite's numbers hold."""
    return SnapshotRow(*(*row[:-1], None if row[-1] is None else int(row[-1])))
