"""Sessions that end: forks, fences, revoked branches, contents that the appliance lost."""

import contextlib
import os
import shutil

import pytest

from branch.agent import StateLock
from branch.line import ApplianceRefused
from branch.settings import StateDirectory
from core.database import open_database
from core.errors import StagekeeperError
from staging.chunk_format import ChunkKind
from staging.protocol import SequenceForked
from tests.branch.rig import Rig


@pytest.fixture
def laid(rig: Rig) -> Rig:
    (rig.tree / "a").write_text("one")
    rig.protect()
    rig.once()
    rig.check()
    return rig


def forked(rig: Rig) -> str:
    with pytest.raises(StagekeeperError) as caught:
        rig.once()
    return caught.value.type


def test_an_agent_restored_from_an_old_image_stops(laid: Rig) -> None:
    shutil.copytree(laid.state.path, laid.directory / "image")
    (laid.tree / "b").write_text("sent after the image was taken")
    laid.once()
    durable = laid.target.durable()
    shutil.rmtree(laid.state.path)
    (laid.directory / "image").rename(laid.state.path)
    (laid.tree / "b").write_text("another history")
    with pytest.raises(SequenceForked):
        laid.once()
    assert laid.target.durable() == durable


def test_an_appliance_restored_from_an_old_backup_is_noticed(laid: Rig) -> None:
    shutil.copytree(laid.target.directory / "journals", laid.directory / "backup")
    (laid.tree / "b").write_text("b")
    laid.once()
    laid.target.stop()
    shutil.rmtree(laid.target.directory / "journals")
    (laid.directory / "backup").rename(laid.target.directory / "journals")
    laid.target.start()
    assert forked(laid) == "sequence_forked"


def test_two_agents_with_one_identity_do_not_both_go_on(laid: Rig) -> None:
    twin = StateDirectory(laid.directory / "twin")
    shutil.copytree(laid.state.path, twin.path)
    (laid.tree / "b").write_text("b")
    laid.once()
    laid.state = twin
    (laid.tree / "b").write_text("another history")
    assert forked(laid) == "sequence_forked"


def test_a_fenced_agent_stops(laid: Rig) -> None:
    share = laid.target.receiver("data")
    real_open = share.open

    def open_and_be_fenced(message):  # type: ignore[no-untyped-def]
        opened = real_open(message)
        real_open(message)  # the twin
        return opened

    share.open = open_and_be_fenced  # type: ignore[method-assign]
    (laid.tree / "b").write_text("b")
    assert forked(laid) == "session_fenced"


def test_a_revoked_branch_is_told(laid: Rig) -> None:
    laid.target.is_revoked = True
    (laid.tree / "b").write_text("b")
    with pytest.raises(ApplianceRefused) as caught:
        laid.once()
    assert caught.value.type == "branch_revoked"
    laid.target.is_revoked = False
    laid.once()
    laid.check()


def test_a_share_of_another_identity_is_refused(laid: Rig) -> None:
    with contextlib.closing(open_database(laid.state.database).conn) as connection:
        connection.execute("UPDATE share SET share_id = randomblob(16), epoch = 0, sequence = 0, hash = zeroblob(32)")
    assert forked(laid) == "share_mismatch"


def test_a_share_protected_again_continues_its_history(laid: Rig) -> None:
    durable = laid.target.durable()
    assert laid.command("unprotect", "data") == 0
    assert laid.command("status") == 0 and not list(laid.state.shares.iterdir())
    (laid.tree / "a").unlink()
    (laid.tree / "b").write_text("b")
    laid.protect()
    laid.once()
    laid.check()
    assert laid.target.durable() > durable


def test_a_share_may_be_protected_again_as_another_folder(laid: Rig) -> None:
    assert laid.command("unprotect", "data") == 0
    laid.tree = laid.directory / "other"
    laid.tree.mkdir()
    (laid.tree / "a").write_text("two")
    laid.protect()
    laid.once()
    laid.check()


def test_what_waited_when_protection_was_ended_is_sent_when_it_begins_again(laid: Rig) -> None:
    (laid.tree / "b").write_text("b")
    heard: list[str] = []

    def never_answer(method: str, name: str) -> str:
        """Keep the frames, but never tell: also a session that is opened afterwards gets no answer."""
        heard.append(name)
        return "drop" if "frames" in heard else ""

    laid.target.fault = never_answer
    with pytest.raises(StagekeeperError):
        laid.once(timeout=0.3)
    durable = laid.target.durable()
    assert durable > laid.acknowledged()
    assert laid.command("unprotect", "data") == 0
    assert [path.name for path in laid.state.shares.rglob("known*")] == []
    laid.target.fault = lambda method, name: ""
    laid.protect()
    laid.once()
    laid.check()
    assert laid.target.durable() > durable


def test_a_memory_of_another_life_is_not_believed(laid: Rig) -> None:
    lock = StateLock(laid.state)  # as a running agent holds it: nothing is tidied up between the two commands
    assert laid.command("unprotect", "data") == 0
    laid.protect()
    lock.close()
    (memory,) = laid.state.shares.rglob("known.db")
    laid.once()
    laid.check()
    assert not memory.exists() and [path.name for path in laid.state.shares.rglob("known*.db")] == ["known-1.db"]


def lose_everything(rig: Rig) -> None:
    """The appliance's collect was too eager."""
    rig.target.store.chunks.clear()


def end_at_the_first_frame(rig: Rig) -> None:
    """Run until contents are put and a frame comes, which is not taken; what follows waits for no time to pass."""

    def revoke(method: str, name: str) -> str:
        rig.target.is_revoked = rig.target.is_revoked or name == "frames"
        return "busy" if name == "frames" else ""

    rig.target.fault = revoke
    with pytest.raises(ApplianceRefused) as caught:
        rig.once()
    assert caught.value.type == "branch_revoked"
    rig.target.fault = lambda method, name: ""
    rig.target.is_revoked = False


def test_contents_lost_before_their_frame_came_are_sent_again(laid: Rig) -> None:
    data = os.urandom(300_000)
    (laid.tree / "big").write_bytes(data)
    (laid.tree / "small").write_text("small")

    def lose_once(method: str, name: str) -> str:
        if name == "frames":
            lose_everything(laid)
            laid.target.fault = lambda method, name: ""
        return ""

    laid.target.fault = lose_once
    laid.once()
    laid.replay.take_all(laid.target)
    assert laid.target.store.content(laid.replay.find(b"big").content) == data


def test_a_busy_appliance_does_not_use_up_the_attempts_to_repair(laid: Rig) -> None:
    data = os.urandom(300_000)
    (laid.tree / "big").write_bytes(data)
    busy = ["busy"] * 4

    def lose_once(method: str, name: str) -> str:
        if name == "frames":
            lose_everything(laid)
            laid.target.fault = lambda method, name: busy.pop() if name == "chunks" and busy else ""
        return ""

    laid.target.fault = lose_once
    laid.once()
    laid.replay.take_all(laid.target)
    assert busy == [] and {frame.header.epoch for frame in laid.target.frames()} == {1}
    assert laid.target.store.content(laid.replay.find(b"big").content) == data


def test_contents_gone_on_both_sides_begin_a_new_epoch(laid: Rig) -> None:
    (laid.tree / "big").write_bytes(os.urandom(300_000))
    end_at_the_first_frame(laid)
    lose_everything(laid)
    (laid.tree / "big").write_bytes(os.urandom(200_000))
    (status,) = laid.once()
    laid.check()
    assert status.state == "good" and {frame.header.epoch for frame in laid.target.frames()} == {1, 2}
    assert laid.replay.log[-1] == "mirror False"


def test_chunks_believed_held_and_lost_are_sent_after_all(laid: Rig) -> None:
    data = bytearray(os.urandom(2_000_000))
    (laid.tree / "big").write_bytes(data)
    laid.once()
    store = laid.target.store
    for key in [key for key in store.chunks if key[0] is ChunkKind.DATA][:8]:
        del store.chunks[key]
    data[1_000_000:1_000_000] = b"inserted"  # by chunks: as a range it would be all that is behind it
    (laid.tree / "big").write_bytes(data)
    laid.once()
    laid.replay.take_all(laid.target)
    assert store.content(laid.replay.find(b"big").content) == data


def test_a_damaged_outbox_begins_a_new_epoch(laid: Rig) -> None:
    laid.target.fault = lambda method, name: "busy"
    (laid.tree / "b").write_text("b")
    assert laid.command("run", "--once", "--timeout", "0.3") == 7
    (path,) = laid.state.path.rglob("*.sko")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(20)
        file.write(b"\xff")
    assert path.stat().st_size == size
    laid.target.fault = lambda method, name: ""
    laid.once()
    laid.check()


@pytest.mark.parametrize("name", ["known.db", "outbox"])
def test_a_lost_part_of_the_state_is_made_good_by_comparing(laid: Rig, name: str) -> None:
    (laid.tree / "b").write_text("b")
    (laid.tree / "a").unlink()
    for path in laid.state.path.rglob(name):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    laid.once()
    laid.check()
