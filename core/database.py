"""The one door to SQLite: opening with the pragmas that durability needs, transactions, numbered migrations.

`synchronous=FULL` where a commit is acknowledged; `NORMAL` only for what can be rebuilt. SQLite below 3.51.3 has a race when
two connections reset a WAL, so older ones are refused. A connection is used by one thread at a time.
"""

import contextlib
import os
import stat
import struct
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pysqlite3
from sqlite_utils import Database

from core.errors import Damaged, Stopped, TryLater

Connection = Any  # pysqlite3 ships no types
Migration = Callable[[Database], None]

MIN_VERSION = (3, 51, 3)
_BUSY_MILLISECONDS = 30_000
_IDLE_READERS = 8  # kept open for the next question, with their caches
_WAL_LIMIT_BYTES = 16 * 1024 * 1024
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_HEADER = struct.Struct(">16xH6xII60xI4x")  # page size, change counter, pages, the counter that the pages are valid for
_SYNCHRONOUS = {"NORMAL": 1, "FULL": 2}

DatabaseError = pysqlite3.DatabaseError
IntegrityError = pysqlite3.IntegrityError
OperationalError = pysqlite3.OperationalError
ProgrammingError = pysqlite3.ProgrammingError


class DatabaseTooNew(Stopped):
    """A database was written by a newer release."""


class DatabaseDamaged(Damaged):
    """SQLite cannot read a database."""


class DatabaseUnavailable(TryLater):
    """SQLite could not open, read or write a database just now (no space, no descriptors, the disk fails); it may be sound."""


class DatabaseRefused(TryLater):
    """SQLite could not write (the disk is full, or fails); nothing of the transaction was kept."""


class DatabaseClosed(TryLater):
    """A database was closed while somebody still used it: its share was removed, or the process ends."""


class DatabaseBusy(TryLater):
    """Another process held a database for too long."""


_DAMAGE = frozenset({11, 26})  # SQLITE_CORRUPT and SQLITE_NOTADB; all else tells of the moment, not of the bytes


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise what SQLite says inside as one of our errors: damage only when it found wrong bytes."""
    try:
        yield
    except DatabaseError as error:
        if _tells_of_damage(error):
            raise _damaged(path, error) from error
        if isinstance(error, OperationalError):
            raise DatabaseUnavailable(
                f"{path} cannot be used just now: {error}", remedy="check the disk's space and health, then try again"
            ) from error
        raise


def open_database(
    path: Path, *, synchronous: Literal["NORMAL", "FULL"] = "FULL", cache_kib: int = 2048, read_only: bool = False
) -> Database:
    """Open (or make) a database in WAL mode and check that the pragmas took."""
    if pysqlite3.sqlite_version_info < MIN_VERSION:
        raise Stopped(f"SQLite {pysqlite3.sqlite_version} is too old", remedy="install pysqlite3 0.6.1 or newer")
    with translated(path):
        mode = "ro" if read_only else "rwc"
        if not read_only:
            _keep_private(path)
        connection = pysqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute(f"PRAGMA busy_timeout={_BUSY_MILLISECONDS}")
        if not read_only:
            _set(connection, "journal_mode", "WAL", "wal")
            _set(connection, "synchronous", synchronous, _SYNCHRONOUS[synchronous])
            connection.execute(f"PRAGMA journal_size_limit={_WAL_LIMIT_BYTES}")
        connection.execute(f"PRAGMA cache_size=-{cache_kib}")
        connection.execute("PRAGMA temp_store=MEMORY")
    return Database(connection)


def copy_database(source: Path, target: Path) -> None:
    """Write a copy of a database as it is at one moment, while others go on writing it. The copy is not synced."""
    try:
        with contextlib.closing(open_database(source, read_only=True).conn) as connection:
            uri = f"{target.absolute().as_uri()}?mode=rwc"
            with contextlib.closing(pysqlite3.connect(uri, uri=True, isolation_level=None)) as copy:
                connection.backup(copy)  # all pages in one step: nothing that is written meanwhile gets in
    except OperationalError as error:
        raise DatabaseRefused(f"{source} cannot be copied: {error}", remedy="check the disk and its free space") from error
    except DatabaseError as error:
        raise _damaged(source, error) from error


def faults_of(path: Path, limit: int = 10) -> list[str]:
    """Return what SQLite finds wrong with a database, read to its end with all its indexes; raise what keeps it from looking.

    It knows of no checksums: a wrong value in a row that can be read is not found here.
    """
    with translated(path), contextlib.closing(open_database(path, read_only=True).conn) as connection:
        rows = connection.execute(f"PRAGMA integrity_check({limit})").fetchall()
    return [line for (text,) in rows for line in str(text).splitlines() if line != "ok"]


def is_begun(path: Path) -> bool:
    """Tell whether a database was ever written to: a file without a byte, and without a log, is as good as none."""
    return any(file.exists() and file.stat().st_size > 0 for file in (path, path.with_name(path.name + "-wal")))


def is_sound(path: Path) -> bool:
    """Tell whether a file is a database that SQLite can read to its end."""
    if not path.exists() or path.stat().st_size == 0:
        return False
    try:
        with contextlib.closing(open_database(path, read_only=True).conn) as connection:
            return bool(connection.execute("PRAGMA quick_check").fetchone()[0] == "ok")
    except (DatabaseDamaged, DatabaseError):
        return False


class ReaderPool:
    """Connections for reading one database; any thread may ask. None stays open across two questions of a reader."""

    def __init__(
        self, path: Path, *, synchronous: Literal["NORMAL", "FULL"] = "FULL", cache_kib: int = 1024, read_only: bool = False
    ) -> None:
        """Name the database; connections are opened when they are needed."""
        self._path: Path = path
        self._read_only = read_only
        self._synchronous: Literal["NORMAL", "FULL"] = synchronous
        self._cache_kib = cache_kib
        self._idle: deque[Connection] = deque()
        self._closed = False

    def query(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows that a SELECT gives."""
        if self._closed:  # opening it again would make an empty file where one was removed
            raise _closed(self._path)
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = open_database(
                self._path, synchronous=self._synchronous, cache_kib=self._cache_kib, read_only=self._read_only
            ).conn
        try:
            with translated(self._path):
                return list(connection.execute(statement, parameters).fetchall())
        finally:
            if len(self._idle) < _IDLE_READERS and not self._closed:
                self._idle.append(connection)
            else:
                connection.close()

    def close(self) -> None:
        """Close the connections; whoever asks from now on gets `DatabaseClosed`."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Run a block as one write transaction, begun at once so that reading first cannot end in a deadlock."""
    try:
        connection.execute("BEGIN IMMEDIATE")
    except OperationalError as error:
        raise DatabaseBusy(f"a database is busy: {error}", remedy="try again in a moment") from error
    except ProgrammingError as error:
        raise _closed("a database") from error
    try:
        yield
        connection.execute("COMMIT")
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, OperationalError):
            raise DatabaseRefused(f"a database takes no data: {error}", remedy="check the disk and its free space") from error
        if _tells_of_damage(error) or isinstance(error, IntegrityError):  # rows that cannot be there are in the way
            raise _damaged(_path_of(connection), error) from error
        raise


def migrate(database: Database, migrations: Sequence[Migration]) -> None:
    """Bring a database to the newest schema; each migration runs once, in its own transaction.

    Called by the one that writes, before anybody else has the file open. Raises `DatabaseDamaged` when it was cut off.
    """
    path = _path_of(database.conn)
    _check_length(path)
    with translated(path):  # the first that is read of it
        (version,) = database.conn.execute("PRAGMA user_version").fetchone()
    if version > len(migrations):
        raise DatabaseTooNew(
            f"{path} has schema {version}, this program knows {len(migrations)}",
            remedy="upgrade this program; if no newer one was ever here, the file is another's: put the right one back",
        )
    for number, migration in enumerate(migrations[version:], start=version + 1):
        with transaction(database.conn):
            migration(database)
            database.conn.execute(f"PRAGMA user_version={number}")


def truncate_log(connection: Connection, path: Path) -> None:
    """Write a database's WAL back and cut it."""
    with translated(path):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _check_length(path: Path) -> None:
    """Raise when a file is shorter than its header says: SQLite reads what is missing of the last page as zeros, in silence."""
    log = path.with_name(path.name + "-wal")
    if not path.is_file() or (log.exists() and log.stat().st_size):
        return  # a checkpoint that was cut off leaves the header ahead of the file, and the log has the rest
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        size = os.fstat(file.fileno()).st_size
    if len(header) == _HEADER.size:
        page_bytes, changes, pages, valid_for = _HEADER.unpack(header)
        if changes == valid_for and size < pages * (65_536 if page_bytes == 1 else page_bytes):
            raise _damaged(path, f"the file ends before its {pages} pages do")


def _tells_of_damage(error: BaseException) -> bool:
    return isinstance(error, DatabaseError) and getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _damaged(path: Path, error: BaseException | str) -> DatabaseDamaged:
    return DatabaseDamaged(
        f"{path}: {error}", remedy="see docs/damage.md: mostly `stagekeeper rebuild`, with the service stopped"
    )


def _path_of(connection: Connection) -> Path:
    """Return the file of a connection's main database."""
    with contextlib.suppress(DatabaseError):
        return Path(connection.execute("PRAGMA database_list").fetchone()[2])
    return Path("a database")


def _closed(what: Path | str) -> DatabaseClosed:
    return DatabaseClosed(f"{what} was closed", remedy="look whether what you asked about still exists, and ask again")


def _keep_private(path: Path) -> None:
    """Make a file that only its owner may read, whatever the umask: databases hold tokens and everybody's file names."""
    with contextlib.suppress(OSError):  # SQLite says what is wrong with the place
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    for file in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):  # the latter two inherit it
        with contextlib.suppress(OSError):  # not there, or another user's
            if file.stat().st_mode & _OTHERS:
                file.chmod(0o600)


def _set(connection: Connection, pragma: str, value: str, expected: str | int) -> None:
    connection.execute(f"PRAGMA {pragma}={value}")
    (answer,) = connection.execute(f"PRAGMA {pragma}").fetchone()
    if answer != expected:
        raise Stopped(f"SQLite refuses {pragma}={value} (it is {answer})", remedy="use a local file system for the store")
