"""Reading a share's catalogue as of a sequence: all its SQL that only reads."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from core.database import DatabaseDamaged, ReaderPool
from core.digest import ZERO_DIGEST, Digest
from core.relpath import ROOT, RelPath, join, show_path
from snapshots.catalogue_db import STATE_COLUMNS, State, decode_runs, state_of_row
from snapshots.chunk_store import ChunkStore
from snapshots.ledger_db import LedgerReader
from snapshots.schema_db import ROOT_NODE
from snapshots.tree import Extent, Node, NoSuchPath
from staging.changes import ContentRef, Kind
from staging.recipe_format import read_pieces, read_pieces_from

_STATES = ", ".join(f"s.{column.strip()}" for column in STATE_COLUMNS.split(","))
_PAGE = 1000


class CatalogueReader:
    """A share's file, read. Any thread may call."""

    def __init__(self, path: Path, share: str, store: ChunkStore) -> None:
        """Name the file; connections are opened when they are needed."""
        self.share, self.store, self.folder = share, store, path.parent
        self._pool = ReaderPool(path)
        self.ledger = LedgerReader(self._pool.query)

    def view(self, sequence: int) -> "SnapshotView":
        """Return the share as of `sequence`, which the caller knows to be a snapshot's or the folded one."""
        return SnapshotView(self, sequence)

    def time_of(self, sequence: int) -> int | None:
        """Return when the appliance received the change `sequence`, in nanoseconds."""
        row = self._one("SELECT time_ns FROM moment WHERE sequence >= ? ORDER BY sequence LIMIT 1", (sequence,))
        return row[0] if row else None

    def names_in(self, parent: int, sequence: int, after: bytes, limit: int) -> list[tuple[bytes, State]]:
        """Return the names of a folder as of `sequence` with their states."""
        rows = self.query(
            f'SELECT e.name, {_STATES}, o.user, o."group" FROM entry e'
            " JOIN state s ON s.node = e.node AND s.born = (SELECT max(born) FROM state WHERE node = e.node AND born <= ?1)"
            " JOIN owner o ON o.id = s.owner"
            " WHERE e.parent=?2 AND e.name > ?3 AND e.born <= ?1 AND e.died > ?1 ORDER BY e.name LIMIT ?4",
            (sequence, parent, after, limit),
        )
        return [(row[0], state_of_row(row[1:18], (row[18], row[19]))) for row in rows]

    def name_at(self, parent: int, name: bytes, sequence: int) -> int | None:
        """Return the node that a name stood for as of `sequence`."""
        row = self._one(
            "SELECT node, died FROM entry WHERE parent=? AND name=? AND born<=? ORDER BY born DESC LIMIT 1",
            (parent, name, sequence),
        )
        return row[0] if row and row[1] > sequence else None

    def state_at(self, node: int, sequence: int) -> State | None:
        """Return a node's state as of `sequence`."""
        row = self._one(
            f'SELECT {_STATES}, o.user, o."group" FROM state s JOIN owner o ON o.id = s.owner'
            " WHERE s.node=? AND s.born<=? ORDER BY s.born DESC LIMIT 1",
            (node, sequence),
        )
        return state_of_row(row[:17], (row[17], row[18])) if row and row[2] > sequence else None

    def states_of(self, node: int) -> list[tuple[State, int]]:
        """Return every kept state of a node with the sequence at which it died, oldest first."""
        rows = self.query(
            f'SELECT {_STATES}, o.user, o."group" FROM state s JOIN owner o ON o.id = s.owner WHERE s.node=? ORDER BY s.born',
            (node,),
        )
        return [(state_of_row(row[:17], (row[17], row[18])), row[2]) for row in rows]

    def lives_of_name(self, parent: int, name: bytes) -> list[tuple[int, int, int]]:
        """Return (node, born, died) of everything that stood at a name, oldest first."""
        rows = self.query("SELECT node, born, died FROM entry WHERE parent=? AND name=? ORDER BY born", (parent, name))
        return list(rows)

    def names_of(self, node: int) -> list[tuple[int, bytes, int, int]]:
        """Return (parent, name, born, died) of every name that a node had, oldest first."""
        rows = self.query("SELECT parent, name, born, died FROM entry WHERE node=? ORDER BY born", (node,))
        return list(rows)

    def lives_before(self, parent: int, name: bytes, below: int, limit: int) -> list[tuple[int, int, int]]:
        """Return up to `limit` (node, born, died) of what stood at a name, brief ones too, born below `below`, newest first."""
        rows = self.query(
            "SELECT node, born, died FROM entry WHERE parent=?1 AND name=?2 AND born < ?3"
            " UNION ALL SELECT node, born, died FROM brief WHERE parent=?1 AND name=?2 AND born < ?3"
            " ORDER BY born DESC LIMIT ?4",
            (parent, name, below, limit),
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def next_birth(self, parent: int, name: bytes, sequence: int) -> int | None:
        """Return when, from a sequence on, a name was made next; brief ones count."""
        row = self._one(
            "SELECT min(born) FROM (SELECT min(born) AS born FROM entry WHERE parent=?1 AND name=?2 AND born >= ?3"
            " UNION ALL SELECT min(born) FROM brief WHERE parent=?1 AND name=?2 AND born >= ?3)",
            (parent, name, sequence),
        )
        return row[0] if row else None

    def all_names_of(self, node: int, limit: int = -1) -> list[tuple[int, bytes, int, int]]:
        """Return the newest (parent, name, born, died) of the names that a node had, brief ones too, newest first."""
        rows = self.query(
            "SELECT parent, name, born, died FROM entry WHERE node=?1"
            " UNION ALL SELECT parent, name, born, died FROM brief WHERE node=?1 ORDER BY born DESC LIMIT ?2",
            (node, limit),
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def first_name_of(self, node: int) -> tuple[int, bytes, int] | None:
        """Return (parent, name, born) of the oldest name of a node that is known, brief ones too."""
        row = self._one(
            "SELECT parent, name, born FROM (SELECT parent, name, born FROM entry WHERE node=?1 ORDER BY born LIMIT 1)"
            " UNION ALL SELECT * FROM (SELECT parent, name, born FROM brief WHERE node=?1 ORDER BY born LIMIT 1)"
            " ORDER BY born LIMIT 1",
            (node,),
        )
        return (row[0], row[1], row[2]) if row else None

    def frame_end(self, sequence: int) -> int | None:
        """Return the last change of the folded frame that holds a change, None when it is not folded."""
        row = self._one("SELECT min(sequence) FROM moment WHERE sequence >= ?", (sequence,))
        return row[0] if row else None

    def touched_before(self, node: int, first: int, last: int, limit: int) -> list[tuple[int, tuple[int, ...]]]:
        """Return up to `limit` (frame, first, last, first, last … of its changes) within first..last, newest first.

        These altered the node; that a name was taken from it is no such change.
        """
        rows = self.query(
            "SELECT sequence, runs FROM touched WHERE node=? AND gone=0 AND sequence BETWEEN ? AND ?"
            " ORDER BY sequence DESC LIMIT ?",
            (node, first, last, limit),
        )
        return [(row[0], decode_runs(row[1])) for row in rows]

    def names_behind(self, parent: int, name: bytes, sequence: int, limit: int) -> list[tuple[int, bytes, int, int]]:
        """Return up to `limit` (parent, name, 0, node) of the names as of `sequence`, in order, behind the given one."""
        rows = self.query(
            "SELECT parent, name, 0, node FROM entry WHERE (parent, name) > (?,?) AND born <= ? AND died > ?"
            " ORDER BY parent, name LIMIT ?",
            (parent, name, sequence, sequence, limit),
        )
        return [(row[0], row[1], row[2], row[3]) for row in rows]

    def touched(
        self, nodes: Sequence[int], behind: tuple[int, int, bool], limit: int
    ) -> list[tuple[int, int, bool, tuple[int, ...]]]:
        """Return up to `limit` (frame, node, took a name, first, last, first, last … of its changes) of nodes, in that order.

        They lie behind the given (frame, node, took a name).
        """
        rows = self.query(
            "SELECT sequence, node, gone, runs FROM touched WHERE node IN (SELECT value FROM json_each(?1)) AND sequence >= ?2"
            " AND (sequence, node, gone) > (?2, ?3, ?4) ORDER BY sequence, node, gone LIMIT ?5",
            (json.dumps(nodes), *behind, limit),
        )
        return [(row[0], row[1], bool(row[2]), decode_runs(row[3])) for row in rows]

    def beginnings(self, nodes: Sequence[int], floor: int) -> list[tuple[bytes, int]]:
        """Return (name, born) of the oldest known name of each node whose names are all from behind a sequence."""
        rows = self.query(
            "SELECT name, min(born) FROM (SELECT node, name, born FROM entry WHERE node IN (SELECT value FROM json_each(?1))"
            " UNION ALL SELECT node, name, born FROM brief WHERE node IN (SELECT value FROM json_each(?1)))"
            " GROUP BY node HAVING min(born) > ?2",
            (json.dumps(nodes), floor),
        )
        return [(row[0], row[1]) for row in rows]

    def place_behind(self, sequence: int) -> tuple[int, int] | None:
        """Return where in the journal the frame that holds the change behind `sequence` stands; None when it is not known."""
        row = self._one("SELECT segment, place FROM moment WHERE sequence > ? ORDER BY sequence LIMIT 1", (sequence,))
        return (row[0], row[1]) if row and row[0] is not None else None

    def sequence_at(self, time_ns: int) -> int:
        """Return the last change received up to a time, 0 when there is none; times grow with the sequences."""
        low, high = 0, (self._one("SELECT max(sequence) FROM moment") or (None,))[0] or 0
        while low < high:  # the answer is `low`, or a moment above it up to `high`
            row = self._one(
                "SELECT sequence, time_ns FROM moment WHERE sequence > ? ORDER BY sequence LIMIT 1", ((low + high) // 2,)
            )
            if row is not None and row[1] <= time_ns:
                low = row[0]
            else:
                high = (low + high) // 2
        return low

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT."""
        return self._pool.query(statement, parameters)

    def close(self) -> None:
        """Close the connections; no thread may be reading."""
        self._pool.close()

    def _one(self, statement: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        rows = self._pool.query(statement, parameters)
        return rows[0] if rows else None


class ContentSource(Protocol):
    """Where chunks and recipe nodes come from; all is checked."""

    def node(self, digest: Digest) -> bytes | memoryview:
        """Return a recipe node."""

    def data(self, digest: Digest) -> bytes | memoryview:
        """Return a data chunk."""

    def readable_data(self, digests: Iterable[Digest]) -> dict[Digest, bytes | memoryview]:
        """Return those of the data chunks that can be read."""


class TreeSource(Protocol):
    """Names and states as of a sequence: a catalogue, or a replay of its journal."""

    @property
    def share(self) -> str:
        """Return `BRANCH/SHARE`."""

    @property
    def store(self) -> ContentSource:
        """Return where contents come from."""

    def names_in(self, parent: int, sequence: int, after: bytes, limit: int) -> list[tuple[bytes, State]]:
        """Return the names of a folder with their states."""

    def name_at(self, parent: int, name: bytes, sequence: int) -> int | None:
        """Return the node that a name stood for."""

    def state_at(self, node: int, sequence: int) -> State | None:
        """Return a node's state."""


class SnapshotView:
    """A share as of one sequence (a `TreeView`)."""

    def __init__(self, reader: TreeSource, sequence: int) -> None:
        """Bind a reader to a sequence."""
        self._reader = reader
        self.sequence = sequence

    @property
    def share(self) -> str:
        """Return `BRANCH/SHARE`."""
        return self._reader.share

    def node_at(self, path: RelPath) -> Node:
        """Return what stands at `path`; raise `NoSuchPath`."""
        return _node(self._state_at(path))

    def list_folder(self, path: RelPath, after: bytes = b"", limit: int = _PAGE) -> list[tuple[bytes, Node]]:
        """Return up to `limit` (name, node) of a folder, sorted by name, behind the name `after`; raise `NoSuchPath`."""
        folder = self._state_at(path)
        if folder.kind is not Kind.FOLDER:
            raise NoSuchPath(f"{show_path(path)} in {self.share} is not a folder", remedy="name a folder")
        return [(name, _node(state)) for name, state in self._reader.names_in(folder.node, self.sequence, after, limit)]

    def walk(self, path: RelPath) -> Iterator[tuple[RelPath, Node]]:
        """Yield `path` and all below it, folders before their content; pages, so that no read transaction stays open."""
        top = self._state_at(path)
        yield path, _node(top)
        open_folders = [(path, self._names(top.node))] if top.kind is Kind.FOLDER else []
        while open_folders:
            folder, names = open_folders[-1]
            found = next(names, None)
            if found is None:
                open_folders.pop()
                continue
            name, state = found
            here = join(folder, name)
            yield here, _node(state)
            if state.kind is Kind.FOLDER:
                open_folders.append((here, self._names(state.node)))

    def extents(self, content: ContentRef) -> Iterator[Extent]:
        """Yield the runs of a content in order, without gaps."""
        offset = 0
        for piece in read_pieces(content, self._reader.store.node):
            yield Extent(offset, piece.length, None if piece.digest == ZERO_DIGEST else piece.digest)
            offset += piece.length

    def chunk(self, digest: Digest) -> bytes | memoryview:
        """Return one chunk's checked bytes."""
        return self._reader.store.data(digest)

    def chunks(self, digests: Sequence[Digest]) -> dict[Digest, bytes | memoryview]:
        """Return the checked bytes of those chunks that can be read."""
        return self._reader.store.readable_data(digests)

    def read(self, content: ContentRef, offset: int, length: int) -> bytes:
        """Return up to `length` checked bytes from `offset`."""
        parts: list[bytes | memoryview] = []
        end = offset + length
        for start, piece in read_pieces_from(content, offset, self._reader.store.node):
            if start >= end:
                break
            low, high = max(offset - start, 0), min(end - start, piece.length)
            parts.append(bytes(high - low) if piece.is_hole else memoryview(self._reader.store.data(piece.digest))[low:high])
        return b"".join(parts)

    def _names(self, node: int) -> Iterator[tuple[bytes, State]]:
        after = b""
        while True:
            page = self._reader.names_in(node, self.sequence, after, _PAGE)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    def _state_at(self, path: RelPath) -> State:
        node = ROOT_NODE
        for name in path.split(b"/") if path != ROOT else ():
            found = self._reader.name_at(node, name, self.sequence)
            if found is None:
                raise self._absent(path)
            node = found
        state = self._reader.state_at(node, self.sequence)
        if state is None and path == ROOT:  # every catalogue begins with it
            raise DatabaseDamaged(
                f"the catalogue of {self.share} has lost the state of its root", remedy="see docs/damage.md: a catalogue"
            )
        if state is None:
            raise self._absent(path)
        return state

    def _absent(self, path: RelPath) -> NoSuchPath:
        return NoSuchPath(f"no {show_path(path)} in {self.share} at that moment", remedy="look with `ls` or `versions`")


def _node(state: State) -> Node:
    return Node(
        state.node,
        state.kind,
        state.size,
        state.attributes,
        state.content,
        state.target,
        state.device,
        state.linked,
    )
