"""The command: documents, exit codes, errors on stderr, two agents on one state."""

import base64
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from branch.agent import TimedOut, WorkerFailed
from branch.cli import execute
from branch.cli_errors import exit_code_of
from core.database import DatabaseTooNew
from core.durable import WriteFailed
from core.errors import Damaged, NotFound, Refused, StagekeeperError, Stopped, TryLater
from tests.branch.rig import Rig


def ask(rig: Rig, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any, Any]:
    """Return (exit code, document on stdout, document on stderr)."""
    capsys.readouterr()
    code = rig.command(*arguments, "--json")
    printed = capsys.readouterr()
    return code, json.loads(printed.out or "null"), json.loads(printed.err or "null")


def test_protect_run_and_status_print_one_document(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    (rig.tree / "file").write_text("x")
    code, document, _ = ask(rig, capsys, "protect", str(rig.tree), "--as", "data", "--exclude", "*.tmp")
    assert code == 0 and document["share"] == "data" and document["excludes"] == ["*.tmp"]
    code, document, _ = ask(rig, capsys, "run", "--once")
    assert code == 0 and document["next"] is None
    code, document, _ = ask(rig, capsys, "status")
    (share,) = document["shares"]
    assert code == 0 and document["next"] is None
    assert share.keys() == {
        "share", "capture", "mode", "state", "reason", "durable_sequence", "outbox_bytes", "lag_seconds", "wire", "not_protected",
        "limit", "filtering", "gap", "watched_by",
    }  # fmt: skip
    assert share["wire"].keys() == {"payload_bytes", "framing_bytes", "compressed_bytes", "resync_bytes"}
    assert (share["state"], share["durable_sequence"], share["lag_seconds"]) == ("good", rig.target.durable(), 0.0)


def test_the_state_directory_may_stand_before_the_command(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert execute(["--state", str(rig.state.path), "--json", "status"]) == 0
    assert json.loads(capsys.readouterr().out) == {"shares": [], "next": None}


def test_a_baseline_that_only_the_outbox_holds_is_being_mirrored_also_after_a_restart(
    rig: Rig, capsys: pytest.CaptureFixture[str]
) -> None:
    (rig.tree / "file").write_text("x")
    rig.protect()
    rig.target.stop()
    for _ in range(2):
        with pytest.raises(TimedOut):
            rig.once(timeout=0.3)
        (share,) = ask(rig, capsys, "status")[1]["shares"]
        assert (share["state"], share["durable_sequence"]) == ("mirroring", 0) and share["outbox_bytes"]
    rig.target.start()
    assert rig.once()[0].state == "good"
    rig.target.stop()
    (rig.tree / "file").write_text("changed")
    for _ in range(2):
        with pytest.raises(TimedOut):
            rig.once(timeout=0.3)
        (share,) = ask(rig, capsys, "status")[1]["shares"]
        assert share["state"] == "good" and share["outbox_bytes"], "what was laid stays laid, whatever waits"
    rig.target.start()


def test_status_says_what_is_to_be_done_next(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert execute(["--state", str(rig.state.path), "status"]) == 0
    assert capsys.readouterr().out == "no folder is protected yet: stagekeeper-agent protect PATH --as SHARE\n"
    assert execute(["--state", str(rig.state.path), "run", "--once"]) == 0
    assert "no folder is protected yet" in capsys.readouterr().out
    rig.state.database.unlink()
    assert execute(["--state", str(rig.state.path), "status"]) == 0
    assert capsys.readouterr().out.startswith(
        "this server is not enrolled, so nothing is sent: stagekeeper-agent enroll URL CODE\n"
    )


def test_a_dry_run_counts_and_protects_nothing(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    (rig.tree / "d").mkdir()
    (rig.tree / "d" / "file").write_text("12345")
    (rig.tree / "x.tmp").write_text("")
    _, document, _ = ask(rig, capsys, "protect", str(rig.tree), "--as", "data", "--dry-run", "--exclude", "*.tmp")
    assert (document["files"], document["folders"], document["logical_bytes"], document["excluded"]) == (1, 1, 5, 1)
    assert ask(rig, capsys, "status")[1]["shares"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["protect", "/nowhere", "--as", "data"], 3, "no_such_folder"),
        (["protect", "/", "--as", "data", "--capture", "filter", "--mode", "sync"], 4, "not_offered"),
        (["protect", "/", "--as", "data", "--mode", "sync"], 4, "not_offered"),
        (["protect", "/", "--as", "../data"], 2, "usage"),
        (["protect", "/"], 2, "usage"),
        (["unprotect", "data"], 3, "share_not_protected"),
        (["enroll", "https://127.0.0.1:1", "code"], 4, "already_enrolled"),
        (["nonsense"], 2, "usage"),
    ],
)
def test_failures_have_a_name_and_an_exit_code(
    rig: Rig, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, kind: str
) -> None:
    found, document, error = ask(rig, capsys, *arguments)
    assert (found, document, error["error"]["type"]) == (code, None, kind)
    assert error["error"].keys() == {"type", "message", "remedy"}


def test_without_enrolment_nothing_runs(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.state.database.unlink()
    code, _, error = ask(rig, capsys, "run", "--once")
    assert (code, error["error"]["type"]) == (4, "not_enrolled")


def test_a_name_stands_for_one_folder(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    rig.protect()  # the same again is no error
    code, _, error = ask(rig, capsys, "protect", str(rig.directory), "--as", "data")
    assert (code, error["error"]["type"]) == (4, "share_exists")


def test_settings_that_cannot_be_understood_are_refused(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    (rig.state.path / "settings.toml").write_text("settle_secnods = 3\n")
    code, _, error = ask(rig, capsys, "run", "--once")
    assert code == 4 and "settle_secnods" in error["error"]["message"]


def test_an_absent_appliance_means_try_later_and_keeps_the_outbox(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    (rig.tree / "file").write_bytes(os.urandom(5000))
    rig.protect()
    rig.target.stop()
    code, _, error = ask(rig, capsys, "run", "--once", "--timeout", "0.3")
    assert (code, error["error"]["type"]) == (7, "timed_out")
    share = ask(rig, capsys, "status")[1]["shares"][0]
    assert share["outbox_bytes"] > 5000 and share["lag_seconds"] > 0 and "line is down" in share["reason"]
    rig.target.start()
    assert ask(rig, capsys, "run", "--once")[0] == 0


def test_an_appliance_that_takes_nothing_is_not_told_as_a_line_that_is_down(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    rig.target.fault = lambda method, name: "busy"
    assert ask(rig, capsys, "run", "--once", "--timeout", "0.3")[0] == 7
    reason = ask(rig, capsys, "status")[1]["shares"][0]["reason"]
    assert reason == "the appliance takes nothing just now: try later"


def test_a_folder_that_was_made_anew_is_told_to_be_protected_again(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    rig.once()
    rig.tree.rename(rig.directory / "aside")
    rig.tree.mkdir()
    code, _, error = ask(rig, capsys, "run", "--once")
    assert (code, error["error"]["type"]) == (7, "root_missing") and "protect PATH --as data" in error["error"]["remedy"]
    rig.protect()
    assert ask(rig, capsys, "run", "--once")[0] == 0


def test_a_second_agent_on_the_same_state_is_told_to_try_later(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    rig.protect()
    running = rig.agent()
    thread = threading.Thread(target=running.run)
    thread.start()
    code, _, error = ask(rig, capsys, "run")
    assert (code, error["error"]["type"]) == (7, "agent_running")
    assert ask(rig, capsys, "status")[0] == 0
    running.stopping.set()
    thread.join()


def test_names_that_are_no_text_are_shown_with_their_bytes(rig: Rig, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkdir(rig.path(b"\xffd"))
    rig.protect()
    mounted = os.fsdecode(rig.path(b"\xffd"))
    assert os.spawnlp(os.P_WAIT, "mount", "mount", "-t", "tmpfs", "none", mounted) == 0
    try:
        code, document, _ = ask(rig, capsys, "run", "--once")
    finally:
        os.spawnlp(os.P_WAIT, "umount", "umount", mounted)
    (entry,) = document["shares"][0]["not_protected"]
    assert code == 0 and entry["path"] == r"\xffd" and base64.b64decode(entry["path_base64"]) == b"\xffd"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_single_look_that_is_interrupted_says_so(rig: Rig, number: signal.Signals) -> None:
    rig.protect()
    rig.target.fault = lambda method, name: "busy"
    process = rig.process("run", "--once")
    while not list(rig.state.path.rglob("*.sko")):
        assert process.poll() is None
        threading.Event().wait(0.02)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 130


def others_may_read(folder: Path) -> list[str]:
    return [path.name for path in (folder, *folder.rglob("*")) if path.stat().st_mode & 0o077]


def test_nobody_else_can_read_the_state_whatever_the_umask_was(rig: Rig) -> None:
    rig.state.path.chmod(0o755)
    old = os.umask(0)
    try:
        rig.protect()
        (rig.tree / "file").write_bytes(b"x")
        rig.once()
    finally:
        os.umask(old)
    assert not others_may_read(rig.state.path)
    rig.state.database.chmod(0o644)  # an earlier release made it so
    rig.state.path.chmod(0o755)
    assert rig.command("status") == 0
    assert not others_may_read(rig.state.path)


def test_a_state_directory_into_which_others_write_is_refused(
    rig: Rig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "not the agent's").touch()
    shared.chmod(0o777)
    code = execute(["--state", str(shared), "status", "--json"])
    assert (code, json.loads(capsys.readouterr().err)["error"]["type"]) == (4, "state_exposed")
    assert list(shared.iterdir()) == [shared / "not the agent's"]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (NotFound, 3), (Refused, 4), (Damaged, 6), (TryLater, 7), (TimedOut, 7),
        (Stopped, 7), (WriteFailed, 7), (DatabaseTooNew, 7), (WorkerFailed, 1),
    ],
)  # fmt: skip
def test_an_error_tells_by_its_exit_code_how_to_react(kind: type[StagekeeperError], code: int) -> None:
    assert exit_code_of(kind("what failed")) == code
