"""A share watched by one mark on its file system: which events become marks, and what the file system may go through."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from branch.excludes import Excludes
from branch.file_system_events import FileSystemEvents
from branch.folders import OpenFolders
from branch.marks import Marks
from branch.scope import Scope
from branch.watcher import left_out
from core.clock import SystemClock
from core.relpath import ROOT, RelPath
from tests.branch.rig import Rig
from tests.branch.test_watching import await_equal, await_true, running, worker
from tests.faults.loop_disk import loop_disk

_NAME = "n" * 200


class Watched:
    """A folder "tree" with its events, read when asked for."""

    def __init__(self, tree: Path, patterns: list[bytes]) -> None:
        self.tree, self.marks = tree, Marks(SystemClock())
        is_left_out = left_out(Excludes(patterns), os.fsencode(tree), os.fsencode(tree / "state"))
        root = self._open_root()
        self.events = FileSystemEvents(self.marks, self._open_root, is_left_out, root.root)
        self.events.enter(ROOT, root.root)
        root.close()

    def taken(self) -> Scope:
        """Return the marks for what happened since the last call."""
        self.events.take()
        return self.marks.take()

    def _open_root(self) -> OpenFolders:
        return OpenFolders(os.fsencode(self.tree))


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    for folder in ("tree/taken/deep", "tree/out/deep", "tree/state", "beside"):
        (tmp_path / folder).mkdir(parents=True)
    made = Watched(tmp_path / "tree", [b"out/"])
    yield made
    made.events.close()


def test_what_happens_below_the_root_is_marked_and_nothing_else(watched: Watched) -> None:
    tree = watched.tree
    for folder in ("taken/deep", "out", "out/deep", "state", "../beside"):
        (tree / folder / "file").write_text("x")
    (tree / "file").write_text("x")
    os.chmod(tree / "taken", 0o700)
    assert watched.taken().folders == {ROOT: {b"file"}, b"taken/deep": {b"file"}, b"taken": set()}
    assert watched.taken().is_empty


def test_a_folder_is_followed_through_its_renames(watched: Watched) -> None:
    tree = watched.tree
    (tree / "taken" / "deep" / "one").write_text("x")
    watched.taken()
    os.rename(tree / "taken", tree / "moved")
    (tree / "moved" / "deep" / "two").write_text("x")
    assert watched.taken().folders == {ROOT: {b"taken", b"moved"}, b"moved/deep": {b"two"}}
    os.rename(tree / "moved", tree.parent / "beside" / "moved")
    (tree.parent / "beside" / "moved" / "deep" / "three").write_text("x")
    assert watched.taken().folders == {ROOT: {b"moved"}}


def test_a_folder_that_is_gone_again_is_told_by_its_own_name_only(watched: Watched) -> None:
    (watched.tree / "new" / "deep").mkdir(parents=True)
    (watched.tree / "new" / "deep" / "file").write_text("x")
    shutil.rmtree(watched.tree / "new")
    assert watched.taken().folders == {ROOT: {b"new"}}


def test_a_name_that_says_deleted_is_a_name(watched: Watched) -> None:
    (watched.tree / "x (deleted)").mkdir()
    (watched.tree / "x (deleted)" / "file").write_text("x")
    assert watched.taken().folders == {ROOT: {b"x (deleted)"}, b"x (deleted)": {b"file"}}


def test_a_path_longer_than_the_kernel_tells_is_found(watched: Watched) -> None:
    folder = os.open(watched.tree, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(40):
        os.mkdir(_NAME, dir_fd=folder)
        below = os.open(_NAME, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        os.close(folder)
        folder = below
    watched.taken()
    os.mkdir("last", dir_fd=folder)
    os.close(folder)
    assert watched.taken().folders == {RelPath(b"/".join([_NAME.encode()] * 40)): {b"last"}}


def test_the_file_system_can_be_unmounted_and_comes_back_watched(rig: Rig, tmp_path: Path) -> None:
    with loop_disk(tmp_path) as disk:
        rig.tree = disk.folder / "tree"
        rig.tree.mkdir()
        (rig.tree / "file").write_text("x")
        rig.protect()
        with running(rig) as agent:
            assert worker(agent).watched_by() == "fanotify"
            (rig.tree / "file").write_text("changed")
            await_equal(rig)
            durable = rig.target.durable()
            disk.unmount()
            await_true(lambda: worker(agent).shown()[0] == "stopped")
            disk.mount()
            (rig.tree / "meanwhile").write_text("before the root was found again")
            await_true(lambda: worker(agent).shown()[0] == "good")
            await_equal(rig)
            threading.Event().wait(0.5)  # no look is due any more
            (rig.tree / "later").write_text("noticed by an event alone")
            await_equal(rig)
            assert rig.target.durable() > durable
