"""The memory of what was sent, one SQLite file a share: path → how it looked.

It follows the outbox and is never ahead of it: a transaction is committed only after the records that it belongs to are
synced, and carries their position. One thread uses it; it reads its own uncommitted rows, so that the rows always are
the tree as the changes given out so far have made it. Rows hang on the number of their folder, so that a renamed folder
is one row, and adding a file costs half of what whole paths as keys cost.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from sqlite_utils import Database

from branch.known import MIRROR_NEEDED, DropRow, KnownRow, MoveRow, PutRows, SetMirror, Step
from core.database import DatabaseDamaged, DatabaseError, OperationalError, migrate, open_database
from core.digest import Digest
from core.durable import OS_FILES, FileLayer, remove_file
from core.relpath import ROOT, RelPath, join, split
from staging.changes import Kind
from staging.protocol import Position

_ROOT_PARENT, _ROOT_ID = 0, 1
_ROWS_A_STATEMENT = 64  # one call of SQLite for many rows: each call hands the interpreter to another thread and back
_BUFFERED_ROWS = 8 * _ROWS_A_STATEMENT
_NAMES_A_QUERY = 500
_CACHED_FOLDERS = 100_000  # about 15 MB
_ROW = "(?, ?, ?, ?, ?)"
_PUT = "INSERT OR REPLACE INTO known(parent, name, inode, id, data) VALUES "

_Data = tuple[int, int, int, int, int, bytes, bytes]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Data)


class KnownDb:
    """The rows of one share."""

    def __init__(self, path: Path, files: FileLayer = OS_FILES) -> None:
        """Open or make the memory; a transaction is open from here on. A damaged one is begun anew."""
        self._path, self._files = path, files
        self._buffer: dict[tuple[bytes, bytes], KnownRow] = {}
        self._ids: dict[RelPath, int] = {}
        try:
            self._connection = _open(path)
        except (DatabaseDamaged, DatabaseError) as error:
            if isinstance(error, OperationalError) or isinstance(error.__cause__, OperationalError):
                raise  # no space, no descriptors: nothing is wrong with what is there
            self._connection = None
            self.renew()
        self._forget_cached()

    def close(self) -> None:
        """Forget what is not committed and close."""
        self._connection.close()

    def renew(self) -> None:
        """Throw the memory away, whatever state it is in, and begin an empty one."""
        if self._connection is not None:
            self._connection.close()
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                remove_file(part, self._files)
        self._connection = _open(self._path)
        self._forget_cached()

    def position(self) -> Position:
        """Return the end of the outbox when these rows were right."""
        epoch, sequence, frame_hash = self._connection.execute("SELECT epoch, sequence, hash FROM progress").fetchone()
        return Position(epoch, sequence, Digest(frame_hash))

    def mirror(self) -> int:
        """Return where the baseline stands."""
        (state,) = self._connection.execute("SELECT mirror FROM progress").fetchone()
        return int(state)

    def commit(self, position: Position) -> None:
        """Keep all steps; they belong to the outbox up to `position`."""
        self._flush()
        self._connection.execute(
            "UPDATE progress SET epoch = ?, sequence = ?, hash = ?", (position.epoch, position.sequence, position.hash)
        )
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")

    def roll_back(self) -> None:
        """Forget all steps since the last commit."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.execute("BEGIN IMMEDIATE")
        self._forget_cached()

    def clear(self) -> None:
        """Forget everything: a baseline is needed."""
        self._connection.execute("DELETE FROM known")
        self._connection.execute("DELETE FROM pieces")
        self._connection.execute("UPDATE progress SET mirror = ?", (MIRROR_NEEDED,))
        self._forget_cached()

    def take(self, step: Step) -> None:
        """Take one step."""
        if isinstance(step, PutRows):
            for row in step.rows:
                self.put(row)
        elif isinstance(step, MoveRow):
            self._move(step)
        elif isinstance(step, DropRow):
            self._drop(step)
        elif isinstance(step, SetMirror):
            self._connection.execute("UPDATE progress SET mirror = ?", (step.state,))

    def put(self, row: KnownRow) -> None:
        """Add or replace a row; its folder's row was put before."""
        self._buffer[row[0], row[1]] = row
        if row.kind == Kind.FOLDER and row.name:
            self._give_id(row)
        if len(self._buffer) >= _BUFFERED_ROWS:
            self._flush()

    # -- asking ---------------------------------------------------------------------------------------------------

    def row(self, folder: bytes, name: bytes) -> KnownRow | None:
        """Return the row of a name in a folder."""
        buffered = self._buffer.get((folder, name))
        if buffered is not None:
            return buffered
        parent = self._folder_id(RelPath(folder)) if name else _ROOT_PARENT
        query = "SELECT inode, data FROM known WHERE parent = ? AND name = ?"
        found = self._connection.execute(query, (parent, name)).fetchone()
        return _row(folder, name, *found) if found is not None else None

    def row_at(self, path: RelPath) -> KnownRow | None:
        """Return the row of a path; the root's has an empty folder and name."""
        return self.row(*split(path)) if path else self.row(b"", b"")

    def children(self, folder: bytes) -> dict[bytes, KnownRow]:
        """Return the rows of a folder by name."""
        self._flush()
        query = "SELECT name, inode, data FROM known WHERE parent = ?"
        found = self._connection.execute(query, (self._folder_id(RelPath(folder)),))
        return {name: _row(folder, name, inode, data) for name, inode, data in found}

    def some_children(self, folder: bytes, names: Iterable[bytes]) -> dict[bytes, KnownRow]:
        """Return the rows of these names in a folder, by name."""
        self._flush()
        wanted, parent = list(names), self._folder_id(RelPath(folder))
        rows: dict[bytes, KnownRow] = {}
        for start in range(0, len(wanted), _NAMES_A_QUERY):
            part = wanted[start : start + _NAMES_A_QUERY]
            query = f"SELECT name, inode, data FROM known WHERE parent = ? AND name IN ({','.join('?' * len(part))})"
            found = self._connection.execute(query, (parent, *part))
            rows.update((name, _row(folder, name, inode, data)) for name, inode, data in found)
        return rows

    def by_inode(self, inode: int) -> list[KnownRow]:
        """Return all rows of an inode, by path: several for hard links."""
        self._flush()
        found = self._connection.execute("SELECT parent, name, data FROM known WHERE inode = ?", (inode,)).fetchall()
        return sorted(_row(self._path_of(parent), name, inode, data) for parent, name, data in found)

    def is_empty(self) -> bool:
        """Tell whether nothing but the root is known."""
        self._flush()
        query = "SELECT 1 FROM known WHERE parent >= ? LIMIT 1"
        return self._connection.execute(query, (_ROOT_ID,)).fetchone() is None

    def pieces(self, inode: int, content: bytes) -> bytes | None:
        """Return the list of chunks kept for a file, if it is the list of this content."""
        found = self._connection.execute("SELECT content, pieces FROM pieces WHERE inode = ?", (inode,)).fetchone()
        return found[1] if found is not None and found[0] == content else None

    def keep_pieces(self, inode: int, content: bytes, pieces: bytes) -> None:
        """Keep a file's list of chunks; losing it costs questions, never data."""
        self._connection.execute(
            "INSERT OR REPLACE INTO pieces(inode, content, pieces) VALUES (?, ?, ?)", (inode, content, pieces)
        )

    def forget_pieces(self) -> None:
        """Forget the lists of chunks: what they say is held is not."""
        self._connection.execute("DELETE FROM pieces")

    # -- inside ---------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        values: list[object] = []
        for row in self._buffer.values():
            path_id = self._ids[join(RelPath(row.folder), row.name)] if row.kind == Kind.FOLDER else 0
            parent = self._folder_id(RelPath(row.folder)) if row.name else _ROOT_PARENT
            values += (parent, row.name, row.inode, path_id, _encoder.encode((row.kind, *row[4:])))
        self._buffer.clear()
        columns = 5
        for start in range(0, len(values), columns * _ROWS_A_STATEMENT):
            part = values[start : start + columns * _ROWS_A_STATEMENT]
            self._connection.execute(_PUT + ", ".join([_ROW] * (len(part) // columns)), part)

    def _give_id(self, row: KnownRow) -> None:
        """Give a folder its number, the one that it has if it is known."""
        path = join(RelPath(row.folder), row.name)
        if path in self._ids:
            return
        found = self._find_id(RelPath(row.folder), row.name)
        if not found:
            self._last_id += 1
            found = self._last_id
        self._ids[path] = found

    def _folder_id(self, path: RelPath) -> int:
        """Return the number of a folder; -1, which no row hangs on, when it is not known."""
        known = self._ids.get(path)
        if known is not None:
            return known
        known = self._find_id(*split(path))
        if known <= 0:
            return -1
        if len(self._ids) > _CACHED_FOLDERS and not self._buffer:
            self._ids = {ROOT: _ROOT_ID}
        self._ids[path] = known
        return known

    def _find_id(self, folder: RelPath, name: bytes) -> int:
        query = "SELECT id FROM known WHERE parent = ? AND name = ?"
        above: list[bytes] = [name]
        while folder not in self._ids:  # not recursive: trees of 3000 levels exist
            folder, name = split(folder)
            above.append(name)
        number = self._ids[folder]
        for step in reversed(above):
            found = self._connection.execute(query, (number, step)).fetchone()
            if found is None:
                return 0
            number = found[0]
        return int(number)

    def _path_of(self, number: int) -> RelPath:
        names: list[bytes] = []
        while number > _ROOT_ID:
            number, name = self._connection.execute("SELECT parent, name FROM known WHERE id = ?", (number,)).fetchone()
            names.append(name)
        return RelPath(b"/".join(reversed(names)))

    def _move(self, step: MoveRow) -> None:
        self._flush()
        old, new = self._folder_id(RelPath(step.folder)), self._folder_id(RelPath(step.new_folder))
        self._connection.execute(
            "UPDATE OR REPLACE known SET parent = ?, name = ? WHERE parent = ? AND name = ?",
            (new, step.new_name, old, step.name),
        )
        self._forget_folder(join(RelPath(step.folder), step.name))

    def _drop(self, step: DropRow) -> None:
        self._flush()
        parent = self._folder_id(RelPath(step.folder))
        number = self._find_id(RelPath(step.folder), step.name)
        self._forget("parent = ? AND name = ?", (parent, step.name))
        todo = [number] if number else []
        while todo:
            number = todo.pop()
            todo += [row[0] for row in self._connection.execute("SELECT id FROM known WHERE parent = ? AND id > 0", (number,))]
            self._forget("parent = ?", (number,))
        self._forget_folder(join(RelPath(step.folder), step.name))

    def _forget(self, where: str, values: tuple[object, ...]) -> None:
        self._connection.execute(f"DELETE FROM pieces WHERE inode IN (SELECT inode FROM known WHERE {where})", values)
        self._connection.execute(f"DELETE FROM known WHERE {where}", values)

    def _forget_folder(self, path: RelPath) -> None:
        """Ask for the numbers of folders anew if one was known at or below a path."""
        if path in self._ids:
            self._ids = {ROOT: _ROOT_ID}

    def _forget_cached(self) -> None:
        self._buffer.clear()
        self._ids = {ROOT: _ROOT_ID}
        (self._last_id,) = self._connection.execute("SELECT max(ifnull(max(id), 0), ?) FROM known", (_ROOT_ID,)).fetchone()


def _row(folder: bytes, name: bytes, inode: int, data: bytes) -> KnownRow:
    kind, *rest = _decoder.decode(data)
    return KnownRow(folder, name, kind, inode, *rest)


def _open(path: Path) -> Any:
    database = open_database(path, synchronous="FULL", cache_kib=16_384)
    migrate(database, [_create])
    database.conn.execute("BEGIN IMMEDIATE")
    return database.conn


def _create(database: Database) -> None:
    database.execute(
        "CREATE TABLE known(parent INTEGER NOT NULL, name BLOB NOT NULL, inode INTEGER NOT NULL, id INTEGER NOT NULL,"
        " data BLOB NOT NULL, PRIMARY KEY (parent, name)) WITHOUT ROWID"
    )
    database.execute("CREATE INDEX known_inode ON known(inode)")
    database.execute("CREATE INDEX known_folder ON known(id) WHERE id > 0")
    database.execute("CREATE TABLE pieces(inode INTEGER PRIMARY KEY, content BLOB NOT NULL, pieces BLOB NOT NULL)")
    database.execute(
        "CREATE TABLE progress(one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,"
        " hash BLOB NOT NULL, mirror INTEGER NOT NULL)"
    )
    database.execute("INSERT INTO progress VALUES (1, 0, 0, zeroblob(32), 0)")
