"""The tables of a share's catalogue, as numbered migrations: a catalogue of any earlier release becomes one of this."""

from sqlite_utils import Database

from core.database import Migration

LIVE = 2**63 - 1
"""`died` of a row that has not died."""
ROOT_NODE = 1

_FIRST = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    'CREATE TABLE owner (id INTEGER PRIMARY KEY, user BLOB NOT NULL, "group" BLOB NOT NULL, UNIQUE (user, "group"))',
    "CREATE TABLE entry (parent INTEGER NOT NULL, name BLOB NOT NULL, born INTEGER NOT NULL, died INTEGER NOT NULL,"
    " node INTEGER NOT NULL, PRIMARY KEY (parent, name, born)) WITHOUT ROWID",
    "CREATE INDEX entry_of_node ON entry (node, died)",
    "CREATE TABLE state (node INTEGER NOT NULL, born INTEGER NOT NULL, died INTEGER NOT NULL, changed INTEGER NOT NULL,"
    " kind INTEGER NOT NULL, size INTEGER NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL,"
    " owner INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, xattrs BLOB, content_kind INTEGER NOT NULL, content BLOB,"
    " target BLOB, device INTEGER NOT NULL, linked INTEGER NOT NULL, PRIMARY KEY (node, born)) WITHOUT ROWID",
    "CREATE TABLE snapshot (id INTEGER PRIMARY KEY, sequence INTEGER NOT NULL, taken_ns INTEGER NOT NULL,"
    ' label TEXT NOT NULL, "trigger" TEXT NOT NULL, consistency INTEGER NOT NULL)',
    "CREATE INDEX snapshot_by_sequence ON snapshot (sequence)",
    "CREATE TABLE moment (sequence INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL)",
    "CREATE TABLE problem (sequence INTEGER NOT NULL, reason TEXT NOT NULL)",
    "CREATE TABLE mirrored (parent INTEGER NOT NULL, name BLOB NOT NULL, PRIMARY KEY (parent, name)) WITHOUT ROWID",
    "INSERT INTO owner VALUES (1, x'', x'')",
    f"INSERT INTO state VALUES ({ROOT_NODE}, 0, {LIVE}, 0, 2, 0, 493, 0, 0, 1, 0, NULL, 0, NULL, x'', 0, 0)",  # 0755
)
# Indexes by birth and death: sealing, sweeping and the difference of two snapshots cost what changed, not what there is.
_LEDGER = (
    "ALTER TABLE snapshot ADD COLUMN good INTEGER",  # NULL until the fold has come there
    "ALTER TABLE snapshot ADD COLUMN deleted_ns INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE snapshot ADD COLUMN drop_after_ns INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE snapshot ADD COLUMN delete_reason TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE snapshot ADD COLUMN known_at INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE hold (snapshot INTEGER NOT NULL, name TEXT NOT NULL, owner TEXT NOT NULL, reason TEXT NOT NULL,"
    " expires_ns INTEGER NOT NULL, PRIMARY KEY (snapshot, name)) WITHOUT ROWID",
    "CREATE TABLE fence (sequence INTEGER PRIMARY KEY, next_node INTEGER NOT NULL, files INTEGER NOT NULL,"
    " logical_bytes TEXT NOT NULL, mirroring INTEGER NOT NULL, mirrored INTEGER NOT NULL, problem TEXT NOT NULL)",
    "CREATE TABLE anchor (sequence INTEGER PRIMARY KEY, taken_ns INTEGER NOT NULL)",
    "CREATE TABLE lease (sequence INTEGER PRIMARY KEY)",
    "CREATE TABLE sweep (sequence INTEGER PRIMARY KEY)",
    "CREATE TABLE seal (sequence INTEGER PRIMARY KEY, digest BLOB NOT NULL, full INTEGER NOT NULL, sealed_ns INTEGER NOT NULL)",
    "CREATE INDEX entry_by_born ON entry (born)",
    f"CREATE INDEX entry_by_died ON entry (died) WHERE died < {LIVE}",
    "CREATE INDEX state_by_born ON state (born)",
    f"CREATE INDEX state_by_died ON state (died) WHERE died < {LIVE}",
)
# The journal's frames by number, and what a replay from a fence begins with. An empty share has an anchor at its beginning.
_INSTANTS = (
    "ALTER TABLE moment ADD COLUMN segment INTEGER",  # NULL for frames that an earlier release folded
    "ALTER TABLE moment ADD COLUMN place INTEGER",
    f"INSERT INTO fence SELECT 0, {ROOT_NODE + 1}, 0, '0', 0, 0, '' WHERE NOT EXISTS (SELECT 1 FROM moment)",
    # which changes of a frame (named by its last sequence) altered which node, or took a name from it
    "CREATE TABLE touched (node INTEGER NOT NULL, sequence INTEGER NOT NULL, gone INTEGER NOT NULL, runs BLOB NOT NULL,"
    " PRIMARY KEY (node, sequence, gone)) WITHOUT ROWID",
    "INSERT INTO anchor SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM moment)",
)
# Names that came and went between two fences, or that no fence sees any longer: kept while the journal knows their time.
_BRIEF = (
    "CREATE TABLE brief (parent INTEGER NOT NULL, name BLOB NOT NULL, born INTEGER NOT NULL, died INTEGER NOT NULL,"
    " node INTEGER NOT NULL, PRIMARY KEY (parent, name, born)) WITHOUT ROWID",
    "CREATE INDEX brief_of_node ON brief (node, born)",
    # from where on none is missing: an earlier release forgot them
    "INSERT INTO meta SELECT 'brief_since', value FROM meta WHERE key='folded_sequence'",
)
# The highest id of a snapshot that the journal told of up to a fence; a barrier behind it gets the next. NULL in older fences.
_MET = ("ALTER TABLE fence ADD COLUMN met_snapshot INTEGER",)


def _run(statements: tuple[str, ...]) -> Migration:
    def migration(database: Database) -> None:
        for statement in statements:
            database.conn.execute(statement)

    return migration


MIGRATIONS = [_run(_FIRST), _run(_LEDGER), _run(_INSTANTS), _run(_BRIEF), _run(_MET)]
