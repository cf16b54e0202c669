"""The rows of a catalogue for a purge: all its SQL. Inside a transaction of the caller."""

from dataclasses import dataclass

from core.database import Connection
from snapshots.ledger_db import FENCES
from snapshots.schema_db import LIVE
from snapshots.sweep_db import sweep_all


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A name over its lifetime."""

    parent: int
    name: bytes
    born: int
    died: int
    node: int


@dataclass(frozen=True, slots=True)
class StateRow:
    """What is asked about a state."""

    node: int
    born: int
    died: int
    kind: int
    size: int


class PurgeTables:
    """Reads and changes names and states."""

    def __init__(self, connection: Connection) -> None:
        """Bind the catalogue's connection."""
        self._connection = connection

    def end_instants(self, at: int) -> None:
        """Let go of every anchor before `at`, and of all rows that nothing is left to see."""
        self._connection.execute("DELETE FROM anchor WHERE sequence < ?", (at,))
        sweep_all(self._connection)
        self._connection.execute("DELETE FROM sweep")
        self._connection.execute("DELETE FROM brief")

    def forget_seals(self, at: int) -> None:
        """Forget every seal, and what was counted at `at`: both tell of what is gone."""
        self._connection.execute("DELETE FROM seal")
        self._connection.execute("DELETE FROM fence WHERE sequence = ?", (at,))
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('purged', ?)", (str(at),))

    def count_down(self, sequence: int, files: int, logical_bytes: int) -> None:
        """Take what is gone off what was counted at a fence, if anything was."""
        rows = self._connection.execute("SELECT files, logical_bytes FROM fence WHERE sequence=?", (sequence,)).fetchall()
        left = [(counted - files, str(int(total) - logical_bytes), sequence) for counted, total in rows]
        self._connection.executemany("UPDATE fence SET files=?, logical_bytes=? WHERE sequence=?", left)

    def fences(self) -> list[int]:
        """Return the sequences whose state is kept, lowest first."""
        return [row[0] for row in self._connection.execute(f"SELECT sequence FROM ({FENCES}) ORDER BY sequence")]

    def entries(self, parent: int, name: bytes) -> list[EntryRow]:
        """Return everything that stood at a name of a folder."""
        return self._entries("parent=? AND name=?", parent, name)

    def entries_in(self, parent: int) -> list[EntryRow]:
        """Return every name that a folder had."""
        return self._entries("parent=?", parent)

    def names_of(self, node: int) -> list[EntryRow]:
        """Return every name that a node had."""
        return self._entries("node=?", node)

    def replace_entry(self, old: EntryRow, new: list[EntryRow]) -> None:
        """Remove a name's row and put others in its place."""
        self._connection.execute("DELETE FROM entry WHERE parent=? AND name=? AND born=?", (old.parent, old.name, old.born))
        rows = [(row.parent, row.name, row.born, row.died, row.node) for row in new]
        self._connection.executemany("INSERT INTO entry VALUES (?,?,?,?,?)", rows)

    def states(self, node: int) -> list[StateRow]:
        """Return every state of a node."""
        rows = self._connection.execute("SELECT node, born, died, kind, size FROM state WHERE node=?", (node,))
        return [StateRow(*row) for row in rows.fetchall()]

    def drop_state(self, state: StateRow) -> None:
        """Remove a state."""
        self._connection.execute("DELETE FROM state WHERE node=? AND born=?", (state.node, state.born))

    def end_state(self, state: StateRow, at: int) -> None:
        """Close a live state."""
        self._connection.execute("UPDATE state SET died=? WHERE node=? AND born=? AND died=?", (at, state.node, state.born, LIVE))

    def _entries(self, where: str, *values: object) -> list[EntryRow]:
        rows = self._connection.execute(f"SELECT parent, name, born, died, node FROM entry WHERE {where}", values)
        return [EntryRow(*row) for row in rows.fetchall()]
