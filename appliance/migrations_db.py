"""The tables of the appliance's own SQLite file, as numbered steps from an empty file to today's.

A step that was released never changes; what comes later is a new step behind it. Times are nanoseconds since 1970 in UTC.
"""

from sqlite_utils import Database

from core.database import Migration

_ACCOUNTS = (
    """CREATE TABLE account (
        name TEXT PRIMARY KEY, role TEXT NOT NULL, password_hash TEXT NOT NULL, disabled INTEGER NOT NULL DEFAULT 0,
        created_at INTEGER NOT NULL, signed_in_at INTEGER) STRICT, WITHOUT ROWID""",
    """CREATE TABLE account_grant (
        account TEXT NOT NULL REFERENCES account(name) ON DELETE CASCADE, share TEXT NOT NULL, path BLOB NOT NULL,
        PRIMARY KEY (account, share, path)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE session (
        digest BLOB PRIMARY KEY, account TEXT NOT NULL REFERENCES account(name) ON DELETE CASCADE,
        address TEXT NOT NULL, created_at INTEGER NOT NULL, used_at INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
    "CREATE INDEX session_account ON session(account)",
    """CREATE TABLE token (
        digest BLOB PRIMARY KEY, account TEXT NOT NULL REFERENCES account(name) ON DELETE CASCADE,
        scope TEXT NOT NULL, created_at INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
    "CREATE INDEX token_account ON token(account)",
    """CREATE TABLE attempt (
        kind TEXT NOT NULL, key TEXT NOT NULL, failures INTEGER NOT NULL, last_at INTEGER NOT NULL,
        PRIMARY KEY (kind, key)) STRICT, WITHOUT ROWID""",
)

_BRANCHES = (
    """CREATE TABLE branch (
        name TEXT PRIMARY KEY, state TEXT NOT NULL, created_at INTEGER NOT NULL, code_digest BLOB UNIQUE,
        code_expires_at INTEGER, token_digest BLOB UNIQUE, enrolled_at INTEGER, last_seen_at INTEGER)
        STRICT, WITHOUT ROWID""",
)

_SCHEDULES = (
    """CREATE TABLE schedule (
        name TEXT PRIMARY KEY, cron TEXT NOT NULL, tz TEXT NOT NULL, action TEXT NOT NULL, shares TEXT NOT NULL,
        destination TEXT NOT NULL, kind TEXT NOT NULL, enabled INTEGER NOT NULL, created_at INTEGER NOT NULL,
        last_due INTEGER NOT NULL, last_run INTEGER, last_outcome TEXT NOT NULL DEFAULT '',
        last_message TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID""",
)

_OWNING = (
    "ALTER TABLE branch ADD COLUMN deleted_at INTEGER",
    "ALTER TABLE branch ADD COLUMN drops_at INTEGER",
    "ALTER TABLE branch ADD COLUMN quota_bytes INTEGER",
    """CREATE TABLE free_space (
        day INTEGER PRIMARY KEY, taken_at INTEGER NOT NULL, free_bytes INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
)


def _step(statements: tuple[str, ...]) -> Migration:
    def run(database: Database) -> None:
        for statement in statements:
            database.execute(statement)

    return run


MIGRATIONS: tuple[Migration, ...] = (_step(_ACCOUNTS), _step(_BRANCHES), _step(_SCHEDULES), _step(_OWNING))
