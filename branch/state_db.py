"""Enrolment and shares: the agent's own small database, written by its commands and by the running agent."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from branch.barrier_db import create_barriers
from branch.file_rules import FileRules
from branch.old_excludes import as_git_reads
from branch.verification_db import create_verifications
from branch.wire import WireBill
from core.database import migrate, open_database, transaction
from core.digest import Digest
from core.errors import NotFound, Refused
from staging.protocol import Position

_SHARE_COLUMNS = (
    "name, path, share_id, life, capture, excludes, larger_than, unchanged_since_ns, limits, root_device, root_file_system,"
    " root_inode, epoch, sequence, hash, payload_bytes, framing_bytes, compressed_bytes, resync_bytes"
)


class NotEnrolled(Refused):
    """No appliance knows this branch yet."""


class ShareNotProtected(NotFound):
    """No share of that name is protected here."""


class ShareExists(Refused):
    """The name stands for another folder."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """The appliance that this branch belongs to, and what proves each to the other."""

    url: str
    branch: str
    token: str
    certificate: str


@dataclass(frozen=True, slots=True)
class RootMark:
    """By what the root folder of a share is known again: an unmounted or exchanged root is never an empty share."""

    device: int
    file_system: int
    inode: int

    def is_same(self, other: "RootMark") -> bool:
        """Tell whether both are one folder; device numbers may change at boot, then the file system's own id decides."""
        same_disk = self.device == other.device or (self.file_system == other.file_system != 0)
        return self.inode == other.inode and same_disk


@dataclass(frozen=True, slots=True)
class ShareRecord:
    """A protected folder, and how far the appliance has acknowledged its changes."""

    name: str
    path: bytes
    share_id: bytes
    life: int  # how often protection was ended: what was remembered of the folder in another life is void
    capture: str  # "watch" or "filter"
    excludes: tuple[bytes, ...]
    file_rules: FileRules
    limits: tuple[str, ...]  # rules as they were given; read by `limit_rule`
    root: RootMark | None
    acknowledged: Position
    wire: WireBill


class StateDb:
    """The database; a connection belongs to its thread, so each thread opens its own."""

    def __init__(self, path: Path) -> None:
        """Open or make the database."""
        database = open_database(path, synchronous="FULL")
        migrations = [_create, _keep_ended, _keep_limits, create_barriers, create_verifications, _keep_rules, _keep_capture]
        migrate(database, migrations)
        self._connection = database.conn

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def enrolment(self) -> Enrolment:
        """Return the enrolment; raise `NotEnrolled`."""
        row = self._connection.execute("SELECT url, branch, token, certificate FROM enrolment").fetchone()
        if row is None:
            raise NotEnrolled("this branch is not enrolled", remedy="run: stagekeeper-agent enroll URL CODE")
        return Enrolment(*row)

    def is_enrolled(self) -> bool:
        """Tell whether an appliance knows this branch."""
        return self._connection.execute("SELECT 1 FROM enrolment").fetchone() is not None

    def set_enrolment(self, enrolment: Enrolment) -> None:
        """Remember the appliance."""
        with transaction(self._connection):
            self._connection.execute(
                "INSERT OR REPLACE INTO enrolment(one, url, branch, token, certificate) VALUES (1, ?, ?, ?, ?)",
                (enrolment.url, enrolment.branch, enrolment.token, enrolment.certificate),
            )

    def shares(self) -> list[ShareRecord]:
        """Return all protected shares by name."""
        return self._shares(is_protected=True)

    def ended_shares(self) -> list[ShareRecord]:
        """Return the shares whose protection was ended, by name: what they are on the appliance is kept."""
        return self._shares(is_protected=False)

    def share(self, name: str) -> ShareRecord:
        """Return one share; raise `ShareNotProtected`."""
        query = f"SELECT {_SHARE_COLUMNS} FROM share WHERE name = ? AND is_protected"
        row = self._connection.execute(query, (name,)).fetchone()
        if row is None:
            raise ShareNotProtected(f"no share {name} is protected here", remedy="run: stagekeeper-agent status")
        return _record(row)

    def protect(
        self, name: str, path: bytes, share_id: bytes, excludes: tuple[bytes, ...], file_rules: FileRules,
        limits: Sequence[str], root: RootMark, capture: str = "watch",
    ) -> ShareRecord:  # fmt: skip
        """Add a share, or give a protected one new rules, limits and a new mark; raise `ShareExists` for another folder.

        A share whose protection was ended keeps its id and position, so that its history on the appliance goes on.
        """
        rules = (_encode_patterns(excludes), file_rules.larger_than_bytes, file_rules.unchanged_since_ns)
        mark = (root.device, root.file_system, root.inode)
        with transaction(self._connection):
            row = self._connection.execute("SELECT path, is_protected FROM share WHERE name = ?", (name,)).fetchone()
            if row is not None and row[1] and row[0] != path:
                raise ShareExists(f"share {name} is another folder", remedy="take another name, or unprotect it first")
            if row is None:
                self._connection.execute("INSERT INTO share(name, path, share_id) VALUES (?, ?, ?)", (name, path, share_id))
            self._connection.execute(
                "UPDATE share SET path = ?, capture = ?, excludes = ?, larger_than = ?, unchanged_since_ns = ?, limits = ?,"
                " root_device = ?, root_file_system = ?, root_inode = ?, is_protected = 1 WHERE name = ?",
                (path, capture, *rules, json.dumps(list(limits)), *mark, name),
            )
        return self.share(name)

    def unprotect(self, name: str) -> ShareRecord:
        """End a share's protection; raise `ShareNotProtected`. The appliance knows it by its id, which is kept."""
        record = self.share(name)
        with transaction(self._connection):
            self._connection.execute("UPDATE share SET is_protected = 0, life = life + 1 WHERE share_id = ?", (record.share_id,))
        return record

    def record_progress(self, share_id: bytes, acknowledged: Position, wire: WireBill) -> None:
        """Remember durably what the appliance has acknowledged, and the bill up to there."""
        with transaction(self._connection):
            self._connection.execute(
                "UPDATE share SET epoch = ?, sequence = ?, hash = ?, payload_bytes = ?, framing_bytes = ?,"
                " compressed_bytes = ?, resync_bytes = ? WHERE share_id = ?",
                (
                    acknowledged.epoch, acknowledged.sequence, acknowledged.hash, wire.payload_bytes, wire.framing_bytes,
                    wire.compressed_bytes, wire.resync_bytes, share_id,
                ),
            )  # fmt: skip

    def _shares(self, is_protected: bool) -> list[ShareRecord]:
        query = f"SELECT {_SHARE_COLUMNS} FROM share WHERE is_protected = ? ORDER BY name"
        return [_record(row) for row in self._connection.execute(query, (is_protected,))]


def _record(row: Any) -> ShareRecord:
    name, path, share_id, life, capture, excludes, larger_than, since_ns, limits, device, file_system, inode, *more = row
    epoch, sequence, frame_hash, *wire = more
    patterns, rules = tuple(_decode_patterns(excludes)), FileRules(larger_than, since_ns)
    root = RootMark(device, file_system, inode) if device is not None else None
    acknowledged = Position(epoch, sequence, Digest(frame_hash))
    return ShareRecord(
        name, path, share_id, life, capture, patterns, rules, tuple(json.loads(limits)), root, acknowledged, WireBill(*wire)
    )  # fmt: skip


def _create(database: Database) -> None:
    database.execute(
        "CREATE TABLE enrolment(one INTEGER PRIMARY KEY CHECK (one = 1), url TEXT NOT NULL, branch TEXT NOT NULL,"
        " token TEXT NOT NULL, certificate TEXT NOT NULL)"
    )
    database.execute(
        "CREATE TABLE share(name TEXT PRIMARY KEY, path BLOB NOT NULL, share_id BLOB NOT NULL UNIQUE,"
        " excludes TEXT NOT NULL DEFAULT '[]', root_device INTEGER, root_file_system INTEGER, root_inode INTEGER,"
        " epoch INTEGER NOT NULL DEFAULT 0, sequence INTEGER NOT NULL DEFAULT 0,"
        " hash BLOB NOT NULL DEFAULT (zeroblob(32)),"
        " payload_bytes INTEGER NOT NULL DEFAULT 0, framing_bytes INTEGER NOT NULL DEFAULT 0,"
        " compressed_bytes INTEGER NOT NULL DEFAULT 0, resync_bytes INTEGER NOT NULL DEFAULT 0)"
    )


def _keep_ended(database: Database) -> None:
    database.execute("ALTER TABLE share ADD COLUMN is_protected INTEGER NOT NULL DEFAULT 1")
    database.execute("ALTER TABLE share ADD COLUMN life INTEGER NOT NULL DEFAULT 0")


def _keep_limits(database: Database) -> None:
    database.execute("ALTER TABLE share ADD COLUMN limits TEXT NOT NULL DEFAULT '[]'")


def _keep_rules(database: Database) -> None:
    """Patterns of earlier releases were a shell's."""
    database.execute("ALTER TABLE share ADD COLUMN larger_than INTEGER")
    database.execute("ALTER TABLE share ADD COLUMN unchanged_since_ns INTEGER")
    for name, excludes in database.execute("SELECT name, excludes FROM share").fetchall():
        written = [as_git_reads(pattern) for pattern in _decode_patterns(excludes)]
        kept = _encode_patterns([pattern for pattern in written if pattern is not None])
        database.execute("UPDATE share SET excludes = ? WHERE name = ?", (kept, name))


def _encode_patterns(patterns: Sequence[bytes]) -> str:
    return json.dumps([pattern.decode("utf-8", "surrogateescape") for pattern in patterns])


def _decode_patterns(text: str) -> list[bytes]:
    return [pattern.encode("utf-8", "surrogateescape") for pattern in json.loads(text)]


def _keep_capture(database: Database) -> None:
    database.execute("ALTER TABLE share ADD COLUMN capture TEXT NOT NULL DEFAULT 'watch'")
