"""The memory of what was sent, one SQLite file a share: path → how it looked.

It follows the outbox and is never ahead of it: a transaction is committed only after the records that it belongs to are
synced, and carries their position. One thread uses it; it reads its own uncommitted rows, so that the rows always are
the tree as the changes given out so far have made it.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from branch.known import (
    MIRROR_DONE,
    MIRROR_NEEDED,
    UNKNOWN_ATTRIBUTES,
    UNKNOWN_CONTENT,
    UNSETTLED,
    DropRow,
    KnownRow,
    MoveRow,
    PutRows,
    SetMirror,
    Step,
)
from branch.signatures_db import SignaturesDb, create_signatures
from core.database import DatabaseDamaged, DatabaseError, OperationalError, migrate, open_database
from core.digest import Digest
from core.durable import OS_FILES, FileLayer, remove_file
from core.relpath import RelPath, join, split
from staging.changes import Kind
from staging.protocol import Position

_COLUMNS = "folder, name, kind, inode, links, size, mtime_ns, ctime_ns, attributes, content"
_PUT = f"INSERT OR REPLACE INTO known({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_VOIDED = "ctime_ns = ?, attributes = ?, content = ?"
_VOID = (UNSETTLED, UNKNOWN_ATTRIBUTES, UNKNOWN_CONTENT)
_FILE = int(Kind.FILE)
_BUFFERED_ROWS = 512
_NAMES_A_QUERY = 500


class KnownDb:
    """The rows of one share."""

    def __init__(self, path: Path, files: FileLayer = OS_FILES) -> None:
        """Open or make the memory; a transaction is open from here on. A damaged one is begun anew."""
        self._path, self._files = path, files
        self._buffer: dict[tuple[bytes, bytes], KnownRow] = {}
        try:
            self._connection = _open(path)
        except (DatabaseDamaged, DatabaseError) as error:
            if isinstance(error, OperationalError):
                raise  # no space, no descriptors: nothing is wrong with what is there
            self._connection = None
            self.renew()

    def close(self) -> None:
        """Forget what is not committed and close."""
        self._connection.close()

    def renew(self) -> None:
        """Throw the memory away, whatever state it is in, and begin an empty one."""
        if self._connection is not None:
            self._connection.close()
        self._buffer.clear()
        for suffix in ("", "-wal", "-shm"):
            part = self._path.with_name(self._path.name + suffix)
            if part.exists():
                remove_file(part, self._files)
        self._connection = _open(self._path)

    def position(self) -> Position:
        """Return the end of the outbox when these rows were right."""
        epoch, sequence, frame_hash = self._connection.execute("SELECT epoch, sequence, hash FROM progress").fetchone()
        return Position(epoch, sequence, Digest(frame_hash))

    def mirror(self) -> int:
        """Return where the baseline stands."""
        (state,) = self._connection.execute("SELECT mirror FROM progress").fetchone()
        return int(state)

    def mirror_end(self) -> int | None:
        """Return the sequence up to which the baseline, wholly written down, must be durable; None when it is not yet."""
        state, end = self._connection.execute("SELECT mirror, mirror_end FROM progress").fetchone()
        return int(end) if state == MIRROR_DONE else None

    def commit(self, position: Position) -> None:
        """Keep all steps; they belong to the outbox up to `position`."""
        self._flush()
        self._connection.execute(
            "UPDATE progress SET epoch = ?1, sequence = ?2, hash = ?3,"
            " mirror_end = iif(mirror = ?4, coalesce(mirror_end, ?2), NULL)",
            (position.epoch, position.sequence, position.hash, MIRROR_DONE),
        )
        self._connection.execute("COMMIT")
        self._connection.execute("BEGIN IMMEDIATE")

    def roll_back(self) -> None:
        """Forget all steps since the last commit."""
        self._buffer.clear()
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._connection.execute("BEGIN IMMEDIATE")

    def clear(self) -> None:
        """Forget everything but which files were taken: a baseline is needed."""
        self._flush()
        self._connection.execute("INSERT OR IGNORE INTO taken SELECT inode FROM known WHERE kind = ?", (int(Kind.FILE),))
        self._connection.execute("DELETE FROM known")
        self._connection.execute("DELETE FROM pieces")
        self.signatures.clear()
        self._connection.execute("UPDATE progress SET mirror = ?, mirror_end = NULL", (MIRROR_NEEDED,))

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
            self._connection.execute("UPDATE progress SET mirror = ?, mirror_end = NULL", (step.state,))

    def put(self, row: KnownRow) -> None:
        """Add or replace a row."""
        self._buffer[row[0], row[1]] = row
        if len(self._buffer) >= _BUFFERED_ROWS:
            self._flush()

    def row(self, folder: bytes, name: bytes) -> KnownRow | None:
        """Return the row of a name in a folder."""
        buffered = self._buffer.get((folder, name))
        if buffered is not None:
            return buffered
        query = f"SELECT {_COLUMNS} FROM known WHERE folder = ? AND name = ?"
        found = self._connection.execute(query, (folder, name)).fetchone()
        return KnownRow._make(found) if found is not None else None

    def row_at(self, path: RelPath) -> KnownRow | None:
        """Return the row of a path; the root's has an empty folder and name."""
        return self.row(*split(path)) if path else self.row(b"", b"")

    def children(self, folder: bytes) -> dict[bytes, KnownRow]:
        """Return the rows of a folder by name."""
        self._flush()
        query = f"SELECT {_COLUMNS} FROM known WHERE folder = ? AND name > x''"
        return {found[1]: KnownRow._make(found) for found in self._connection.execute(query, (folder,))}

    def some_children(self, folder: bytes, names: Iterable[bytes]) -> dict[bytes, KnownRow]:
        """Return the rows of these names in a folder, by name."""
        self._flush()
        wanted = list(names)
        rows: dict[bytes, KnownRow] = {}
        for start in range(0, len(wanted), _NAMES_A_QUERY):
            part = wanted[start : start + _NAMES_A_QUERY]
            query = f"SELECT {_COLUMNS} FROM known WHERE folder = ? AND name IN ({','.join('?' * len(part))})"
            rows.update((found[1], KnownRow._make(found)) for found in self._connection.execute(query, (folder, *part)))
        return rows

    def by_inode(self, inode: int) -> list[KnownRow]:
        """Return all rows of an inode: several for hard links."""
        self._flush()
        query = f"SELECT {_COLUMNS} FROM known WHERE inode = ? ORDER BY folder, name"
        return [KnownRow._make(found) for found in self._connection.execute(query, (inode,))]

    def is_taken(self, inode: int) -> bool:
        """Tell whether a file of this inode was ever sent, as far as is remembered."""
        if self.by_inode(inode):
            return True
        return self._connection.execute("SELECT 1 FROM taken WHERE inode = ?", (inode,)).fetchone() is not None

    def is_empty(self) -> bool:
        """Tell whether nothing but the root is known."""
        self._flush()
        return self._connection.execute("SELECT 1 FROM known WHERE name > x'' LIMIT 1").fetchone() is None

    def void_files(self, inodes: Iterable[int]) -> None:
        """Forget of the files with these inodes all but that they are there: a look sends what it finds."""
        self._flush()
        self._connection.executemany(
            f"UPDATE known SET {_VOIDED} WHERE inode = ? AND kind = ?", ((*_VOID, inode, _FILE) for inode in inodes)
        )

    def void_links(self) -> None:
        """Void all names of files of which one is void: a look may come by any of them first."""
        self._flush()
        linked = "SELECT inode FROM known WHERE attributes = ? AND links > 1"
        self._connection.execute(
            f"UPDATE known SET {_VOIDED} WHERE inode IN ({linked}) AND kind = ?", (*_VOID, UNKNOWN_ATTRIBUTES, _FILE)
        )

    def void_rows(self, after: tuple[bytes, bytes], limit: int) -> list[KnownRow]:
        """Return some of the rows that are void, in order, behind that of (folder, name)."""
        self._flush()
        query = f"SELECT {_COLUMNS} FROM known WHERE attributes = ? AND (folder, name) > (?, ?) ORDER BY folder, name LIMIT ?"
        return [KnownRow._make(found) for found in self._connection.execute(query, (UNKNOWN_ATTRIBUTES, *after, limit))]

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

    @property
    def signatures(self) -> SignaturesDb:
        """Return the signatures of the files."""
        return SignaturesDb(self._connection)

    def forget_file(self, inode: int) -> None:
        """Forget the list of chunks and the signature of a file that is gone."""
        self._connection.execute("DELETE FROM pieces WHERE inode = ?", (inode,))
        self.signatures.forget(inode)

    def _flush(self) -> None:
        if self._buffer:
            self._connection.executemany(_PUT, self._buffer.values())
            self._buffer.clear()

    def _move(self, step: MoveRow) -> None:
        self._flush()
        old, new = join(RelPath(step.folder), step.name), join(RelPath(step.new_folder), step.new_name)
        self._connection.execute(
            "UPDATE OR REPLACE known SET folder = ?, name = ? WHERE folder = ? AND name = ?",
            (step.new_folder, step.new_name, step.folder, step.name),
        )
        self._connection.execute("UPDATE OR REPLACE known SET folder = ? WHERE folder = ?", (new, old))
        self._connection.execute(
            "UPDATE OR REPLACE known SET folder = CAST(? || substr(folder, ?) AS BLOB) WHERE folder >= ? AND folder < ?",
            (new, len(old) + 1, *_below(old)),
        )

    def _drop(self, step: DropRow) -> None:
        self._flush()
        path = join(RelPath(step.folder), step.name)
        for where, values in (
            ("folder = ? AND name = ?", (step.folder, step.name)),
            ("folder = ?", (path,)),
            ("folder >= ? AND folder < ?", _below(path)),
        ):
            self._forget(where, values)

    def _forget(self, where: str, values: Sequence[bytes]) -> None:
        of_them = f"inode IN (SELECT inode FROM known WHERE {where})"
        self._connection.execute(f"DELETE FROM pieces WHERE {of_them}", values)
        self.signatures.forget_where(of_them, values)
        self._connection.execute(f"DELETE FROM known WHERE {where}", values)


def _open(path: Path) -> Any:
    database = open_database(path, synchronous="FULL", cache_kib=16_384)
    migrate(database, [_create, create_signatures, _create_taken, _note_mirror_end])
    database.conn.execute("BEGIN IMMEDIATE")
    return database.conn


def _below(path: bytes) -> tuple[bytes, bytes]:
    """Return the bounds of all folders below `path`: '0' is the byte behind '/'."""
    return path + b"/", path + b"0"


def _create(database: Database) -> None:
    database.execute(
        "CREATE TABLE known(folder BLOB NOT NULL, name BLOB NOT NULL, kind INTEGER NOT NULL, inode INTEGER NOT NULL,"
        " links INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,"
        " attributes BLOB NOT NULL, content BLOB NOT NULL, PRIMARY KEY (folder, name)) WITHOUT ROWID"
    )
    database.execute("CREATE INDEX known_inode ON known(inode)")
    database.execute("CREATE TABLE pieces(inode INTEGER PRIMARY KEY, content BLOB NOT NULL, pieces BLOB NOT NULL)")
    database.execute(
        "CREATE TABLE progress(one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,"
        " hash BLOB NOT NULL, mirror INTEGER NOT NULL)"
    )
    database.execute("INSERT INTO progress VALUES (1, 0, 0, zeroblob(32), 0)")


def _create_taken(database: Database) -> None:
    """What the rules about sizes and ages leave alone when a baseline is laid anew."""
    database.execute("CREATE TABLE taken(inode INTEGER PRIMARY KEY)")


def _note_mirror_end(database: Database) -> None:
    """Say of a baseline that an earlier release wrote down that it is laid as soon as anything is."""
    database.execute("ALTER TABLE progress ADD COLUMN mirror_end INTEGER")
    database.execute("UPDATE progress SET mirror_end = 1 WHERE mirror = ?", (MIRROR_DONE,))
