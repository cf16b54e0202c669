"""The ground floor: paths, times, records, durable files, databases."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.clock import TimeUnreadable, format_time, parse_time
from core.database import (
    DatabaseDamaged,
    DatabaseRefused,
    DatabaseTooNew,
    DatabaseUnavailable,
    migrate,
    open_database,
    transaction,
)
from core.durable import (
    AppendFile,
    NoSpace,
    WriteFailed,
    make_directories,
    move_file,
    remove_file,
    remove_folder,
    replace_file,
)
from core.errors import StagekeeperError
from core.framing import read_records, record_parts
from core.relpath import PathRefused, is_text, is_within, parse_path, read_path, show_path
from tests.faulty_files import FaultyFiles, Killed


@pytest.mark.parametrize("bad", [b"/a", b"a/", b"a//b", b".", b"a/..", b"../x", b"a/./b", b"a\0b", b"x" * 256, b"a/" * 40_000])
def test_a_path_from_outside_must_be_plain_and_relative(bad: bytes) -> None:
    with pytest.raises(PathRefused) as refusal:
        parse_path(bad)
    assert refusal.value.remedy


@pytest.mark.parametrize("good", [b"", b"a", b"-rf", b"a b/c\n", b"\xff\xfe/...", b"x" * 255])
def test_every_name_that_linux_can_store_is_a_path(good: bytes) -> None:
    assert parse_path(good) == good


@given(st.binary())
def test_what_is_shown_can_be_read_back(path: bytes) -> None:
    assert read_path(show_path(path)) == path
    assert show_path(path).isprintable() or not path
    assert is_text(path) == (show_path(path).encode("utf-8", "surrogateescape") == path)


def test_within_goes_by_components_not_by_characters() -> None:
    assert is_within(parse_path(b"a/b"), parse_path(b"a"))
    assert not is_within(parse_path(b"ab"), parse_path(b"a"))


@given(st.integers(0, 4_000_000_000_000_000).map(lambda micro: micro * 1000))
def test_times_survive_being_written(time_ns: int) -> None:
    assert parse_time(format_time(time_ns)) == time_ns


@pytest.mark.parametrize(
    "text", ["", "now", "2026-11-22", "2026-13-01T00:00:00Z", "2026-11-22T07:00:00", "x2026-11-22T07:00:00Z"]
)
def test_a_time_needs_a_date_a_clock_time_and_a_zone(text: str) -> None:
    with pytest.raises(TimeUnreadable):
        parse_time(text)


def test_a_time_with_another_zone_is_the_same_instant() -> None:
    assert parse_time("2026-11-22T08:00:00+01:00") == parse_time("2026-11-22T07:00:00Z")


@given(st.lists(st.tuples(st.integers(1, 255), st.binary(max_size=200)), max_size=8), st.data())
def test_records_end_at_the_first_that_was_altered(records: list[tuple[int, bytes]], data: st.DataObject) -> None:
    encoded = [b"".join(record_parts(kind, payload)) for kind, payload in records]
    whole = b"".join(encoded)
    assert [(r.type, r.payload) for r in read_records(io.BytesIO(whole), 0)] == records
    if not whole:
        return
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[position] ^= 1 << data.draw(st.integers(0, 7))
    intact, end = 0, 0
    while end + len(encoded[intact]) <= position:
        end += len(encoded[intact])
        intact += 1
    found = [(r.type, r.payload) for r in read_records(io.BytesIO(bytes(damaged)), 0)]
    assert found == records[:intact]


def test_a_full_disk_leaves_no_torn_bytes_behind(tmp_path: Path) -> None:
    files = FaultyFiles()
    file = AppendFile(tmp_path / "f", files)
    file.append([b"first"])
    files.at, files.fault = files.count + 1, "ENOSPC"
    with pytest.raises(NoSpace):
        file.append([b"second"])
    file.append([b"third"])
    file.sync()
    assert (tmp_path / "f").read_bytes() == b"firstthird"


def test_what_a_failed_sync_was_for_is_not_found_when_the_file_is_opened_again(tmp_path: Path) -> None:
    """Else the next sync would say OK to it, and it would be answered for, while the disk does not have it."""
    files = FaultyFiles()
    file = AppendFile(tmp_path / "f", files)
    file.append([b"durable"])
    file.sync()
    file.append([b"lost"])
    files.at, files.fault = files.count + 1, "EIO"
    with pytest.raises(WriteFailed):
        file.sync()
    file.close()
    again = AppendFile(tmp_path / "f", files)
    assert (again.size, again.read_at(0, 100)) == (7, b"durable")
    again.append([b", too"])
    again.sync()
    files.lose_unsynced()
    assert (tmp_path / "f").read_bytes() == b"durable, too"


@pytest.mark.parametrize(
    ("fault", "kind", "word"), [("ENOSPC", NoSpace, "space"), ("EMFILE", NoSpace, "open files"), ("EIO", WriteFailed, "disk")]
)
def test_what_the_system_refuses_is_told_as_one_of_our_errors(
    tmp_path: Path, fault: str, kind: type[StagekeeperError], word: str
) -> None:
    (tmp_path / "old").write_bytes(b"old")
    (tmp_path / "gone").mkdir()
    acts: list[Callable[[FaultyFiles], object]] = [
        lambda files: AppendFile(tmp_path / "f", files),
        lambda files: replace_file(tmp_path / "r", b"new", files),
        lambda files: make_directories(tmp_path / "d", files),
        lambda files: move_file(tmp_path / "old", tmp_path / "gone" / "new", files),
        lambda files: remove_file(tmp_path / "old", files),
        lambda files: remove_folder(tmp_path / "gone", files),
    ]
    for act in acts:
        with pytest.raises(kind) as told:
            act(FaultyFiles(1, fault))
        assert word in told.value.remedy and str(tmp_path) in told.value.message


def test_a_replaced_file_is_old_or_new_at_every_crash(tmp_path: Path) -> None:
    target = tmp_path / "file"
    for at in range(1, 20):
        target.write_bytes(b"old")
        (tmp_path / "file.new").unlink(missing_ok=True)
        files = FaultyFiles(at, "kill")
        try:
            replace_file(target, b"new", files)
        except Killed:
            files.lose_unsynced()
            assert target.read_bytes() in (b"old", b"new")
            continue
        files.lose_unsynced()
        assert target.read_bytes() == b"new"
        return
    raise AssertionError("the scenario never came to its end")


def test_directories_are_made_durable_parent_first(tmp_path: Path) -> None:
    files = FaultyFiles()
    make_directories(tmp_path / "a" / "b", files)
    assert files.log == ["make_directory a", f"sync_directory {tmp_path.name}", "make_directory b", "sync_directory a"]


def test_a_database_has_the_pragmas_that_durability_needs(tmp_path: Path) -> None:
    database = open_database(tmp_path / "x.db")
    assert database.conn.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.conn.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "x.db").conn
    connection.execute("CREATE TABLE t (x)")
    with pytest.raises(ZeroDivisionError), transaction(connection):
        connection.execute("INSERT INTO t VALUES (1)")
        raise ZeroDivisionError
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_full_disk_refuses_the_transaction_and_keeps_what_was_there(tmp_path: Path) -> None:
    connection = open_database(tmp_path / "x.db").conn
    with transaction(connection):
        connection.execute("CREATE TABLE t (data BLOB)")
        connection.execute("INSERT INTO t VALUES (x'01')")
    connection.execute("PRAGMA max_page_count=10")  # SQLite answers as it does when the disk is full
    with pytest.raises(DatabaseRefused, match="full"), transaction(connection):
        connection.execute("INSERT INTO t VALUES (zeroblob(1000000))")
    assert connection.execute("SELECT length(data) FROM t").fetchall() == [(1,)]
    with transaction(connection):
        connection.execute("INSERT INTO t VALUES (x'0203')")


def test_a_database_that_cannot_be_opened_just_now_is_not_damaged(tmp_path: Path) -> None:
    open_database(tmp_path / "x.db").close()
    (tmp_path / "x.db-wal").mkdir()  # the log cannot be made, as on a disk without space
    with pytest.raises(DatabaseUnavailable):
        open_database(tmp_path / "x.db").conn.execute("SELECT * FROM sqlite_schema")
    (tmp_path / "y.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(DatabaseDamaged):
        open_database(tmp_path / "y.db")


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    database = open_database(tmp_path / "x.db")
    migrate(database, [lambda d: None, lambda d: None])
    with pytest.raises(DatabaseTooNew):
        migrate(database, [lambda d: None])
