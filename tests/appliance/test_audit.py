"""The audit log keeps, finds damage, and goes on after a crash."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from appliance import audit as audit_module
from appliance.audit import AuditLog
from appliance.audited import audited_steps
from core.durable import WriteFailed
from core.errors import Damaged
from tests.appliance.settable_clock import SettableClock
from tests.faulty_files import FaultyFiles, Killed
from web.operations import Actor
from web.streams import close

ADMIN = Actor("admin", "admin", "192.0.2.1")
STORE_ID = bytes(16)


def filled(folder: Path, clock: SettableClock, count: int = 5) -> AuditLog:
    folder.mkdir(exist_ok=True)
    log = AuditLog(folder, STORE_ID, clock)
    for number in range(count):
        log.record(ADMIN, "test", f"thing {number}")
    return log


def only_segment(folder: Path) -> Path:
    (path,) = folder.glob("*.audit")
    return path


def whats(log: AuditLog, before: int | None = None, limit: int = 100) -> list[str]:
    return [entry["what"] for entry in log.page(before, limit)[0]]


def test_entries_are_listed_newest_first_with_pages(tmp_path: Path, clock: SettableClock) -> None:
    log = filled(tmp_path / "audit", clock)
    first, following = log.page(None, 2)
    assert ([entry["sequence"] for entry in first], following) == ([5, 4], 4)
    second, following = log.page(following, 3)
    assert ([entry["sequence"] for entry in second], following) == ([3, 2, 1], None)
    assert log.page(1, 10) == ([], None)


def test_the_log_goes_on_where_it_was_after_a_restart(tmp_path: Path, clock: SettableClock) -> None:
    filled(tmp_path / "audit", clock).close()
    log = AuditLog(tmp_path / "audit", STORE_ID, clock)
    assert log.record(ADMIN, "test", "later").sequence == 6
    assert log.verify() == {**log.verify(), "intact": True, "entries": 6, "first_bad": None}


def test_the_chain_goes_through_all_segments(tmp_path: Path, clock: SettableClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_ROLL_BYTES", 600)  # a limit, not behaviour: small, so that few entries fill it
    log = filled(tmp_path / "audit", clock, 20)
    assert len(list((tmp_path / "audit").glob("*.audit"))) > 3
    assert log.verify()["entries"] == 20
    assert whats(log, before=15, limit=3) == ["thing 13", "thing 12", "thing 11"]
    log.close()
    assert AuditLog(tmp_path / "audit", STORE_ID, clock).head() == log.head()


def test_a_missing_segment_is_found(tmp_path: Path, clock: SettableClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_module, "_ROLL_BYTES", 600)
    log = filled(tmp_path / "audit", clock, 20)
    middle = sorted((tmp_path / "audit").glob("*.audit"))[2]
    middle.unlink()
    verdict = log.verify()
    assert not verdict["intact"] and verdict["first_bad"]["reason"] == "entries before it are missing"
    assert verdict["first_bad"]["sequence"] == int(middle.name.partition(".")[0])


@pytest.mark.parametrize("position", range(90, 900, 37))
def test_one_flipped_bit_is_found_wherever_it_is(tmp_path: Path, clock: SettableClock, position: int) -> None:
    log = filled(tmp_path / "audit", clock)
    path = only_segment(tmp_path / "audit")
    data = bytearray(path.read_bytes())
    assert position < len(data)
    data[position] ^= 1
    path.write_bytes(bytes(data))
    verdict = log.verify()
    assert not verdict["intact"] and verdict["first_bad"]["file"] == path.name
    assert verdict["first_bad"]["offset"] <= position


def test_an_entry_that_was_taken_out_or_exchanged_is_found(tmp_path: Path, clock: SettableClock) -> None:
    log = filled(tmp_path / "audit", clock)
    path = only_segment(tmp_path / "audit")
    data = path.read_bytes()
    size = (len(data) - 76) // 5  # head: 12 + 64 bytes; all entries are equally long
    entries = [data[76 + number * size : 76 + (number + 1) * size] for number in range(5)]
    for changed, first_bad in (([0, 1, 3, 4], 3), ([0, 2, 1, 3, 4], 2)):
        path.write_bytes(data[:76] + b"".join(entries[number] for number in changed))
        verdict: dict[str, Any] = AuditLog(tmp_path / "audit", STORE_ID, clock).verify()
        assert not verdict["intact"] and verdict["first_bad"]["sequence"] == first_bad
    log.close()


def test_a_log_of_another_store_is_found(tmp_path: Path, clock: SettableClock) -> None:
    filled(tmp_path / "audit", clock).close()
    verdict = AuditLog(tmp_path / "audit", b"x" * 16, clock).verify()
    assert verdict["first_bad"]["reason"] == "it belongs to another store"


@pytest.mark.parametrize("cut", [1, 40, 150])
def test_a_torn_tail_is_cut_kept_and_reported(tmp_path: Path, clock: SettableClock, cut: int) -> None:
    filled(tmp_path / "audit", clock).close()
    path = only_segment(tmp_path / "audit")
    whole = path.read_bytes()
    os.truncate(path, len(whole) - cut)
    log = AuditLog(tmp_path / "audit", STORE_ID, clock)
    newest = log.page(None, 1)[0][0]
    assert (newest["action"], newest["sequence"]) == ("audit.cut", 5)
    kept = tmp_path / "audit" / f"{path.name}.cut-{newest['details']['offset']}"
    assert kept.read_bytes() == whole[newest["details"]["offset"] : len(whole) - cut]
    assert log.verify()["intact"]


def test_damage_before_whole_entries_is_no_tear_and_nothing_is_cut(tmp_path: Path, clock: SettableClock) -> None:
    filled(tmp_path / "audit", clock).close()
    path = only_segment(tmp_path / "audit")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    log = AuditLog(tmp_path / "audit", STORE_ID, clock)
    assert path.read_bytes() == bytes(data)
    assert log.page(None, 1)[0][0]["sequence"] == 6
    assert log.verify()["first_bad"]["file"] == path.name


def test_a_segment_whose_head_was_torn_is_begun_again(tmp_path: Path, clock: SettableClock) -> None:
    log = filled(tmp_path / "audit", clock)
    log.close()
    (tmp_path / "audit" / "0000000000000006.audit").write_bytes(b"SKA")
    again = AuditLog(tmp_path / "audit", STORE_ID, clock)
    assert again.head()[0] == 6  # the entry that says what was cut
    assert again.verify()["intact"]


def test_what_was_recorded_survives_a_kill_at_every_durable_step(tmp_path: Path, clock: SettableClock) -> None:
    at = 0
    while True:
        at += 1
        folder = tmp_path / str(at)
        folder.mkdir()
        files, recorded = FaultyFiles(at), 0
        try:
            log = AuditLog(folder, STORE_ID, clock, files)
            for _ in range(4):
                recorded = log.record(ADMIN, "test", "x").sequence
        except Killed:
            pass
        files.lose_unsynced()
        again = AuditLog(folder, STORE_ID, clock)
        assert again.verify()["intact"] and again.head()[0] >= recorded
        if not files.fired:
            break
    assert at > 6


def test_after_a_failed_sync_nothing_is_taken(tmp_path: Path, clock: SettableClock) -> None:
    files = FaultyFiles(0, "EIO")
    (tmp_path / "audit").mkdir()
    log = AuditLog(tmp_path / "audit", STORE_ID, clock, files)
    log.record(ADMIN, "test", "first")
    files.at, files.count = 2, 0  # the sync of the next entry
    with pytest.raises(WriteFailed):
        log.record(ADMIN, "test", "second")
    with pytest.raises(WriteFailed):
        log.record(ADMIN, "test", "third")


def test_what_others_wrote_cannot_forge_entries_or_flood_the_log(tmp_path: Path, clock: SettableClock) -> None:
    log = filled(tmp_path / "audit", clock, 0)
    evil = 'x"}\n{"sequence":99,"account":"admin"}\x1b[2J\u202e' + "y" * 100_000 + "\udcff"
    log.record(Actor(evil, "user", evil), "sign_in", evil, "refused", {"why": evil})
    log.record(Actor(evil, "user", evil), "sign_in", evil, "refused", {"list": ["\x00" * 500] * 1000})
    (second, first), _ = log.page(None, 10)
    assert (first["sequence"], len(first["what"]), len(first["details"]["why"])) == (1, 501, 501)
    assert list(second["details"]) == ["left_out_bytes"]
    assert only_segment(tmp_path / "audit").stat().st_size < 20_000
    assert log.verify()["entries"] == 2


def test_details_are_kept_as_they_are_and_not_as_python_shows_them(tmp_path: Path, clock: SettableClock) -> None:
    log = filled(tmp_path / "audit", clock, 0)
    details = {"sources": ["leeds/data@1"], "policy": {"keep": {"hourly": 24, "rules": [{"ever": True}]}}, "to": tmp_path}
    log.record(ADMIN, "policy.set", "leeds/data", "done", details)
    log.close()
    (found,), _ = AuditLog(tmp_path / "audit", STORE_ID, clock).page(None, 1)
    assert found["details"] == {**details, "to": str(tmp_path)}


def test_details_within_details_have_an_end(tmp_path: Path, clock: SettableClock) -> None:
    log = filled(tmp_path / "audit", clock, 0)
    deep: dict[str, object] = {}
    for _ in range(500):
        deep = {"in": [deep]}
    entry = log.record(ADMIN, "policy.set", "leeds/data", "refused", {"deep": deep, "wide": dict.fromkeys(map(str, range(999)))})
    assert str(entry.details["deep"]).count("in") == 3 and "…" in str(entry.details["deep"])
    assert len(entry.details["wide"]) == 100
    assert log.verify()["intact"]


def test_why_a_long_operation_ended_is_told_in_words(tmp_path: Path, clock: SettableClock) -> None:
    log = filled(tmp_path / "audit", clock, 0)

    def failing(error: BaseException) -> Iterator[int]:
        yield 1
        raise error

    given_up = audited_steps(log, ADMIN, "export", "/srv", {}, failing(KeyError("never raised")))
    next(given_up)
    close(given_up)
    for error in (KeyError("of ours"), Damaged("of the store"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            list(audited_steps(log, ADMIN, "export", "/srv", {}, failing(error)))
    ends = [entry for entry in log.page(None, 10)[0] if entry["action"] == "export.end"]
    assert [entry["details"]["error"] for entry in reversed(ends)] == ["given_up", "fault", "damaged", "given_up"]
    assert {entry["outcome"] for entry in ends} == {"failed"}
