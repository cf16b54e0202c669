"""The form in which names are compared, blocks of names, and the index of names as the appliance keeps it up."""

import threading
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.database import open_database
from core.relpath import show_path
from snapshots.find_db import BlockReader
from snapshots.name_block_format import NameBlockDamaged, NameKey, encode_block, keys_among, keys_with, may_hold, slots_of
from snapshots.name_index import NameIndex
from snapshots.search_form import TextRefused, search_form, wanted_form
from staging.changes import Attributes, Change, Create, Group, Kind, Unlink
from tests.share_rig import ShareRig

PLAIN = Attributes(0o644, 0, 0, 0)
ODD_NAMES = [
    b"\xff\xfe", b"new\nline", b'quo"te\'', b"100%_done", b"back\\slash", unicodedata.normalize("NFC", "Müller.txt").encode(),
    unicodedata.normalize("NFD", "Müller.txt").encode(), b"n" * 255, "Straße".encode(), "invoice\u200fgpj.exe".encode(),
    b"-rf", "İstanbul".encode(), "\u200f".encode(), b" ", "名前".encode(), b"\xf0\x9f\x98",
]  # fmt: skip
names = st.sampled_from(ODD_NAMES) | st.binary(min_size=1, max_size=12).map(lambda b: b.replace(b"/", b"x").replace(b"\0", b"y"))
keys = st.lists(st.tuples(st.integers(1, 2**62), st.integers(1, 2**62), names), max_size=40).map(sorted)
PIECES = [b"u", b"ss", b"\\xff", b"\\", b"%", b"_", b"oice", b"n" * 200, b"x", "名".encode()]
wanted = names.map(search_form) | st.sampled_from(PIECES)


@settings(deadline=None)
@given(keys, wanted)
def test_a_block_gives_exactly_the_rows_whose_names_hold_the_text(rows: list[NameKey], text: bytes) -> None:
    naive = [row for row in rows if text in search_form(row[2])]
    block = encode_block(rows)
    assert keys_with(block.data, text) == naive
    assert not naive or may_hold(block.filter, slots_of(text))
    assert keys_among(rows, text) == naive


@settings(deadline=None)
@given(names)
def test_a_name_is_found_by_what_an_answer_shows_of_it(name: bytes) -> None:
    assert wanted_form(show_path(name)[:255]) in search_form(name) or len(show_path(name)) > 255
    assert search_form(search_form(name).replace(b"\\", b"")) == search_form(name).replace(b"\\", b"")


def test_names_are_compared_without_case_twins_and_invisible_marks() -> None:
    assert len({search_form(text.encode()) for text in ("MÜLLER", "müller", "mu\u0308ller", "Mu\u0308ller")}) == 1
    assert wanted_form("strasse") == search_form("Straße".encode())
    assert wanted_form("voicegpj") in search_form("invoice\u200fgpj.exe".encode())
    assert wanted_form("\u200f") == search_form("\u200f".encode()) != b""
    assert wanted_form("\\xff") in search_form(b"a\xff") and wanted_form("\\") in search_form(b"a\\b")
    assert wanted_form("\n") in search_form(b"new\nline")


@pytest.mark.parametrize("text", ["", "a/b", "\\x2f", "\0", "n" * 256])
def test_a_text_that_no_name_holds_is_refused(text: str) -> None:
    with pytest.raises(TextRefused):
        wanted_form(text)


def test_a_block_with_one_wrong_byte_is_refused() -> None:
    block = encode_block([(n, 1, b"name %d" % n) for n in range(100)]).data
    for at in range(0, len(block), 7):
        with pytest.raises(NameBlockDamaged):
            keys_with(block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :], b"name")


def made(rig: ShareRig, first: int, count: int) -> None:
    paths = [b"name %d" % n for n in range(first, first + count)]
    rig.send(paths, [Create(n, Kind.FILE, PLAIN) for n in range(count)])
    rig.fold.fold_all()


def removed(rig: ShareRig, first: int, count: int) -> None:
    paths = [b"name %d" % n for n in range(first, first + count)]
    rig.send(paths, [Unlink(n) for n in range(count)])
    rig.fold.fold_all()


def index_of(rig: ShareRig) -> NameIndex:
    return NameIndex(rig.folder / "find" / "names.db", rig.reader, lines_a_block=20, lines_at_least=5)


def found(index: NameIndex, text: bytes = b"name", below: int = 2**62) -> list[bytes]:
    return [key[2] for run in index.keys(text, below) for key in run]


def indexed(rig: ShareRig) -> tuple[int, int, int]:
    """Return (blocks, lines, newest indexed birth)."""
    connection = open_database(rig.folder / "find" / "names.db").conn
    (row,) = connection.execute("SELECT count(*), sum(lines), max(last) FROM block").fetchall()
    connection.close()
    return row


def step_all(index: NameIndex, rig: ShareRig) -> int:
    steps = 0
    while index.step(rig.fold.sequence):
        steps += 1
        assert steps < 100
    return steps


NEWEST_FIRST = [b"name %d" % n for n in range(99, -1, -1)]


def test_names_are_found_before_during_and_after_indexing_and_a_restart_goes_on(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    made(rig, 0, 100)
    index = index_of(rig)
    assert found(index) == NEWEST_FIRST
    for _ in range(2):
        assert index.step(rig.fold.sequence)
        assert found(index) == NEWEST_FIRST
    index.close()
    assert indexed(rig) == (2, 40, 40)
    again = index_of(rig)  # as after a kill between two steps
    assert found(again) == NEWEST_FIRST
    assert step_all(again, rig) == 3
    assert indexed(rig) == (5, 100, 100)
    assert found(again) == NEWEST_FIRST
    assert found(again, b"name 5", 53) == [b"name 51", b"name 50", b"name 5"]
    made(rig, 100, 3)
    assert not again.step(rig.fold.sequence)  # too few for a block; found all the same
    assert found(again)[:4] == [b"name 102", b"name 101", b"name 100", b"name 99"]
    again.close()
    rig.close()


def test_an_emptied_index_is_made_anew_only_behind_what_it_was_emptied_for(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    rig.send([b"%d" % number for number in range(60)], [Create(number, Kind.FILE, PLAIN) for number in range(60)])
    rig.fold.fold_all()
    index, path = index_of(rig), rig.folder / "find" / "names.db"
    index.step(rig.fold.sequence)
    step = threading.Thread(target=index.step, args=(rig.fold.sequence,))
    with index.emptied():
        step.start()
        step.join(0.2)
        assert step.is_alive() and not path.exists()
    step.join(10)
    assert path.exists()
    index.close()
    rig.close()


def test_small_blocks_become_one_and_rows_that_were_removed_leave(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    index = index_of(rig)
    for start in range(0, 60, 6):
        made(rig, start, 6)
        step_all(index, rig)
    assert indexed(rig)[:2] == (4, 60)  # 18 lines fit, 24 do not
    removed(rig, 0, 57)
    for start in range(100, 190, 6):
        made(rig, start, 6)
        step_all(index, rig)
    blocks, lines, _ = indexed(rig)
    assert lines <= 2 * 93 and blocks <= 10
    assert set(found(index)) == {b"name %d" % n for n in (57, 58, 59, *range(100, 190))}
    index.close()
    rig.close()


def test_a_run_that_is_being_read_survives_that_blocks_become_one(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    made(rig, 0, 100)
    index = index_of(rig)
    step_all(index, rig)
    removed(rig, 0, 15)
    removed(rig, 20, 15)
    rest = set(NEWEST_FIRST) - {b"name %d" % n for n in (*range(15), *range(20, 35))}
    runs = index.keys(b"name", 2**62)
    seen = next(runs)
    made(rig, 200, 12)
    step_all(index, rig)
    made(rig, 300, 12)
    step_all(index, rig)
    seen += [key for run in runs for key in run]
    assert len(seen) == len(set(seen))
    assert rest <= {key[2] for key in seen}
    index.close()
    rig.close()


def test_all_names_of_one_change_group_are_indexed_together(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    paths = [b"name %d" % n for n in range(70)]
    many: list[Change] = [Group(tuple(Create(n, Kind.FILE, PLAIN) for n in range(10, 70)))]
    rig.send(paths, [*[Create(n, Kind.FILE, PLAIN) for n in range(10)], *many])
    rig.fold.fold_all()
    index = index_of(rig)
    assert sorted(found(index)) == sorted(paths)
    step_all(index, rig)
    assert indexed(rig)[1:] == (70, 11)
    assert sorted(found(index)) == sorted(paths)
    index.close()
    rig.close()


def damage_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : len(data)] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)


def damage_filter(path: Path) -> None:
    connection = open_database(path).conn
    connection.execute("UPDATE block SET filter = zeroblob(length(filter))")
    connection.close()


def damage_block(path: Path) -> None:
    connection = open_database(path).conn
    connection.execute("UPDATE block SET data = zeroblob(length(data)) WHERE last = (SELECT min(last) FROM block)")
    connection.close()


@pytest.mark.parametrize(
    "damage", [damage_page, damage_filter, damage_block, Path.unlink, lambda path: path.write_bytes(b"no database" * 1000)],
    ids=["page", "filter", "block", "lost", "foreign"],
)  # fmt: skip
def test_a_lost_or_damaged_index_costs_no_answer_and_is_made_again(tmp_path: Path, damage: object) -> None:
    rig = ShareRig(tmp_path)
    made(rig, 0, 100)
    index = index_of(rig)
    step_all(index, rig)
    index.close()
    damage(rig.folder / "find" / "names.db")  # type: ignore[operator]
    again = index_of(rig)
    assert found(again) == NEWEST_FIRST
    step_all(again, rig)
    assert indexed(rig) == (5, 100, 100)
    assert found(again) == NEWEST_FIRST
    again.close()
    rig.close()


def test_an_index_of_another_history_is_not_believed(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path / "one")
    made(rig, 0, 60)
    index = index_of(rig)
    step_all(index, rig)
    index.close()
    rig.close()
    other = ShareRig(tmp_path / "two")
    made(other, 500, 60)
    (tmp_path / "two" / "find").mkdir()
    (tmp_path / "one" / "find" / "names.db").rename(tmp_path / "two" / "find" / "names.db")
    moved = index_of(other)
    expected = [b"name %d" % n for n in range(559, 499, -1)]
    assert found(moved) == expected
    step_all(moved, other)
    assert indexed(other) == (3, 60, 60)
    assert found(moved) == expected
    moved.close()
    other.close()


def test_looking_for_a_text_reads_no_more_blocks_than_hold_births_asked_for(tmp_path: Path) -> None:
    rig = ShareRig(tmp_path)
    made(rig, 0, 100)
    index = index_of(rig)
    step_all(index, rig)
    index.close()
    blocks = BlockReader(rig.folder / "find" / "names.db")
    assert [row[:2] for row in blocks.blocks_from(45, [], 16)] == [(60, 40), (40, 20), (20, 0)]
    assert [row[:2] for row in blocks.blocks_from(40, [], 16)] == [(40, 20), (20, 0)]
    read = [(row[0], row[3] is not None) for row in blocks.blocks_from(100, slots_of(b"name 7"), 16)]
    assert read == [(100, False), (80, True), (60, False), (40, False), (20, True)]
    blocks.close()
    rig.close()
