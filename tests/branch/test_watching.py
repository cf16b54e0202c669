"""The running agent: changes arrive by themselves, whatever the kernel's events do."""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random
from typing import NoReturn

import pytest

from branch.agent import Agent
from branch.fanotify import MarkRefused
from branch.inotify import Inotify, WatchLimit
from branch.share_worker import ShareWorker
from core.durable import OS_FILES
from tests.branch.edits import Editor
from tests.branch.replay import listing, real_listing
from tests.branch.rig import Rig


@pytest.fixture
def by_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel does not watch file systems as a whole, as for other users than root."""

    def refused(*_: object) -> NoReturn:
        raise MarkRefused("Operation not permitted")

    monkeypatch.setattr("branch.watcher.FileSystemEvents", refused)


@pytest.fixture(params=["fanotify", "inotify"])
def either_means(request: pytest.FixtureRequest) -> str:
    """Both kinds of events, one after the other."""
    if request.param == "inotify":
        request.getfixturevalue("by_folders")
    return str(request.param)


DURABLE_SECONDS = 2.0  # from the write to the appliance's disk, on an idle machine
PATIENCE_SECONDS = 20.0  # on a busy one


@contextmanager
def running(rig: Rig, **settings: float) -> Iterator[Agent]:
    agent = rig.agent(OS_FILES, **settings)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        await_equal(rig)
        yield agent
    finally:
        agent.stopping.set()
        thread.join()


def await_true(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> float:
    """Wait for a condition and return how long it took."""
    begin = time.monotonic()
    while not condition():
        assert time.monotonic() - begin < seconds, "did not happen in time"
        threading.Event().wait(0.01)
    return time.monotonic() - begin


def is_equal(rig: Rig) -> bool:
    with suppress(FileNotFoundError):
        rig.replay.take_all(rig.target)
        return listing(rig.replay) == real_listing(rig.tree)
    return False


def await_equal(rig: Rig) -> float:
    return await_true(lambda: is_equal(rig))


def worker(agent: Agent) -> ShareWorker:
    (found,) = agent._workers.values()
    return found


def test_a_write_is_durable_within_two_seconds(rig: Rig) -> None:
    rig.protect()
    with running(rig, settle_seconds=0.25, settle_limit_seconds=1.0):
        took = []
        for number in range(3):
            (rig.tree / "file").write_text(f"text {number}")
            took.append(await_equal(rig))
        assert min(took) < DURABLE_SECONDS


def test_a_share_that_never_rests_is_looked_at_all_the_same(rig: Rig) -> None:
    rig.protect()
    with running(rig, settle_seconds=0.3, settle_limit_seconds=0.5):
        begin, durable = time.monotonic(), rig.target.durable()
        while rig.target.durable() == durable:
            (rig.tree / "busy").write_text(str(time.monotonic()))
            assert time.monotonic() - begin < PATIENCE_SECONDS
        await_equal(rig)


def test_both_halves_of_a_rename_are_seen_together(rig: Rig, either_means: str) -> None:
    (rig.tree / "one" / "deep").mkdir(parents=True)
    (rig.tree / "two").mkdir()
    (rig.tree / "one" / "deep" / "file").write_text("x")
    rig.protect()
    with running(rig):
        known = len(rig.replay.log)
        os.rename(rig.path("one/deep"), rig.path("two/deep"))
        await_equal(rig)
        assert [entry for entry in rig.replay.log[known:] if "setattributes" not in entry] == [
            "rename b'one/deep' -> b'two/deep'"
        ]
        (rig.tree / "two" / "deep" / "file").write_text("watched under its new name")
        await_equal(rig)


def test_what_is_made_in_new_folders_at_once_is_not_missed(rig: Rig, either_means: str) -> None:
    rig.protect()
    with running(rig):
        for number in range(20):
            folder = rig.tree / f"n{number}" / "a" / "b"
            folder.mkdir(parents=True)
            (folder / "file").write_text("x")
        await_equal(rig)
        for number in range(20):
            (rig.tree / f"n{number}" / "a" / "b" / "file").write_text("later")
        await_equal(rig)


@pytest.mark.parametrize("seed", [5, 18, 39])  # each found a defect once
def test_random_edits_arrive_while_they_go_on(rig: Rig, either_means: str, seed: int) -> None:
    rig.protect()
    editor = Editor(rig.tree, Random(seed), without="link")  # a name that comes and goes leaves no event at the other
    with running(rig):
        for _ in range(12):
            editor.edit(15)
            threading.Event().wait(0.05)
        await_equal(rig)


def test_a_folder_made_anew_with_the_same_inode_is_watched(rig: Rig, either_means: str) -> None:
    rig.protect()
    with running(rig):
        for number in range(3):
            (rig.tree / "folder").mkdir()
            (rig.tree / "folder" / f"file{number}").write_text("x")
            await_equal(rig)
            shutil.rmtree(rig.tree / "folder")
            (rig.tree / "folder").mkdir()
            (rig.tree / "folder" / "again").write_text("x")
            await_equal(rig)
            (rig.tree / "folder" / "again").write_text("later")
            await_equal(rig)
            shutil.rmtree(rig.tree / "folder")
            await_equal(rig)


def test_a_change_by_another_name_that_is_gone_since_is_not_missed(rig: Rig, either_means: str) -> None:
    (rig.tree / "one").write_text("x")
    os.link(rig.path("one"), rig.path("other"))
    rig.protect()
    with running(rig):
        (rig.tree / "other").write_text("changed by its other name")
        (rig.tree / "new").write_text("saved")
        os.rename(rig.path("new"), rig.path("other"))
        await_equal(rig)


def test_a_folder_moved_into_a_new_one_is_watched_there(rig: Rig, either_means: str) -> None:
    (rig.tree / "old" / "deep").mkdir(parents=True)
    rig.protect()
    with running(rig):
        (rig.tree / "new").mkdir()
        os.rename(rig.path("old"), rig.path("new/old"))
        (rig.tree / "old").mkdir()
        await_equal(rig)
        for folder in ("new/old/deep", "new/old", "old"):
            (rig.tree / folder / "file").write_text("x")
        await_equal(rig)


@pytest.fixture
def few_events(either_means: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The kernel keeps only a few events for each watcher made from here on."""
    monkeypatch.setattr("branch.fanotify._UNLIMITED_QUEUE", 0)
    path = Path(f"/proc/sys/fs/{either_means}/max_queued_events")
    before = path.read_text()
    path.write_text("16")
    yield
    path.write_text(before)


def test_status_says_what_it_hears_of_changes_by_and_what_is_not_kept(
    rig: Rig, either_means: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.protect()
    said = f"data: watch by {either_means} (order across files is not kept), good"
    with running(rig):
        await_true(lambda: rig.command("status") == 0 and said in capsys.readouterr().out)


def test_lost_events_lead_to_a_full_look(rig: Rig, either_means: str, few_events: None, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.protect()
    with running(rig) as agent:
        watcher = worker(agent)._watcher
        assert watcher is not None and watcher.by == either_means
        marked: list[None] = []
        plain = watcher._marks.mark_all
        monkeypatch.setattr(watcher._marks, "mark_all", lambda: marked.append(plain()))
        with watcher._lock:  # it reads nothing meanwhile
            for number in range(300):
                (rig.tree / f"f{number}").write_text("x")
        await_equal(rig)
        assert marked, "the first look was over, the next is an hour away"


def test_without_enough_watches_it_looks_regularly_and_says_so(
    rig: Rig, by_folders: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Inotify.add

    def only_three(self: Inotify, folder: int) -> int | None:  # the kernel's own limit is the whole machine's
        watch = real(self, folder)
        if watch is not None and watch > 3:
            raise WatchLimit("No space left on device")
        return watch

    monkeypatch.setattr(Inotify, "add", only_three)
    for number in range(8):
        (rig.tree / f"d{number}").mkdir()
    rig.protect()
    with running(rig, rescan_seconds=0.2) as agent:
        for number in range(8):
            (rig.tree / f"d{number}" / "file").write_text("unwatched")
        await_equal(rig)
        assert "not all folders are watched" in worker(agent).shown()[1]


def test_changes_made_without_events_are_found_by_the_regular_full_look(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("branch.marks.Marks.mark", lambda self, folder, name: None)
    rig.protect()
    with running(rig, reconcile_seconds=0.3):
        (rig.tree / "file").write_text("x")
        await_equal(rig)


def test_the_line_may_go_and_come_back(rig: Rig) -> None:
    rig.protect()
    with running(rig) as agent:
        rig.target.stop()
        (rig.tree / "big").write_bytes(os.urandom(600_000))
        await_true(lambda: worker(agent).outbox.pending_bytes > 600_000)
        (rig.tree / "more").write_text("x")
        rig.target.start()
        await_equal(rig)
        await_true(lambda: worker(agent).outbox.pending_bytes == 0 and worker(agent).behind_since_ns() is None)


def test_shares_are_followed_while_running(rig: Rig) -> None:
    rig.protect()
    other = rig.directory / "other"
    other.mkdir()
    (other / "file").write_text("x")
    with running(rig) as agent:
        assert rig.command("protect", str(other), "--as", "second") == 0
        await_true(lambda: len(agent._workers) == 2 and rig.target.directory.joinpath("second.id").exists())
        assert rig.command("unprotect", "second") == 0
        await_true(lambda: len(agent._workers) == 1 and len(list(rig.state.shares.iterdir())) == 1)


def test_an_exchanged_root_stops_the_share_until_the_right_one_is_back(rig: Rig, either_means: str) -> None:
    (rig.tree / "file").write_text("x")
    rig.protect()
    with running(rig, reconcile_seconds=0.2) as agent:
        aside = rig.directory / "aside"
        os.rename(rig.tree, aside)
        rig.tree.mkdir()
        await_true(lambda: worker(agent).shown()[0] == "stopped")
        durable = rig.target.durable()
        shutil.rmtree(rig.tree)
        os.rename(aside, rig.tree)
        await_true(lambda: worker(agent).shown()[0] == "good")
        assert rig.target.durable() == durable
