"""What a look gives out for each thing that can happen to a folder, and that the appliance ends up with the same tree."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from tests.branch.edits import Editor
from tests.branch.rig import Rig


def write(rig: Rig, **files: str) -> None:
    for name, text in files.items():
        (rig.tree / name).write_text(text)


def changes(rig: Rig, edit: Callable[[], object]) -> list[str]:
    """Return what an edit makes the agent say, without attributes of folders."""
    known = len(rig.replay.log)
    edit()
    rig.once()
    return [entry for entry in rig.check().log[known:] if not entry.startswith("setattributes")]


@pytest.fixture
def laid(rig: Rig) -> Rig:
    """A share whose baseline is laid."""
    write(rig, a="one", b="two", c="three")
    (rig.tree / "d" / "e").mkdir(parents=True)
    (rig.tree / "d" / "x").write_text("x")
    (rig.tree / "d" / "e" / "y").write_text("y")
    rig.protect()
    rig.once()
    rig.check()
    return rig


def test_a_baseline_is_bracketed_and_has_parents_first(laid: Rig) -> None:
    log = laid.replay.log
    assert log[0] == "mirror True" and log[-1] == "mirror False"
    assert log.index("create b'd'") < log.index("create b'd/e'") < log.index("create b'd/e/y'")


def test_nothing_is_sent_when_nothing_changed(laid: Rig) -> None:
    durable = laid.target.durable()
    asked = len(laid.target.requests)
    laid.once()
    assert laid.target.durable() == durable
    assert laid.target.requests[asked:] == ["open", "tasks"]


def test_a_rename_is_one_change(laid: Rig) -> None:
    assert changes(laid, lambda: os.rename(laid.path("a"), laid.path("d/z"))) == ["rename b'a' -> b'd/z'"]


def test_a_renamed_folder_takes_its_content_along(laid: Rig) -> None:
    assert changes(laid, lambda: os.rename(laid.path("d"), laid.path("n"))) == ["rename b'd' -> b'n'"]


def test_a_renamed_folder_whose_content_changed_is_still_a_rename(laid: Rig) -> None:
    def edit() -> None:
        os.rename(laid.path("d"), laid.path("n"))
        (laid.tree / "n" / "new").write_text("n")
        (laid.tree / "n" / "x").unlink()

    assert sorted(changes(laid, edit)) == ["create b'n/new'", "rename b'd' -> b'n'", "unlink b'n/x'"]


def test_a_swap_keeps_both_nodes(laid: Rig) -> None:
    laid.replay.take_all(laid.target)
    one, other = laid.replay.find(b"a"), laid.replay.find(b"b")

    def edit() -> None:
        os.rename(laid.path("a"), laid.path("t"))
        os.rename(laid.path("b"), laid.path("a"))
        os.rename(laid.path("t"), laid.path("b"))

    assert len(changes(laid, edit)) == 3
    assert (laid.replay.find(b"a"), laid.replay.find(b"b")) == (other, one)


def test_a_ring_of_folders_keeps_all_nodes(laid: Rig) -> None:
    for name in ("p", "q", "r"):
        (laid.tree / name).mkdir()
        (laid.tree / name / "inside").write_text(name)
    changes(laid, lambda: None)
    before = [laid.replay.find(name) for name in (b"p", b"q", b"r")]

    def edit() -> None:
        for old, new in (("p", "t"), ("q", "p"), ("r", "q"), ("t", "r")):
            os.rename(laid.path(old), laid.path(new))

    assert all(entry.startswith("rename") for entry in changes(laid, edit))
    assert [laid.replay.find(name) for name in (b"r", b"p", b"q")] == before


def test_a_folder_turned_inside_out_keeps_its_nodes(laid: Rig) -> None:
    outer, inner = laid.replay.find(b"d"), laid.replay.find(b"d/e")

    def edit() -> None:
        os.rename(laid.path("d/e"), laid.path("t"))
        os.rename(laid.path("d"), laid.path("t/e"))
        os.rename(laid.path("t"), laid.path("d"))

    assert all(entry.startswith("rename") for entry in changes(laid, edit))
    assert (laid.replay.find(b"d"), laid.replay.find(b"d/e")) == (inner, outer)


def test_an_atomic_save_is_new_content_of_the_same_node(laid: Rig) -> None:
    node = laid.replay.find(b"a")

    def edit() -> None:
        write(laid, saving="newer")
        os.rename(laid.path("saving"), laid.path("a"))

    assert changes(laid, edit) == ["content b'a'"]
    assert laid.replay.find(b"a") is node


def test_a_save_with_backup_moves_the_old_node(laid: Rig) -> None:
    node = laid.replay.find(b"a")

    def edit() -> None:
        os.rename(laid.path("a"), laid.path("a~"))
        write(laid, a="newer")

    changes(laid, edit)
    assert laid.replay.find(b"a~") is node


def test_a_rename_over_a_file_removes_that_one(laid: Rig) -> None:
    assert changes(laid, lambda: os.rename(laid.path("a"), laid.path("b"))) == ["unlink b'b'", "rename b'a' -> b'b'"]


def test_a_further_name_is_a_link_and_content_is_sent_once(laid: Rig) -> None:
    def edit() -> None:
        os.link(laid.path("a"), laid.path("d/also"))
        write(laid, a="longer than before")

    said = changes(laid, edit)
    assert sorted(said) == ["content b'a'", "link b'd/also'"] or sorted(said) == ["content b'd/also'", "link b'd/also'"]
    assert changes(laid, lambda: write(laid, a="again")) in (["content b'a'"], ["content b'd/also'"])


def test_a_saved_link_is_split_from_its_other_name(laid: Rig) -> None:
    os.link(laid.path("a"), laid.path("also"))
    changes(laid, lambda: None)

    def edit() -> None:
        write(laid, saving="mine")
        os.rename(laid.path("saving"), laid.path("also"))

    changes(laid, edit)
    assert laid.replay.find(b"a") is not laid.replay.find(b"also")


def test_a_file_becomes_a_folder_and_back(laid: Rig) -> None:
    def edit() -> None:
        os.unlink(laid.path("a"))
        (laid.tree / "a").mkdir()
        write(laid, **{"a/in": "x"})
        shutil.rmtree(laid.path("d"))
        write(laid, d="now a file")

    changes(laid, edit)


def test_the_same_size_and_mtime_do_not_hide_a_change(laid: Rig) -> None:
    found = os.stat(laid.path("a"))

    def edit() -> None:
        write(laid, a="eno")
        os.utime(laid.path("a"), ns=(found.st_atime_ns, found.st_mtime_ns))

    assert changes(laid, edit) == ["content b'a'"]


def test_a_touched_file_sends_attributes_only(laid: Rig) -> None:
    known = len(laid.replay.log)
    os.utime(laid.path("a"), ns=(5, 5))
    laid.once()
    assert laid.check().log[known:] == ["setattributes b'a'"]


def test_excluded_names_are_left_out_and_removed_when_the_pattern_comes_later(laid: Rig) -> None:
    write(laid, **{"d/keep": "k", "d/x.tmp": "t"})
    changes(laid, lambda: None)
    laid.protect("--exclude", "*.tmp", "--exclude", "e/")
    laid.once()
    assert {b"d/keep", b"d/x"} <= laid.replay.take_all(laid.target).paths().keys()
    assert not {b"d/x.tmp", b"d/e", b"d/e/y"} & laid.replay.paths().keys()


def test_what_is_taken_in_again_is_taken_with_what_was_there_before(laid: Rig) -> None:
    write(laid, **{"d/keep.tmp": "k", "d/x.tmp": "t"})
    laid.protect("--exclude", "*.tmp")
    laid.once()
    laid.protect("--exclude", "*.tmp", "--exclude", "!/d/keep.tmp")
    laid.once()
    assert laid.replay.take_all(laid.target).paths().keys() & {b"d/keep.tmp", b"d/x.tmp"} == {b"d/keep.tmp"}


def test_a_large_file_is_left_out_until_it_is_small_and_taken_from_then_on(laid: Rig) -> None:
    laid.protect("--exclude-larger", "10")
    write(laid, big="x" * 11)
    laid.once()
    assert b"big" not in laid.replay.take_all(laid.target).paths()
    write(laid, big="x" * 10)
    laid.once()
    assert laid.check().paths()[b"big"]
    write(laid, big="y" * 20)
    os.rename(laid.path("big"), laid.path("moved"))
    laid.once()
    laid.check()
    assert laid.command("resync", "data") == 0
    laid.check()
    write(laid, other="z" * 20)
    laid.once()
    assert laid.replay.take_all(laid.target).paths().keys() & {b"moved", b"other"} == {b"moved"}


def test_an_old_file_is_left_out_until_it_changes(laid: Rig) -> None:
    laid.protect("--exclude-older", "30d")
    write(laid, **{"d/old": "1"})
    os.utime(laid.path("d/old"), (10**9, 10**9))
    os.utime(laid.path("a"), (10**9, 10**9))  # one that was taken already
    laid.once()
    assert laid.replay.take_all(laid.target).paths().keys() & {b"d/old", b"a"} == {b"a"}
    write(laid, **{"d/old": "2"})
    laid.once()
    laid.check()


def test_a_share_may_hold_the_agents_own_state(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    assert rig.command("protect", str(tmp_path), "--as", "all", "--exclude", "target/") == 0
    rig.once()
    paths = rig.replay.take_all(rig.target, "all").paths()
    assert b"tree" in paths and b"state" not in paths
    rig.close()


def unlink_all(rig: Rig, count: int) -> None:
    for number in range(count):
        os.unlink(rig.path(f"n{number}"))


def test_many_removals_do_not_fill_a_frame(laid: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("branch.batch.MAX_BATCH_CHANGES", 10)
    changes(laid, lambda: write(laid, **{f"n{number}": "" for number in range(55)}))
    assert len(changes(laid, lambda: unlink_all(laid, 55))) == 55
    assert len(list(laid.target.frames())) > 10


@pytest.mark.parametrize("seed", [1, 3, 8, 10, 11, 47, 52])  # each found a defect once
def test_random_edits_converge_after_each_look(rig: Rig, seed: int) -> None:
    random = Random(seed)
    editor = Editor(rig.tree, random)
    rig.protect()
    for _ in range(8):
        editor.edit(random.choice([1, 3, 10, 40]))
        rig.once()
        rig.check()
