"""The memory of what was sent: rows through moves and removals, commits and roll-backs."""

from pathlib import Path

import pytest

from branch.known import MIRROR_DONE, MIRROR_NEEDED, MIRROR_OPEN, DropRow, KnownRow, MoveRow, PutRows, SetMirror
from branch.known_db import KnownDb
from core.digest import Digest
from core.relpath import RelPath
from staging.protocol import Position

END = Position(1, 5, Digest(b"h" * 32))


def row(path: bytes, inode: int = 1) -> KnownRow:
    folder, _, name = path.rpartition(b"/")
    return KnownRow(folder, name, 1, inode, 1, 10, 20, 30, b"marks", b"content")


@pytest.fixture
def known(tmp_path: Path) -> KnownDb:
    made = KnownDb(tmp_path / "known.db")
    rows = [row(path, inode) for inode, path in enumerate((b"d", b"d/a", b"d/\xff", b"d/sub", b"d/sub/x", b"d0", b"d-"))]
    made.take(PutRows(rows))
    return made


def paths(known: KnownDb) -> set[bytes]:
    found, todo = set(), [b""]
    while todo:
        folder = todo.pop()
        for name in known.children(folder):
            path = folder + b"/" + name if folder else name
            found.add(path)
            todo.append(path)
    return found


def test_a_folder_moves_with_all_below_it_and_nothing_else(known: KnownDb) -> None:
    known.take(MoveRow(b"", b"d", b"d0", b"n\n"))
    assert paths(known) == {b"d0", b"d-", b"d0/n\n", b"d0/n\n/a", b"d0/n\n/\xff", b"d0/n\n/sub", b"d0/n\n/sub/x"}


def test_a_folder_is_dropped_with_all_below_it_and_nothing_else(known: KnownDb) -> None:
    known.take(DropRow(b"", b"d"))
    assert paths(known) == {b"d0", b"d-"}


def test_what_is_not_committed_is_seen_here_and_forgotten_by_a_roll_back(known: KnownDb) -> None:
    known.commit(END)
    known.put(row(b"new", 77))
    assert known.row(b"", b"new") is not None and known.by_inode(77)
    known.roll_back()
    assert known.row(b"", b"new") is None and known.position() == END


def test_commits_survive_reopening(tmp_path: Path, known: KnownDb) -> None:
    known.take(SetMirror(MIRROR_OPEN))
    known.commit(END)
    known.close()
    again = KnownDb(tmp_path / "known.db")
    assert (again.position(), again.mirror(), len(paths(again))) == (END, MIRROR_OPEN, 7)
    assert again.row_at(RelPath(b"d/sub/x")) == row(b"d/sub/x", 4)


def test_names_are_found_in_any_number(known: KnownDb) -> None:
    names = [b"%d" % number for number in range(1200)]
    known.take(PutRows([row(b"d/" + name) for name in names[:1100]]))
    assert len(known.some_children(b"d", names)) == 1100


def test_clearing_asks_for_a_baseline(known: KnownDb) -> None:
    known.clear()
    assert known.is_empty() and known.mirror() == MIRROR_NEEDED


def test_pieces_count_only_for_the_content_that_they_are_of(known: KnownDb) -> None:
    known.keep_pieces(1, b"content", b"pieces")
    assert known.pieces(1, b"content") == b"pieces" and known.pieces(1, b"other") is None
    known.take(DropRow(b"d", b"a"))
    assert known.pieces(1, b"content") is None


def test_a_damaged_memory_is_begun_anew(tmp_path: Path, known: KnownDb) -> None:
    known.commit(END)
    known.close()
    (tmp_path / "known.db").write_bytes(b"not a database at all" * 400)
    again = KnownDb(tmp_path / "known.db")
    assert again.is_empty() and again.position() == Position() and again.mirror() == MIRROR_NEEDED


def test_where_a_baseline_ends_is_the_first_commit_behind_it(tmp_path: Path, known: KnownDb) -> None:
    assert known.mirror_end() is None
    known.take(SetMirror(MIRROR_DONE))
    known.commit(END)
    known.commit(Position(1, 9, END.hash))
    known.close()
    again = KnownDb(tmp_path / "known.db")
    assert again.mirror_end() == END.sequence
    again.take(SetMirror(MIRROR_OPEN))
    again.commit(Position(1, 11, END.hash))
    assert again.mirror_end() is None
    again.take(SetMirror(MIRROR_DONE))
    again.commit(Position(1, 12, END.hash))
    assert again.mirror_end() == 12
    again.clear()
    assert again.mirror_end() is None
    again.close()
