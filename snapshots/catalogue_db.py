"""One share's catalogue: names and states by lifetime, in one SQLite file. All its SQL that changes anything is here.

`entry` holds names, `state` what a node was, each over `[born, died)`; a row that no snapshot can see (born after the
fence) is changed in place, an older one is closed and a new one opened: copy-on-write. The fence is the newest
snapshot or anchor ever taken; it never moves back.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from core.database import Connection, DatabaseUnavailable, migrate, open_database, truncate_log
from core.digest import Digest
from snapshots.schema_db import LIVE, MIGRATIONS
from staging.changes import Attributes, Chunk, ContentRef, Kind, Recipe

STATE_COLUMNS = (
    "node, born, died, changed, kind, size, mode, uid, gid, owner, mtime_ns, xattrs, content_kind, content, target,"
    " device, linked"
)
_INSERT_STATE = f"INSERT INTO state ({STATE_COLUMNS}) VALUES ({','.join('?' * 17)})"
_UPDATE_STATE = (
    "UPDATE state SET changed=?, kind=?, size=?, mode=?, uid=?, gid=?, owner=?, mtime_ns=?, xattrs=?, content_kind=?,"
    " content=?, target=?, device=?, linked=? WHERE node=? AND born=?"
)

_KINDS = {int(kind): kind for kind in Kind}  # ten times faster than asking the class, and asked for each row of a listing
_encode_runs = msgspec.msgpack.Encoder().encode
decode_runs = msgspec.msgpack.Decoder(tuple[int, ...]).decode
_encode_xattrs = msgspec.msgpack.Encoder().encode
decode_xattrs = msgspec.msgpack.Decoder(tuple[tuple[bytes, bytes], ...]).decode


@dataclass(frozen=True, slots=True)
class Name:
    """A live name: the row's key and the node it stands for."""

    parent: int
    name: bytes
    born: int
    node: int


@dataclass(frozen=True, slots=True)
class State:
    """One state of a node as stored."""

    node: int
    born: int
    changed: int
    kind: Kind
    size: int
    attributes: Attributes
    content: ContentRef = None
    target: bytes = b""
    device: int = 0
    linked: bool = False


class CatalogueWriter:
    """The changing verbs. One thread, inside a transaction of the caller; `fence` must be set to the newest fence."""

    def __init__(self, path: Path) -> None:
        """Open or make a share's file."""
        self._path = path
        self.database = open_database(path)
        migrate(self.database, MIGRATIONS)
        self.connection: Connection = self.database.conn
        self.fence = 0
        self._owners: dict[tuple[bytes, bytes], int] = {}
        self._owner_names: dict[int, tuple[bytes, bytes]] = {}

    def number(self, key: str) -> int:
        """Return a number kept under `key`, 0 when there is none."""
        row = self.connection.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return int(row[0]) if row else 0

    def text(self, key: str) -> str:
        """Return a text kept under `key`, empty when there is none."""
        row = self.connection.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def set(self, **values: int | str) -> None:
        """Keep numbers or texts."""
        rows = [(key, str(value)) for key, value in values.items()]  # text: sums of sizes may pass 64 bits
        self.connection.executemany("INSERT OR REPLACE INTO meta VALUES (?,?)", rows)

    def live_name(self, parent: int, name: bytes) -> Name | None:
        """Return the live name in a folder."""
        row = self.connection.execute(
            "SELECT born, died, node FROM entry WHERE parent=? AND name=? ORDER BY born DESC LIMIT 1", (parent, name)
        ).fetchone()
        return Name(parent, name, row[0], row[2]) if row and row[1] == LIVE else None

    def live_names_in(self, parent: int) -> list[Name]:
        """Return all live names of a folder."""
        rows = self.connection.execute("SELECT name, born, node FROM entry WHERE parent=? AND died=?", (parent, LIVE))
        return [Name(parent, name, born, node) for name, born, node in rows]

    def has_live_name(self, node: int) -> bool:
        """Tell whether any live name stands for the node."""
        row = self.connection.execute("SELECT 1 FROM entry WHERE node=? AND died=? LIMIT 1", (node, LIVE)).fetchone()
        return row is not None

    def is_empty_folder(self, node: int) -> bool:
        """Tell whether a folder has no live name in it."""
        row = self.connection.execute("SELECT 1 FROM entry WHERE parent=? AND died=? LIMIT 1", (node, LIVE)).fetchone()
        return row is None

    def add_name(self, parent: int, name: bytes, node: int, sequence: int) -> None:
        """Open a name."""
        self.connection.execute("INSERT INTO entry VALUES (?,?,?,?,?)", (parent, name, sequence, LIVE, node))

    def end_name(self, row: Name, sequence: int) -> None:
        """Close a name; one that no snapshot can have seen leaves the history, and is known as brief while the journal is."""
        if row.born > self.fence:
            self.connection.execute("DELETE FROM entry WHERE parent=? AND name=? AND born=?", (row.parent, row.name, row.born))
            if row.born < sequence:  # else it was never there: a part of a group
                brief = (row.parent, row.name, row.born, sequence, row.node)
                self.connection.execute("INSERT OR REPLACE INTO brief VALUES (?,?,?,?,?)", brief)
        else:
            self.connection.execute(
                "UPDATE entry SET died=? WHERE parent=? AND name=? AND born=?", (sequence, row.parent, row.name, row.born)
            )

    def live_state(self, node: int) -> State | None:
        """Return a node's live state."""
        row = self.connection.execute(
            f"SELECT {STATE_COLUMNS} FROM state WHERE node=? ORDER BY born DESC LIMIT 1", (node,)
        ).fetchone()
        return self._state(row) if row and row[2] == LIVE else None

    def add_state(self, state: State) -> None:
        """Open the first state of a new node."""
        self.connection.execute(_INSERT_STATE, (state.node, state.born, LIVE, *self._values(state)))

    def change_state(self, old: State, new: State, sequence: int) -> None:
        """Bring a node from `old` to `new`: in place when no snapshot can have seen `old`, else as a new row."""
        new = replace(new, changed=sequence)
        if old.born > self.fence:
            self.connection.execute(_UPDATE_STATE, (*self._values(new), old.node, old.born))
            return
        self.connection.execute("UPDATE state SET died=? WHERE node=? AND born=?", (sequence, old.node, old.born))
        self.connection.execute(_INSERT_STATE, (new.node, sequence, LIVE, *self._values(new)))

    def mark_linked(self, node: int) -> None:
        """Note that a node may have several names. Not a part of any state: a hint for readers, true for all of them."""
        self.connection.execute("UPDATE state SET linked=1 WHERE node=?", (node,))

    def end_state(self, state: State, sequence: int) -> None:
        """Close a node's state, or forget it when no snapshot can have seen it."""
        if state.born > self.fence:
            self.connection.execute("DELETE FROM state WHERE node=? AND born=?", (state.node, state.born))
        else:
            self.connection.execute("UPDATE state SET died=? WHERE node=? AND born=?", (sequence, state.node, state.born))

    def add_moment(self, sequence: int, time_ns: int, place: tuple[int, int]) -> None:
        """Remember when the appliance received the frame that ends with `sequence`, and from where in the journal to read it."""
        self.connection.execute("INSERT OR REPLACE INTO moment VALUES (?,?,?,?)", (sequence, time_ns, *place))

    def add_touched(self, sequence: int, touched: Mapping[tuple[int, bool], Sequence[int]], is_more: bool = False) -> None:
        """Remember which changes of the frame that ends with `sequence` altered which nodes; `is_more`: beside what is known."""
        if is_more:
            touched = {key: _joined(self._touched(sequence, *key), runs) for key, runs in touched.items() if runs}
        rows = [(node, sequence, is_gone, _encode_runs(runs)) for (node, is_gone), runs in touched.items() if runs]
        self.connection.executemany("INSERT OR REPLACE INTO touched VALUES (?,?,?,?)", rows)

    def _touched(self, sequence: int, node: int, is_gone: bool) -> Sequence[int]:
        row = self.connection.execute(
            "SELECT runs FROM touched WHERE node=? AND sequence=? AND gone=?", (node, sequence, is_gone)
        ).fetchone()
        return decode_runs(row[0]) if row else ()

    def drop_touched(self, below: int) -> None:
        """Forget what frames up to a sequence touched, and which names were brief by then: the journal holds them no more."""
        self.connection.execute("DELETE FROM touched WHERE sequence <= ?", (below,))
        self.connection.execute("DELETE FROM brief WHERE died <= ?", (below,))
        self.set(brief_since=max(below, self.number("brief_since")))

    def newest_moment(self) -> int:
        """Return when the newest folded frame was received, 0 when there is none."""
        row = self.connection.execute("SELECT time_ns FROM moment ORDER BY sequence DESC LIMIT 1").fetchone()
        return int(row[0]) if row else 0

    def add_problem(self, sequence: int, reason: str) -> None:
        """Record a change that did not fit."""
        self.connection.execute("INSERT INTO problem VALUES (?,?)", (sequence, reason))

    def clear_problems(self) -> None:
        """Forget the changes that did not fit, after a mirror has repaired them."""
        self.connection.execute("DELETE FROM problem")

    def mark_mirrored(self, parent: int, name: bytes) -> None:
        """Remember that the running mirror has stated this name."""
        self.connection.execute("INSERT OR IGNORE INTO mirrored VALUES (?,?)", (parent, name))

    def has_mirrored_name(self, node: int) -> bool:
        """Tell whether the running mirror has stated any live name of this node."""
        row = self.connection.execute(
            "SELECT 1 FROM entry e JOIN mirrored m ON m.parent=e.parent AND m.name=e.name WHERE e.node=? AND e.died=? LIMIT 1",
            (node, LIVE),
        ).fetchone()
        return row is not None

    def unmirrored_names(self) -> list[Name]:
        """Return the live names that the mirror that ends now did not state."""
        rows = self.connection.execute(
            "SELECT parent, name, born, node FROM entry WHERE died=? AND NOT EXISTS"
            " (SELECT 1 FROM mirrored m WHERE m.parent=entry.parent AND m.name=entry.name)",
            (LIVE,),
        )
        return [Name(*row) for row in rows]

    def end_mirror(self) -> None:
        """Forget what the mirror has stated."""
        self.connection.execute("DELETE FROM mirrored")

    def begin_group(self) -> None:
        """From here on changes may be undone together."""
        self.connection.execute("SAVEPOINT change_group")

    def undo_group(self) -> None:
        """Take back everything since `begin_group`."""
        self.connection.execute("ROLLBACK TO change_group")
        self.forget_caches()

    def end_group(self) -> None:
        """Nothing is undone any more; called after `undo_group` too."""
        self.connection.execute("RELEASE change_group")

    def _values(self, state: State) -> tuple[object, ...]:
        a = state.attributes
        content_kind = 0 if state.content is None else 1 if isinstance(state.content, Chunk) else 2
        return (
            state.changed, int(state.kind), state.size, a.mode, a.uid, a.gid, self._owner(a.user, a.group), a.mtime_ns,
            _encode_xattrs(a.xattrs) if a.xattrs else None, content_kind,
            state.content.digest if state.content is not None else None, state.target, state.device, int(state.linked),
        )  # fmt: skip

    def _owner(self, user: bytes, group: bytes) -> int:
        found = self._owners.get((user, group))
        if found is None:
            self.connection.execute('INSERT OR IGNORE INTO owner (user, "group") VALUES (?,?)', (user, group))
            (found,) = self.connection.execute('SELECT id FROM owner WHERE user=? AND "group"=?', (user, group)).fetchone()
            self._owners[user, group] = found
        return found

    def truncate_log(self) -> None:
        """Write the WAL back and cut it."""
        truncate_log(self.connection, self._path)

    def close(self) -> None:
        """Close the file; its WAL is written back and gone, unless the disk is full: then it is read where it stands."""
        with contextlib.suppress(DatabaseUnavailable):
            self.truncate_log()
        self.connection.close()

    def forget_caches(self) -> None:
        """Drop what a rolled-back transaction may have made wrong."""
        self._owners.clear()
        self._owner_names.clear()

    def _state(self, row: tuple[object, ...]) -> State:
        owner = int(row[9])  # type: ignore[call-overload]
        names = self._owner_names.get(owner)
        if names is None:
            user, group = self.connection.execute('SELECT user, "group" FROM owner WHERE id=?', (owner,)).fetchone()
            names = self._owner_names[owner] = (user, group)
        return state_of_row(row, names)


def state_of_row(row: tuple[object, ...], owner: tuple[bytes, bytes]) -> State:
    """Return the state that a row of `STATE_COLUMNS` holds."""
    (node, born, _, changed, kind, size, mode, uid, gid, _, mtime_ns, xattrs, content_kind, content, target, device,
     linked) = row  # fmt: skip
    attributes = Attributes(mode, uid, gid, mtime_ns, *owner, decode_xattrs(xattrs) if xattrs else ())  # type: ignore[arg-type]
    return State(
        node, born, changed, _KINDS[kind], size, attributes,  # type: ignore[arg-type, index]
        content_of(content_kind, content, size), target, device, bool(linked),  # type: ignore[arg-type]
    )  # fmt: skip


def _joined(earlier: Sequence[int], later: Sequence[int]) -> Sequence[int]:
    """Return runs of changes and those behind them, together as if they had been noted at once."""
    if earlier and earlier[-1] + 1 >= later[0]:
        return (*earlier[:-1], *later[1:])
    return (*earlier, *later)


def content_of(content_kind: int, digest: bytes, size: int) -> ContentRef:
    """Return the content that stored columns describe."""
    if content_kind == 0:
        return None
    return Chunk(Digest(digest), size) if content_kind == 1 else Recipe(Digest(digest), size)
