"""Marks: a barrier has exactly what was there, applications are held and let go, and who asked learns how it went."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from branch.barrier_db import BarrierDb
from branch.commands import Commands
from core.clock import NANOSECONDS, SystemClock
from staging.changes import Barrier, Consistency
from staging.frame_format import Frame
from tests.branch.replay import Replay, listing, real_listing
from tests.branch.rig import Rig
from tests.branch.test_command import ask
from tests.branch.test_watching import await_true, running


def barriers(rig: Rig) -> list[tuple[int, Barrier]]:
    found = []
    for frame in rig.target.frames():
        for sequence, change in enumerate(frame.changes, start=frame.header.first_sequence):
            if isinstance(change, Barrier):
                found.append((sequence, change))
    return found


def as_of(rig: Rig, sequence: int) -> Replay:
    """Return what the target has up to a barrier, which is a frame of its own."""
    replay = Replay(rig.target.store)
    frames: list[Frame] = [frame for frame in rig.target.frames() if frame.header.last_sequence <= sequence]
    for frame in frames:
        replay.take(frame)
    assert replay.sequence == sequence
    return replay


def hooks(rig: Rig, before: list[list[str]], after: list[list[str]], **seconds: float) -> None:
    lines = [
        "[data]", f"before = {json.dumps(before)}", f"after = {json.dumps(after)}", *(f"{k} = {v}" for k, v in seconds.items()),
    ]  # fmt: skip
    (rig.state.path / "hooks.toml").write_text("\n".join(lines) + "\n")


def noting(path: Path, word: str, code: int = 0) -> list[str]:
    """Return a command that adds a word to a file."""
    return [sys.executable, "-c", f"open({str(path)!r}, 'a').write({word + ' '!r}); raise SystemExit({code})"]


def mark(rig: Rig, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, Any, Any]:
    return ask(rig, capsys, "mark", "nightly", *options)


def test_a_mark_without_a_running_agent_makes_the_round_itself(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    (rig.tree / "file").write_text("as it is now")
    code, document, _ = mark(rig, capsys)
    ((sequence, barrier),) = barriers(rig)
    assert (code, document["sequence"], document["not_applied"]) == (0, sequence, [])
    assert (barrier.label, barrier.consistency, document["label"]) == ("nightly", Consistency.CRASH, "nightly")
    assert listing(as_of(rig, sequence)) == real_listing(rig.tree)


def test_beside_a_running_agent_the_barrier_has_what_was_written_before_it_and_nothing_of_what_came_after(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    rig.protect()
    (rig.tree / "file").write_text("first")
    with running(rig, settle_seconds=2.0, settle_limit_seconds=2.0):
        (rig.tree / "file").write_text("second")  # the agent would look at it only in two seconds' time
        before = real_listing(rig.tree)
        code, document, _ = mark(rig, capsys)
        (rig.tree / "file").write_text("third")
        await_true(lambda: listing(rig.replay.take_all(rig.target)) == real_listing(rig.tree))
    assert code == 0
    assert listing(as_of(rig, document["sequence"])) == before


def test_an_application_is_held_while_its_share_is_looked_at(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    hooks(rig, [noting(rig.tree / "log", "before"), noting(rig.tree / "log", "flushed")], [noting(rig.tree / "log", "after")])
    code, document, _ = mark(rig, capsys, "--level", "application")
    assert (code, document["consistency"], document["not_applied"]) == (0, "application", [])
    held = listing(as_of(rig, document["sequence"]))
    assert held[b"log"][2] == b"before flushed "
    assert (rig.tree / "log").read_text() == "before flushed after "


def test_without_commands_who_marks_vouches_for_the_application(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    assert mark(rig, capsys, "--level", "application")[1]["consistency"] == "application"


def test_a_mark_at_the_level_of_a_crash_holds_nothing(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    hooks(rig, [noting(rig.directory / "log", "before")], [noting(rig.directory / "log", "after")])
    assert mark(rig, capsys)[1]["consistency"] == "crash"
    assert not (rig.directory / "log").exists()


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ([sys.executable, "-c", "print('no space'); raise SystemExit(3)"], "ended with 3: no space"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "was not done in time"),
        (["/no/such/command"], "cannot be run"),
    ],
    ids=["fails", "too late", "absent"],
)
def test_a_hold_that_does_not_begin_makes_a_snapshot_at_the_level_of_a_crash_and_says_so(
    rig: Rig, capsys: pytest.CaptureFixture[str], before: list[str], why: str
) -> None:
    rig.protect()
    log = rig.directory / "log"
    hooks(rig, [before, noting(log, "never")], [noting(log, "after")], before_seconds=1)
    code, document, _ = mark(rig, capsys, "--level", "application")
    (note,) = document["not_applied"]
    assert (code, document["consistency"], note["what"]) == (5, "crash", "before")
    assert why in note["why"]
    assert barriers(rig)[0][1].consistency is Consistency.CRASH
    assert log.read_text() == "after "


def test_a_hold_that_lasts_too_long_is_ended_in_the_middle_of_the_look(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    fifo, log = rig.directory / "fifo", rig.directory / "log"
    os.mkfifo(fifo)
    writing = f"for number in range(2000): open({str(rig.tree)!r} + f'/{{number}}', 'w').write('x')"
    after = [noting(log, "after"), ["dd", f"if={fifo}", "of=/dev/null"]]
    hooks(rig, [[sys.executable, "-c", writing]], after, hold_seconds=0.01, after_seconds=2)
    code, document, _ = mark(rig, capsys, "--level", "application")
    assert (code, document["consistency"]) == (5, "crash")
    assert [note["what"] for note in document["not_applied"]] == ["hold", "after"]
    assert log.read_text() == "after "


def test_what_lets_go_is_run_to_its_end_and_its_failure_told(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    log = rig.directory / "log"
    hooks(rig, [noting(log, "before")], [noting(log, "first", code=1), noting(log, "second")])
    code, document, _ = mark(rig, capsys, "--level", "application")
    assert (code, document["consistency"]) == (5, "application")  # what was looked at was at rest all the same
    assert [note["what"] for note in document["not_applied"]] == ["after"]
    assert log.read_text() == "before first second "


def test_what_a_dead_agent_left_held_is_let_go_at_the_next_start(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    log, ready = rig.directory / "log", rig.directory / "ready"
    before = [sys.executable, "-c", f"import os; open({str(ready)!r}, 'w'); os.kill(os.getppid(), {int(signal.SIGKILL)})"]
    hooks(rig, [before], [noting(log, "after")])
    dying = rig.process("mark", "nightly", "--level", "application")
    assert dying.wait(60) == -signal.SIGKILL and ready.exists()
    dying.communicate()
    assert not log.exists()
    (rig.state.path / "hooks.toml").unlink()  # what is to be run was written down with the hold
    rig.once()
    rig.once()
    assert log.read_text() == "after "
    rig.check()


def test_an_agent_that_is_ended_lets_go_first_and_the_mark_is_made_by_the_next(rig: Rig) -> None:
    rig.protect()
    log, ready = rig.directory / "log", rig.directory / "ready"
    before = [sys.executable, "-c", f"import time; open({str(ready)!r}, 'w'); time.sleep(1)"]
    hooks(rig, [before], [noting(log, "after")])
    with running(rig) as agent:
        asking = rig.process("mark", "nightly", "--level", "application", "--json")
        await_true(ready.exists)
        agent.stopping.set()
    assert log.read_text().startswith("after ")
    printed, _ = asking.communicate()
    assert (asking.returncode, json.loads(printed)["consistency"]) == (0, "application")
    assert log.read_text() == "after after "
    assert len(barriers(rig)) == 1


def test_a_time_out_says_what_is_still_under_way_and_the_mark_arrives(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    rig.once()
    rig.target.stop()
    code, _, error = mark(rig, capsys, "--timeout", "1")
    assert (code, error["error"]["type"]) == (7, "timed_out")
    assert "is change" in error["error"]["message"] and "cannot be reached" in error["error"]["message"]
    rig.target.start()
    rig.once()
    assert [barrier.label for _, barrier in barriers(rig)] == ["nightly"]


def test_a_mark_whose_time_is_over_is_not_made_later(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    database = BarrierDb(rig.state.database)
    with running(rig) as agent:
        share = next(iter(agent._workers))
        now_ns = SystemClock().now_ns()
        late = database.ask(share, "late", Consistency.CRASH, now_ns, now_ns - NANOSECONDS)
        given_up = database.ask(share, "given up", Consistency.CRASH, now_ns, now_ns + 60 * NANOSECONDS)
        database.give_up(given_up.number)
        assert mark(rig, capsys)[0] == 0
    assert [barrier.label for _, barrier in barriers(rig)] == ["nightly"]
    assert not database.outcome(late.number).sequence
    database.close()


def test_a_mark_goes_over_to_the_command_when_the_agent_ends(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    rig.once()
    lock_holder = rig.agent()  # holds the lock and does nothing
    threading.Timer(0.5, lock_holder._end).start()
    assert mark(rig, capsys, "--timeout", "60")[0] == 0


def test_several_marks_are_made_in_the_order_in_which_they_were_asked_for(rig: Rig) -> None:
    rig.protect()
    with running(rig) as agent:
        database, now_ns = BarrierDb(rig.state.database), SystemClock().now_ns()
        share = next(iter(agent._workers))
        for number in range(5):
            database.ask(share, str(number), Consistency.CRASH, now_ns, now_ns + 60 * NANOSECONDS)
        await_true(lambda: len(barriers(rig)) == 5)
        database.close()
    assert [barrier.label for _, barrier in barriers(rig)] == list("01234")


@pytest.mark.parametrize(
    ("options", "code", "kind"),
    [
        (["nightly", "--share", "other"], 3, "share_not_protected"),
        (["x" * 2000], 2, "usage"),
        ([], 2, "usage"),
        (["nightly", "--level", "some"], 2, "usage"),
    ],
)
def test_what_cannot_be_marked(rig: Rig, capsys: pytest.CaptureFixture[str], options: list[str], code: int, kind: str) -> None:
    rig.protect()
    found, document, error = ask(rig, capsys, "mark", *options)
    assert (found, document, error["error"]["type"]) == (code, None, kind)


def test_of_several_shares_one_is_named(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    assert mark(rig, capsys)[0] == 2
    rig.protect()
    other = rig.directory / "other"
    other.mkdir()
    assert rig.command("protect", str(other), "--as", "other") == 0
    code, _, error = mark(rig, capsys)
    assert code == 2 and "data, other" in error["error"]["message"]
    assert mark(rig, capsys, "--share", "data")[0] == 0
    assert "other" not in rig.target._receivers


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("[data]\nbefor = []\n", 0o600), ("[data]\nbefore = ['sh -c x']\n", 0o600), ("[data]\nbefore = [[]]\n", 0o600),
        ("[data]\nhold_seconds = 0\n", 0o600), ("[data\n", 0o600), ("[data]\n", 0o622),
    ],
)  # fmt: skip
def test_commands_that_cannot_be_trusted_or_understood_are_refused(
    rig: Rig, capsys: pytest.CaptureFixture[str], text: str, mode: int
) -> None:
    rig.protect()
    path = rig.state.path / "hooks.toml"
    path.write_text(text)
    path.chmod(mode)
    code, _, error = mark(rig, capsys, "--level", "application")
    assert code != 0 and "hooks.toml" in error["error"]["message"]
    assert barriers(rig) == []


def test_a_share_that_is_not_there_is_not_marked(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    rig.once()
    rig.tree.rename(rig.directory / "elsewhere")
    assert mark(rig, capsys)[0] == 7
    assert barriers(rig) == []


def test_holds_are_remembered_until_their_end_is_noted(rig: Rig) -> None:
    rig.protect()
    database = BarrierDb(rig.state.database)
    asked = database.ask(b"s" * 16, "a", Consistency.APPLICATION, 1, 2)
    after = Commands((("thaw", "/srv"), ("start",)), 2.5)
    database.hold(asked.number, after)
    database.ask(b"s" * 16, "b", Consistency.CRASH, 10**18, 10**18 + 1)  # removes what is old, but no hold
    assert database.holds() == [(asked.number, after)]
    database.end_hold(asked.number)
    assert database.holds() == []
    database.close()
