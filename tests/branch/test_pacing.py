"""Pacing: the bucket's arithmetic with a clock of the test's own, and limits on the real way to the appliance."""

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from branch import state_db
from branch.bucket import BURST_SECONDS, TokenBucket
from branch.limit_rule import parse_limit
from branch.pacer import HeldBack, Pacer
from branch.state_db import StateDb
from branch.uploader import pack_loose, split_bodies
from core.database import migrate, open_database
from core.digest import ZERO_DIGEST, digest_of
from tests.appliance.settable_clock import SettableClock
from tests.branch.rig import Rig
from tests.branch.test_command import ask
from tests.branch.test_lines import line_to
from tests.branch.test_watching import await_equal, await_true, running, worker

MBIT = 125_000  # bytes a second
PIECE_SECONDS = 0.1


def utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)


class Waiting:
    """A clock that waiting moves; `stop_at` is when the work is to end."""

    def __init__(self) -> None:
        self.clock = SettableClock()
        self.waits: list[float] = []
        self.stop_at = float("inf")

    def wait(self, seconds: float) -> bool:
        self.waits.append(seconds)
        self.clock.move(seconds)
        return self.clock.seconds >= self.stop_at

    def pacer(self, *rules: str) -> Pacer:
        return Pacer([parse_limit(rule) for rule in rules], self.clock, utc, self.wait)


# -- arithmetic -------------------------------------------------------------------------------------------------------


def test_forty_megabytes_take_what_the_rate_says_in_even_pieces() -> None:
    waiting = Waiting()
    pacer, begin = waiting.pacer("2Mbit"), waiting.clock.seconds
    sizes = [len(piece) for piece in pacer.pieces(bytes(40_000_000))]
    assert sum(sizes) == pacer.furthest_bytes == 40_000_000
    assert set(sizes[:-1]) == {int(2 * MBIT * PIECE_SECONDS)}
    assert waiting.clock.seconds - begin == pytest.approx(40_000_000 / (2 * MBIT), rel=0.01)
    assert max(waiting.waits) < 2 * PIECE_SECONDS


def test_a_body_that_is_sent_again_without_an_answer_is_no_progress() -> None:
    pacer = Waiting().pacer()
    reached = []
    for size in (1000, 900_000, 1000, 900_000):
        assert sum(map(len, pacer.pieces(bytes(size)))) == size
        reached.append(pacer.furthest_bytes)
    assert reached == [1000, 900_000, 900_000, 900_000]
    pacer.answered()
    assert pacer.furthest_bytes == 0


@given(
    st.integers(2000, 10_000_000),
    st.lists(st.tuples(st.integers(1, 300_000), st.floats(0, 5)), min_size=1, max_size=40),
)
def test_in_no_stretch_of_time_more_passes_than_rate_and_burst_and_one_taking(
    rate: int, wants: list[tuple[int, float]]
) -> None:  # fmt: skip
    clock = SettableClock()
    bucket, taken = TokenBucket(clock), []
    for size, rest in wants:
        while pause := bucket.take(size, rate):
            clock.move(max(pause, 1e-6))
        taken.append((clock.seconds, size))
        clock.move(rest)
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            between = taken[last][0] - taken[first][0]
            passed = sum(size for _, size in taken[first:last])  # the last one may be owed
            assert passed <= rate * (between + BURST_SECONDS) + 1 + 1e-6 * rate * len(taken)


def test_a_rest_earns_no_more_than_half_a_second() -> None:
    waiting = Waiting()
    pacer = waiting.pacer("2Mbit")
    list(pacer.pieces(b"x"))
    waiting.clock.move(3600)
    begin = waiting.clock.seconds
    list(pacer.pieces(bytes(2 * MBIT * 3)))
    assert waiting.clock.seconds - begin == pytest.approx(3 - BURST_SECONDS, abs=2 * PIECE_SECONDS)


def test_what_requests_cost_besides_their_bodies_is_waited_for() -> None:
    waiting = Waiting()
    pacer = waiting.pacer("2Mbit")
    with pacer.turn():
        pieces = pacer.pieces(bytes(100_000))
        next(pieces)
        pacer.charge(2 * MBIT * 7)
        list(pieces)
        assert sum(waiting.waits) < 0.5  # a body under way does not stand still for it
    with pacer.turn():
        assert sum(waiting.waits) == pytest.approx(7 + 100_000 / (2 * MBIT), abs=0.01) and max(waiting.waits) <= 1.0


def test_without_a_limit_nothing_waits_and_nothing_is_owed_later() -> None:
    waiting = Waiting()
    pacer = waiting.pacer("off", "2Mbit@08:00-09:00")  # it is 07:00
    assert [len(piece) for piece in pacer.pieces(bytes(1_000_000))] == [262_144] * 3 + [213_568]
    pacer.charge(100_000_000)
    waiting.clock.move(3600)
    with pacer.turn():
        list(pacer.pieces(b"x"))
    assert waiting.waits == [] and pacer.body_bytes(16_000_000) == 1_000_000


def test_a_window_that_begins_slows_a_body_under_way_and_its_end_frees_it() -> None:
    waiting = Waiting()
    pacer = waiting.pacer("4Mbit", "1Mbit@08:00-08:01", "off@08:01-24:00")
    waiting.clock.set("2026-11-22T07:59:58Z")
    begin, at = waiting.clock.seconds, []
    for piece in pacer.pieces(bytes(10_000_000)):
        at.append((waiting.clock.seconds - begin, len(piece)))

    def passed(since: float, until: float) -> int:
        return sum(size for second, size in at if since <= second < until)

    assert passed(0, 2) == pytest.approx((2 + BURST_SECONDS) * 4 * MBIT, rel=0.05)
    assert passed(3, 62) == pytest.approx(59 * MBIT, rel=0.01)
    assert at[-1][0] <= 63.0 and sum(size for _, size in at) == 10_000_000


def test_a_pause_that_begins_gives_a_body_up_and_tells_until_when() -> None:
    waiting = Waiting()
    pacer = waiting.pacer("1Mbit", "pause@08:00-18:30")
    waiting.clock.set("2026-11-22T07:59:55Z")
    with pytest.raises(HeldBack, match=r"pause@08:00-18:30 until 2026-11-22 18:30"):
        list(pacer.pieces(bytes(10_000_000)))
    assert pacer.furthest_bytes == pytest.approx((5 + BURST_SECONDS) * MBIT, rel=0.05) and pacer.is_held_back()
    with pytest.raises(HeldBack), pacer.turn():
        raise AssertionError("nothing may be sent")
    waiting.clock.set("2026-11-22T18:30:00Z")
    assert len(list(pacer.pieces(bytes(1000)))) == 1 and pacer.why_held_back() == ""


def test_the_end_of_the_work_ends_the_waiting() -> None:
    waiting = Waiting()
    waiting.stop_at = waiting.clock.seconds + 5
    pacer = waiting.pacer("16kbit")
    with pytest.raises(HeldBack):
        list(pacer.pieces(bytes(40_000_000)))
    assert sum(waiting.waits) < 6.5


def test_new_rules_hold_for_the_next_piece() -> None:
    waiting = Waiting()
    pacer = waiting.pacer("16kbit")
    pieces = pacer.pieces(bytes(10_000_000))
    next(pieces)
    pacer.set_rules([])
    begin = waiting.clock.seconds
    assert sum(len(piece) for piece in pieces) > 9_990_000 and waiting.clock.seconds == begin


def test_bodies_are_short_when_there_is_a_limit() -> None:
    waiting = Waiting()
    data = [bytes([number]) * 40 + os.urandom(50_000) for number in range(60)]
    chunks = pack_loose([(digest_of(part), part, ZERO_DIGEST) for part in data])
    whole = list(split_bodies(chunks, waiting.pacer().body_bytes))
    slow = list(split_bodies(chunks, waiting.pacer("1Mbit").body_bytes))
    slowest = list(split_bodies(chunks, waiting.pacer("16kbit").body_bytes))
    assert [len(body) for body in whole] == [60]
    assert {len(body) for body in slow[:-1]} == {9} and {len(body) for body in slowest} == {1}
    assert [chunk for body in slow for chunk in body] == [chunk for body in slowest for chunk in body] == chunks


# -- one connection ---------------------------------------------------------------------------------------------------


def enrolling(token: str, size: int) -> bytes:
    return json.dumps({"token": token, "padding": "x" * size}).encode()


def test_a_body_arrives_whole_in_pieces(rig: Rig) -> None:
    rig.target.codes = {"one"}
    waiting = Waiting()
    pacer = waiting.pacer("2Mbit")
    body = enrolling("one", 1_000_000)
    assert b"branch" in line_to(rig.target).request("POST", "/intake/v1/enroll", body, pacer=pacer)
    assert pacer.furthest_bytes == len(body) and len(waiting.waits) >= 39


def test_a_body_that_is_given_up_is_not_taken_and_the_line_goes_on(rig: Rig) -> None:
    rig.target.codes = {"one", "two"}
    line, waiting = line_to(rig.target), Waiting()
    waiting.stop_at = waiting.clock.seconds + 1
    with pytest.raises(HeldBack):
        line.request("POST", "/intake/v1/enroll", enrolling("one", 1_000_000), pacer=waiting.pacer("2Mbit"))
    assert b"branch" in line.request("POST", "/intake/v1/enroll", enrolling("two", 10), pacer=Waiting().pacer())
    assert rig.target.codes == {"one"}


def test_with_a_limit_one_body_at_a_time_is_on_the_line() -> None:
    pacer = Waiting().pacer("2Mbit")
    entered = threading.Event()

    def take_turn() -> None:
        with pacer.turn():
            entered.set()

    with pacer.turn():
        thread = threading.Thread(target=take_turn)
        thread.start()
        assert not entered.wait(0.05)
    assert entered.wait(20)
    thread.join()
    free = Waiting().pacer()
    with free.turn(), free.turn():  # without a limit nobody waits
        pass


# -- the agent --------------------------------------------------------------------------------------------------------


def test_a_limited_share_arrives_whole(rig: Rig) -> None:
    for number in range(12):
        (rig.tree / f"f{number}").write_bytes(os.urandom(60_000))
    (rig.tree / "big").write_bytes(os.urandom(1_500_000))
    rig.protect("--limit", "24Mbit")
    (status,) = rig.once()
    assert status.limit.bytes_per_second == 3_000_000
    rig.check()


def test_slow_is_no_time_out_while_something_passes(rig: Rig) -> None:
    (rig.tree / "file").write_bytes(os.urandom(150_000))
    rig.protect("--limit", "320kbit")
    assert rig.command("run", "--once", "--timeout", "2") == 0  # one body of 3.5 s
    rig.check()


def test_a_share_that_is_held_back_keeps_what_it_finds_until_it_is_let_go(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    (rig.tree / "file").write_bytes(os.urandom(50_000))
    rig.protect("--limit", "pause")
    code, _, error = ask(rig, capsys, "run", "--once", "--timeout", "0.3")
    assert (code, error["error"]["type"]) == (7, "timed_out") and "held back by the limit pause" in error["error"]["message"]
    assert set(rig.target.requests) == {"enroll"}
    (share,) = ask(rig, capsys, "status")[1]["shares"]
    assert share["outbox_bytes"] > 50_000 and share["reason"] == "held back by the limit pause"
    rig.protect()
    assert ask(rig, capsys, "run", "--once")[0] == 0
    rig.check()


def test_a_running_agent_takes_other_limits_over_without_beginning_anew(rig: Rig) -> None:
    rig.protect()
    with running(rig) as agent:
        busy = worker(agent)
        rig.protect("--limit", "0")
        await_true(busy.sender._line.pacer.is_held_back)
        asked = len(rig.target.requests)
        (rig.tree / "file").write_bytes(os.urandom(30_000))
        await_true(lambda: busy.outbox.pending_bytes > 30_000 and "held back" in busy.shown()[1])
        assert len(rig.target.requests) == asked
        rig.protect("--limit", "80Mbit")
        await_equal(rig)
        assert worker(agent) is busy and busy.shown()[1] == ""


@pytest.mark.parametrize("end", ["stop", "pause"])
def test_a_slow_body_is_broken_off(rig: Rig, end: str) -> None:
    (rig.tree / "big").write_bytes(os.urandom(1_000_000))
    rig.protect("--limit", "64kbit")
    agent = rig.agent()
    thread = threading.Thread(target=agent.run)
    thread.start()
    await_true(lambda: bool(agent._workers) and worker(agent)._pacer.furthest_bytes > 5000)
    if end == "pause":
        rig.protect("--limit", "pause")
        await_true(lambda: "held back" in worker(agent).shown()[1])
    agent.stopping.set()
    thread.join(timeout=10)
    assert not thread.is_alive()
    assert "chunks" not in rig.target.requests  # nothing that came in part was taken
    rig.protect()
    rig.once()
    rig.check()


# -- the commands -----------------------------------------------------------------------------------------------------


def limit_of(rig: Rig, capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    (share,) = ask(rig, capsys, "status")[1]["shares"]
    limit: dict[str, object] = share["limit"]
    return limit


def test_status_tells_rules_rate_and_until_when(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    _, document, _ = ask(rig, capsys, "protect", str(rig.tree), "--as", "data", "--limit", "2Mbit", "--limit", "off@Mon")
    assert document["limits"] == ["2Mbit", "off@Mon"]
    limit = limit_of(rig, capsys)
    is_monday = (datetime.now() - timedelta(seconds=1)).weekday() == 0
    assert limit["rules"] == ["2Mbit", "off@Mon"] and limit["until"] is not None
    assert (limit["rule"], limit["bytes_per_second"]) == (("off@Mon", None) if is_monday else ("2Mbit", 250_000))
    rig.protect("--limit", "pause")
    assert limit_of(rig, capsys) == {"rules": ["pause"], "rule": "pause", "bytes_per_second": 0, "until": None}
    capsys.readouterr()
    rig.command("status")
    assert "data is limited by pause: now held back" in capsys.readouterr().out
    rig.protect()
    assert limit_of(rig, capsys) == {"rules": [], "rule": "", "bytes_per_second": None, "until": None}


def test_a_bad_rule_is_named_with_an_example_and_changes_nothing(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect("--limit", "2Mbit")
    for more in ([], ["--dry-run"]):
        rules = ["--limit", "4Mbit", "--limit", "4Mb@Mon"]
        code, _, error = ask(rig, capsys, "protect", str(rig.tree), "--as", "data", *rules, *more)
        assert (code, error["error"]["type"]) == (2, "usage")
        assert "'4Mb@Mon'" in error["error"]["message"] and "2Mbit@Mon-Fri 08:00-18:00" in error["error"]["message"]
    assert limit_of(rig, capsys)["rules"] == ["2Mbit"]


def test_a_state_of_a_release_without_limits_has_none(tmp_path: Path) -> None:
    old = open_database(tmp_path / "agent.db", synchronous="FULL")
    steps: list[Callable[..., None]] = [state_db._create, state_db._keep_ended]
    migrate(old, steps)
    old.conn.execute("INSERT INTO share(name, path, share_id) VALUES ('data', x'2f', zeroblob(16))")
    old.conn.commit()
    old.conn.close()
    (share,) = StateDb(tmp_path / "agent.db").shares()
    assert share.limits == ()
