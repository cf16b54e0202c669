"""What the appliance asks for again is read from the share's files and put; nothing else of the server is."""

import os
import random
import time
from typing import Any

import pytest

from branch.shipment import GROUP_BYTES
from staging.chunk_format import ChunkKind
from staging.protocol import Task, Tasks
from tests.branch.rig import Rig

LARGE = random.Random(5).randbytes(GROUP_BYTES + 500_000)  # in more than one group


@pytest.fixture
def laid(rig: Rig) -> Rig:
    (rig.tree / "docs").mkdir()
    (rig.tree / "docs" / "large").write_bytes(LARGE)
    (rig.tree / "small").write_bytes(b"a few bytes")
    rig.protect("--exclude", "secret*")
    rig.once()
    return rig


def lose(rig: Rig, every: int = 1) -> dict[Any, bytes]:
    """Lose chunks on the target; return what it had."""
    before = dict(rig.target.store.chunks)
    for key in list(before)[::every]:
        del rig.target.store.chunks[key]
    return before


def test_lost_contents_are_sent_again_with_their_recipe(laid: Rig) -> None:
    before = lose(laid)
    assert {kind for kind, _ in before} == {ChunkKind.DATA, ChunkKind.NODE}
    laid.target.wanted = [b"docs/large", b"small"]
    laid.once()
    assert laid.target.store.chunks == before
    laid.check()


def test_only_what_is_missing_travels(laid: Rig) -> None:
    before = lose(laid, every=9)
    put, lost = laid.target.store.put_chunks, len(before) - len(laid.target.store.chunks)
    laid.target.wanted = [b"docs/large", b"small"]
    laid.once()
    assert laid.target.store.chunks == before
    assert laid.target.store.put_chunks - put <= lost + 2  # the small file and a recipe are put without a question


def test_what_the_file_still_has_heals_after_it_changed(laid: Rig) -> None:
    before = lose(laid)
    with open(laid.tree / "docs" / "large", "r+b") as file:
        file.write(b"another beginning")
    laid.target.wanted = [b"docs/large"]
    laid.once()
    healed = before.keys() & laid.target.store.chunks.keys()
    assert len(healed) >= len(before) - 5 and laid.target.store.chunks.keys() - before.keys()


def test_nothing_outside_the_share_and_nothing_left_out_is_read(laid: Rig) -> None:
    (laid.directory / "outside").write_bytes(b"not the share's" * 100)
    os.symlink(laid.directory, laid.tree / "way")
    os.symlink(laid.directory / "outside", laid.tree / "link")
    os.mkfifo(laid.tree / "pipe")
    for folder in ("secrets", "docs"):
        (laid.tree / folder).mkdir(exist_ok=True)
        (laid.tree / folder / "secret.txt").write_bytes(b"left out" * 100)
    (laid.tree / "secrets" / "plain").write_bytes(b"left out, too" * 100)
    laid.once()
    before = laid.target.store.put_chunks
    laid.target.wanted = [
        b"../outside", b"/etc/passwd", b"way/outside", b"link", b"pipe", b"docs", b"", b"docs/secret.txt", b"secrets/plain",
        b"no such file", b"a\0b", b"docs/../../outside",
    ]  # fmt: skip
    laid.once()
    assert laid.target.store.put_chunks == before


def test_tasks_of_a_newer_appliance_are_left_alone(laid: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(laid)
    monkeypatch.setattr("branch.share_line.ShareLine.tasks", lambda line: Tasks([Task("dance", b"small")], 30.0))
    laid.once()
    assert not laid.target.store.chunks


def test_a_line_that_breaks_meanwhile_is_tried_again(laid: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("branch.mender._RETRY_SECONDS", 0.01)
    before = lose(laid)
    faults = iter(["drop", "busy", "drop"])
    laid.target.fault = lambda method, name: next(faults, "") if name == "chunks" else ""
    laid.target.wanted = [b"docs/large", b"small"]
    laid.once()
    assert laid.target.store.chunks == before and next(faults, None) is None


def test_a_running_agent_is_asked_while_it_has_nothing_to_send(laid: Rig) -> None:
    laid.target.poll_seconds = 1.0
    process = laid.process("run")
    try:
        deadline = time.monotonic() + 60
        while laid.target.requests.count("tasks") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        before = lose(laid)
        laid.target.wanted = [b"docs/large", b"small"]
        while laid.target.store.chunks != before:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.terminate()
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0 and b"docs/large was sent again" in told
