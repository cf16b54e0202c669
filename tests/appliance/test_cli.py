"""Every command over parts in memory: answers, exit codes, what people see."""

import os
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from appliance.cli.failures import exit_code
from appliance.cli.main import main, stagekeeper
from appliance.cli.printing import local_time, size
from appliance.console import ApiError
from core.durable import WriteFailed
from core.errors import Damaged, NotFound, Refused, StagekeeperError, TryLater
from tests.appliance.conftest import PASSWORD, Terminal
from tests.appliance.memory_parts import FILES, SHARE, MemoryExporter, MemoryParts


def password_file(tmp_path: Path, text: str = PASSWORD + "\nsecond line\n") -> str:
    path = tmp_path / "password"
    path.write_text(text)
    return str(path)


def test_branches(terminal: Terminal) -> None:
    made = terminal.json("branch", "add", "leeds")
    assert set(made) == {"name", "code", "expires_at"} and made["code"].count(".") == 1
    listed = terminal.json("branch", "list")
    assert listed["next"] is None and listed["branches"][0]["state"] == "waiting"
    assert terminal.json("branch", "revoke", "leeds")["state"] == "revoked"
    code, error = terminal.fail("branch", "revoke", "york")
    assert (code, error["type"]) == (3, "branch_not_found") and set(error) == {"type", "message", "remedy"}
    assert terminal.fail("branch", "add", "leeds")[0] == 4
    assert terminal.fail("branch", "add", "a b")[0] == 4


def test_shares_and_snapshots(terminal: Terminal) -> None:
    assert terminal.json("share", "list")["shares"][0]["share"] == SHARE
    assert terminal.json("share", "status", SHARE)["files"] == len(FILES)
    taken = terminal.json("snapshot", "create", SHARE, "--label", "noon")
    assert taken["label"] == "noon"
    assert terminal.json("snapshot", "list", SHARE) == {"snapshots": [taken], "next": None}
    assert (taken["files"], taken["logical_bytes"]) == (len(FILES), sum(map(len, FILES.values())))
    _, out, _ = terminal.run("snapshot", "list", SHARE)
    assert out.decode().splitlines()[-1].split()[-3:] == ["3", "5.0", "KB"]
    assert terminal.fail("share", "status", "leeds/none")[0] == 3
    assert terminal.fail("share", "status", "leeds")[0] == 2


def test_folders_are_listed_to_their_end(terminal: Terminal, parts: MemoryParts) -> None:
    entries = terminal.json("ls", SHARE)["entries"]
    assert [entry["name"] for entry in entries] == ["2026", "Budget.txt", "bad\\xff\\x0aname"]
    assert [entry["name"] for entry in terminal.json("ls", SHARE, "2026/")["entries"]] == ["Plan.txt"]
    assert terminal.fail("ls", SHARE, "none")[0] == 3
    assert terminal.fail("ls", SHARE, "../etc")[0] == 4
    assert terminal.fail("ls", SHARE + "@nonsense")[0] == 3


def test_a_file_comes_as_it_is(terminal: Terminal) -> None:
    for path, content in FILES.items():
        assert terminal.run("cat", SHARE, os.fsdecode(path)) == (0, content, b"")
    assert terminal.fail("cat", SHARE, "none")[0] == 3


def test_versions(terminal: Terminal) -> None:
    (version,) = terminal.json("versions", SHARE, "Budget.txt")["versions"]
    assert version["size_bytes"] == 9 and not version["deleted"]


def test_a_restore_goes_to_the_directory_of_the_caller(
    terminal: Terminal, parts: MemoryParts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, _ = terminal.run("restore", SHARE, "bad\udcff\nname", "--to", "here", "--json")
    report = msgspec.json.decode(out)
    assert set(report) == {"files", "bytes", "not_applied"} and code == (5 if report["not_applied"] else 0)
    assert parts.shares is not None and parts.shares.restored == [(SHARE, b"bad\xff\nname", str(tmp_path / "here"))]


def test_an_export_to_a_directory(terminal: Terminal, tmp_path: Path, parts: MemoryParts) -> None:
    report = terminal.json("export", "run", SHARE, "--to", str(tmp_path))
    assert report["verified"] and Path(report["cartridges"][0]["path"]).exists()
    assert terminal.fail("export", "run", "leeds/none", "--to", str(tmp_path))[0] == 3
    assert isinstance(parts.exporter, MemoryExporter)
    parts.exporter.verified = False
    code, out, err = terminal.run("export", "run", SHARE, "--to", str(tmp_path), "--json")
    assert code == 6 and msgspec.json.decode(out)["verified"] is False and err == b""


def test_an_export_to_standard_output(terminal: Terminal) -> None:
    assert terminal.run("export", "run", SHARE, "--to", "-") == (0, b"t" * 3000, b"")
    assert terminal.fail("export", "run", "leeds/none", "--to", "-")[0] == 3


def test_shares_that_are_not_there_are_warned_of(terminal: Terminal, tmp_path: Path) -> None:
    words = ["--cron", "0 7 * * *", "--action", "snapshot", "--share", SHARE, "leeds/typo"]
    assert terminal.json("schedule", "add", "a", *words)["unknown_shares"] == ["leeds/typo"]
    code, _, err = terminal.run("schedule", "add", "b", *words)
    assert code == 0 and b"leeds/typo" in err
    (tmp_path / "secret").write_text(PASSWORD)
    words = ["--role", "user", "--password-file", str(tmp_path / "secret"), "--grant", "leeds/typo/sub", "--grant", SHARE]
    assert terminal.json("user", "add", "ben", *words)["unknown_shares"] == ["leeds/typo"]


def test_schedules(terminal: Terminal, tmp_path: Path) -> None:
    words = ["--cron", "weekdays-0700-1200", "--tz", "Europe/Berlin", "--action", "snapshot", "--share", SHARE]
    assert terminal.json("schedule", "add", "noon", *words)["cron"] == "0 7,12 * * 1-5"
    assert len(terminal.json("schedule", "next", "noon", "--count", "3")["runs"]) == 3
    assert terminal.json("schedule", "disable", "noon")["enabled"] is False
    assert terminal.json("schedule", "enable", "noon")["enabled"] is True
    assert terminal.json("schedule", "run", "noon")["last_outcome"] == "done"
    assert terminal.json("snapshot", "list", SHARE)["snapshots"][0]["label"] == "noon"
    assert [row["name"] for row in terminal.json("schedule", "list")["schedules"]] == ["@backup", "@collect", "@scrub", "noon"]
    assert terminal.json("schedule", "delete", "noon") == {}
    assert terminal.fail("schedule", "run", "noon")[0] == 3
    assert terminal.fail("schedule", "add", "x", "--cron", "bad", "--action", "snapshot", "--share", SHARE)[0] == 4
    export = ["--cron", "hourly", "--action", "export", "--share", SHARE, "--to", str(tmp_path), "leeds/other"]
    assert terminal.json("schedule", "add", "tape", *export)["shares"] == [SHARE, "leeds/other"]


def test_users(terminal: Terminal, tmp_path: Path) -> None:
    file = password_file(tmp_path)
    made = terminal.json("user", "add", "anna", "--role", "user", "--password-file", file, "--grant", SHARE + "/2026")
    assert made["grants"] == [SHARE + "/2026"] and "password" not in made
    assert [row["name"] for row in terminal.json("user", "list")["users"]] == ["admin", "anna"]
    assert set(terminal.json("user", "token", "anna", "--scope", "read")) == {"token"}
    assert terminal.json("user", "disable", "anna")["disabled"] is True
    assert terminal.json("user", "enable", "anna")["disabled"] is False
    assert terminal.json("user", "passwd", "anna", "--password-file", file) == {}
    assert terminal.fail("user", "disable", "admin")[0] == 4
    assert terminal.fail("user", "add", "bert", "--role", "user", "--password-file", password_file(tmp_path, "short"))[0] == 4
    assert terminal.fail("user", "passwd", "nobody", "--password-file", password_file(tmp_path))[0] == 3
    assert terminal.fail("user", "passwd", "anna", "--password-file", str(tmp_path / "none"))[0] == 4


def test_the_owner_replaces_a_forgotten_password_without_the_old_one(terminal: Terminal) -> None:
    answer = terminal.json("user", "passwd", "admin")
    assert len(answer["password"]) >= 12
    code, out, _ = terminal.run("user", "passwd", "admin")
    assert code == 0 and b"shown this once" in out


def test_stats_and_audit(terminal: Terminal, root: Any) -> None:
    assert "total_bytes" in terminal.json("stats")
    terminal.json("branch", "add", "leeds")
    listed = terminal.json("audit", "list", "--limit", "1")
    assert listed["audit"][0]["action"] == "branch.add" and listed["next"] == "2"
    assert terminal.json("audit", "list", "--before", "2")["audit"][0]["action"] == "appliance.init"
    assert terminal.json("audit", "verify")["intact"] is True
    terminal.run("user", "add", "anna", "--role", "user", "--grant", "leeds/data", "--grant", "leeds/more")
    _, out, _ = terminal.run("audit", "list", "--limit", "1")
    assert b"grants leeds/data, leeds/more" in out and b"role user" in out and b"[" not in out
    segment = next(root.audit.glob("*.audit"))
    data = bytearray(segment.read_bytes())
    data[120] ^= 1
    segment.write_bytes(bytes(data))
    code, out, _ = terminal.run("audit", "verify", "--json")
    assert code == 6 and msgspec.json.decode(out)["first_bad"]["sequence"] == 1


@pytest.mark.parametrize(
    "words",
    [["share", "list"], ["share", "status", SHARE], ["snapshot", "create", SHARE], ["snapshot", "list", SHARE], ["ls", SHARE],
     ["versions", SHARE, "Budget.txt"], ["branch", "add", "york"], ["branch", "list"], ["user", "list"], ["stats"],
     ["audit", "list"], ["audit", "verify"], ["schedule", "list"]],
)  # fmt: skip
def test_people_read_plain_lines_in_a_pipe(terminal: Terminal, words: list[str]) -> None:
    code, out, err = terminal.run(*words)
    assert (code, err) == (0, b"") and b"\x1b" not in out
    assert not words[-1].endswith("list") or out


def test_names_cannot_steer_the_terminal(terminal: Terminal) -> None:
    terminal.json("snapshot", "create", SHARE, "--label", "[red]\x1b[2J\u202e evil")
    code, out, _ = terminal.run("snapshot", "list", SHARE)
    assert code == 0 and b"\\x1b" in out and b"\x1b" not in out and b"[red]" in out


def test_errors_are_sentences_with_a_remedy(terminal: Terminal) -> None:
    code, out, err = terminal.run("branch", "revoke", "york")
    assert (code, out) == (3, b"")
    assert err.decode().splitlines() == ["stagekeeper: there is no branch 'york'", "             see `stagekeeper branch list`"]


@pytest.mark.parametrize(
    "words", [["nonsense"], ["ls"], ["ls", SHARE, "--what"], ["user", "add", "x", "--role", "king"], ["branch"]]
)
def test_what_is_not_understood_is_a_usage_error(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capfd.readouterr().out == ""
    assert main([*words, "--json"]) == 2
    assert msgspec.json.decode(capfd.readouterr().err)["error"]["type"] == "usage"


def test_the_folder_must_be_named(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STAGEKEEPER_ROOT", raising=False)
    assert main(["share", "list"]) == 2
    assert "STAGEKEEPER_ROOT" in capfd.readouterr().err
    monkeypatch.setenv("STAGEKEEPER_ROOT", str(tmp_path / "none"))
    assert main(["share", "list"]) == 3


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_STAGEKEEPER_COMPLETE" in capfd.readouterr().out


def test_help_names_every_command_and_cuts_no_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    for name, command in stagekeeper.commands.items():
        assert f" {name} " in shown and (command.help or "").split(".")[0] in shown
        if isinstance(command, click.Group):
            assert f": {', '.join(command.commands)}" in shown
    assert "..." not in shown.partition("Commands:")[2]


@pytest.mark.parametrize("words", [("restore", SHARE, "--overwrite"), ("export", "run", SHARE)])
def test_an_empty_place_is_not_the_directory_in_which_one_stands(terminal: Terminal, words: tuple[str, ...]) -> None:
    code, error = terminal.fail(*words, "--to", "")
    assert code == 2 and "it is empty" in error["message"]


@pytest.mark.parametrize("option", ["--json", "--root"])
def test_an_option_in_front_of_the_subcommand_is_told_its_place(terminal: Terminal, option: str) -> None:
    code, out, err = terminal.run(option, "branch", "list")
    assert (code, out) == (2, b"") and option.encode() in err and b"behind the subcommand" in err


def test_values_that_are_not_of_their_form_are_refused_by_the_rule_that_they_break(terminal: Terminal) -> None:
    for words in (("branch", "add", ""), ("branch", "add", "a b"), ("user", "add", "", "--role", "user")):
        code, error = terminal.fail(*words)
        assert (code, error["type"]) == (4, "name_refused") and "letters" in error["remedy"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("x"), 3), (Refused("x"), 4), (Damaged("x"), 6), (TryLater("x"), 7), (WriteFailed("x"), 7),
        (ApiError(404, {"type": "not_found"}), 3), (ApiError(0, {"type": "chunk_lost"}), 6),
        (ApiError(500, {"type": "fault"}), 1),
        (ApiError(500, {"type": "chunk_lost"}), 6),
        (ApiError(409, {"type": "something_new"}), 4), (ApiError(503, {}), 7), (ApiError(0, {"type": "no_space"}), 7),
    ],
)  # fmt: skip
def test_each_reaction_has_its_exit_code(error: Any, code: int) -> None:
    assert exit_code(error) == code


def test_errors_of_one_name_have_one_reaction() -> None:
    """The exit code of an operation that fails on its way is found by the error's name."""
    codes: dict[str, set[int]] = {}
    waiting = list(StagekeeperError.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if not kind.__module__.startswith("tests."):
            codes.setdefault(kind.__name__, set()).add(exit_code(kind.__new__(kind)))
    assert len(codes) > 50 and {name for name, found in codes.items() if len(found) > 1} == set()


def test_sizes_and_times_for_people() -> None:
    assert [size(number) for number in (0, 999, 1000, 84_000, 999_950, 2_500_000_000)] == [
        "0 B", "999 B", "1.0 KB", "84.0 KB", "1.0 MB", "2.5 GB",
    ]  # fmt: skip
    assert local_time(None) == "" and len(local_time("2026-11-22T07:00:00.000000Z")) == 19


def test_find_lists_names_and_says_what_is_wrong_with_a_text(terminal: Terminal) -> None:
    found = terminal.json("find", "plan", "--share", "leeds/finance")
    assert [(hit["share"], hit["path"], hit["deleted"]) for hit in found["found"]] == [("leeds/finance", "2026/Plan.txt", False)]
    assert (found["next"], found["not_searched"]) == (None, [])
    code, out, _ = terminal.run("find", "BUDGET", "--deleted")
    assert code == 0 and b"Budget.txt" in out
    assert terminal.fail("find", "")[0] == 4
    assert terminal.run("find", "x", "--share", "nonsense")[0] == 2
