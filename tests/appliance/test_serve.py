"""The serving process from outside: starting, answering, being found by the command line, ending."""

import http.client
import os
import pty
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from appliance.gates import StoppedOnTheWay, network_gate, owner_actor, owner_gate, stopping_gate
from appliance.server import AddressUnreadable, parse_listen
from staging.changes import Attributes, Create, Kind
from tests.appliance.conftest import PASSWORD
from tests.appliance.program import SHARE, Program, VaultRig, fill
from web.authentication import ACTOR_KEY

FILES = {b"Budget.txt": b"a budget\n", b"2026/Plan.bin": os.urandom(3_000_000), b"bad\xff\nname": b"x"}


@pytest.fixture
def program(tmp_path: Path) -> Program:
    (tmp_path / "password").write_text(PASSWORD)
    made = Program(tmp_path / "root")
    done = subprocess.run(
        made.command("init", str(made.root), "--admin-password-file", str(tmp_path / "password"), "--json"),
        env=made.environment(),
        capture_output=True,
    )
    assert done.returncode == 0, done
    (tmp_path / "init.json").write_bytes(done.stdout)
    return made


@pytest.fixture
def filled(program: Program) -> Program:
    fill(program.root, FILES)
    return program


def https(program: Program, port: int) -> http.client.HTTPSConnection:
    context = ssl.create_default_context(cafile=str(program.root / "tls" / "certificate.pem"))
    return http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=30)


def get(program: Program, port: int, path: str, **headers: str) -> tuple[int, bytes]:
    connection = https(program, port)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_a_served_appliance_answers_both_ways_and_ends_with_0(program: Program, tmp_path: Path) -> None:
    with program.serving() as serving:
        assert get(program, serving.port, "/healthz") == (200, b"ok\n")
        assert (program.root / "run" / "control.sock").stat().st_mode & 0o777 == 0o600
        made = program.json("branch", "add", "leeds")
        fingerprint = msgspec.json.decode((tmp_path / "init.json").read_bytes())["fingerprint"]
        assert made["code"].endswith("." + fingerprint)
        token = program.json("user", "token", "admin", "--scope", "all")["token"]
        assert b'"leeds"' in get(program, serving.port, "/api/v1/branches", Authorization=f"Bearer {token}")[1]
        pinned = ssl.PEM_cert_to_DER_cert(ssl.get_server_certificate(("127.0.0.1", serving.port)))
        assert ssl.DER_cert_to_PEM_cert(pinned) == (program.root / "tls" / "certificate.pem").read_text()
    assert not (program.root / "run" / "control.sock").exists()
    assert program.json("branch", "list")["branches"][0]["name"] == "leeds"


def test_an_interrupt_from_the_keyboard_ends_it_with_0_too(program: Program) -> None:
    with program.serving() as serving:
        serving.process.send_signal(signal.SIGINT)
        assert serving.process.wait(30) == 0


def test_nobody_of_the_network_becomes_the_owner(program: Program) -> None:
    with program.serving() as serving:
        for headers in ({}, {"stagekeeper.actor": "owner"}, {"X_REMOTE_UID": "0"}, {"X-Remote-Uid": "0"}):
            connection = https(program, serving.port)
            connection.request("GET", "/api/v1/users", headers=headers)
            assert connection.getresponse().status == 401
            connection.close()


def test_a_second_appliance_on_the_folder_is_refused_by_name(program: Program) -> None:
    with program.serving() as serving:
        second = program.run("serve", "--listen", "127.0.0.1:0", "--json")
        error = msgspec.json.decode(second.stderr)["error"]
        assert second.returncode == 7 and error["type"] == "root_locked" and str(serving.process.pid) in error["message"]
        assert second.stdout == b""


def test_a_killed_appliance_leaves_nothing_that_stands_in_the_way(program: Program) -> None:
    with program.serving() as serving:
        program.json("branch", "add", "leeds")
        serving.process.kill()
        serving.process.wait()
        assert (program.root / "run" / "control.sock").is_socket()
        assert program.json("branch", "list")["branches"][0]["name"] == "leeds"
        with program.serving():
            assert program.json("audit", "verify")["intact"]


def test_a_folder_deep_below_is_reached_through_its_descriptor(program: Program, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    moved = Program(deep / "root")
    program.root.rename(moved.root)
    with moved.serving():
        assert moved.json("branch", "list")["branches"] == []


def test_an_address_in_use_is_told_at_once(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = program.run("serve", "--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--json")
    assert done.returncode == 7 and msgspec.json.decode(done.stderr)["error"]["type"] == "address_unusable"
    assert program.run("serve", "--listen", "nonsense").returncode == 4


def test_another_certificate_may_be_shown(program: Program, tmp_path: Path) -> None:
    for name in ("certificate.pem", "key.pem"):
        shutil.copy(program.root / "tls" / name, tmp_path / name)
    (program.root / "tls" / "key.pem").unlink()
    with program.serving("--cert", str(tmp_path / "certificate.pem"), "--key", str(tmp_path / "key.pem")) as serving:
        assert get(program, serving.port, "/healthz")[0] == 200
    assert program.run("serve", "--listen", "127.0.0.1:0").returncode == 4
    assert program.run("serve", "--key", "x").returncode == 2


def test_a_folder_of_somebody_else_is_refused(program: Program) -> None:
    assert os.geteuid() == 0, "this test changes its user"
    start = "import os, sys; from appliance.cli.main import main; os.setgroups([]); os.setgid(65534); os.setuid(65534); "
    words = [sys.executable, "-c", start + "sys.exit(main())", "branch", "list", "--root", str(program.root)]
    with program.serving():
        done = subprocess.run(words, env=program.environment(), capture_output=True)
    assert done.returncode == 4 and b"may not be used by this user" in done.stderr, done


@pytest.mark.parametrize("served", [False, True])
def test_files_are_read_restored_and_exported(filled: Program, tmp_path: Path, served: bool) -> None:
    def check() -> None:
        assert {entry["name"] for entry in filled.json("ls", SHARE)["entries"]} == {"2026", "Budget.txt", "bad\\xff\\x0aname"}
        for name, content in FILES.items():
            done = filled.run("cat", SHARE + "@latest", os.fsdecode(name))
            assert (done.returncode, done.stdout, done.stderr) == (0, content, b"")
        done = filled.run("restore", SHARE, "--to", "here", "--json", cwd=tmp_path)
        assert (done.returncode, msgspec.json.decode(done.stdout)["not_applied"]) == (0, []), done
        assert {name: (tmp_path / "here" / os.fsdecode(name)).read_bytes() for name in FILES} == FILES
        assert filled.run("restore", SHARE, "--to", "here", cwd=tmp_path).returncode == 4
        (tmp_path / "tapes").mkdir()
        report = filled.json("export", "run", SHARE, "--to", str(tmp_path / "tapes"))
        assert report["verified"] is True and Path(report["cartridges"][0]["path"]).exists()
        assert filled.run("export", "run", SHARE + "@99", "--to", str(tmp_path / "tapes")).returncode == 3

    if served:
        with filled.serving():
            check()
    else:
        check()
    actions = [entry["action"] for entry in filled.json("audit", "list")["audit"]]
    assert {"download", "restore", "export.begin", "export.end"} <= set(actions)


def test_nothing_is_written_into_the_appliance_by_way_of_a_link(filled: Program, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(filled.root)
    by_link = Program(link)
    for program in (filled, by_link):
        for place in (filled.root, link, link / "packs" / "here", filled.root / "here"):
            assert program.run("restore", SHARE, "--to", str(place)).returncode == 4
            assert program.run("export", "run", SHARE, "--to", str(place)).returncode == 4
    assert not (filled.root / "here").exists() and not (filled.root / "packs" / "here").exists()


@pytest.mark.parametrize("served", [False, True])
def test_a_damaged_share_is_listed_as_stopped_beside_the_others(filled: Program, served: bool) -> None:
    rig = VaultRig(filled.root, "york/plans")
    rig.send([b"folder"], [Create(0, Kind.FOLDER, Attributes(0o755, 0, 0, 1))])
    rig.close()
    (segment,) = (filled.root / "journal" / "york" / "plans").glob("*.skj")
    segment.write_bytes(b"\0" * 64 + segment.read_bytes()[64:])

    def check() -> None:
        found = {row["share"]: row for row in filled.json("share", "list")["shares"]}
        assert found[SHARE]["state"] != "stopped" and found["york/plans"]["state"] == "stopped"
        assert found["york/plans"]["reason"]
        assert filled.run("ls", "york/plans").returncode == 6
        assert filled.run("ls", SHARE).returncode == 0

    if served:
        with filled.serving():
            check()
    else:
        check()


@pytest.mark.parametrize("served", [False, True])
def test_a_stream_is_an_archive_and_a_reader_may_leave_it(filled: Program, tmp_path: Path, served: bool) -> None:
    def check() -> None:
        with (tmp_path / "stream.tar").open("wb") as file:
            words = filled.command("export", "run", SHARE, "--to", "-")
            subprocess.run(words, env=filled.environment(), stdout=file, check=True)
        with tarfile.open(tmp_path / "stream.tar", errors="surrogateescape") as archive:
            assert f"{SHARE}/2026/Plan.bin" in archive.getnames()
        for words, code in ((["cat", SHARE, "2026/Plan.bin"], 0), (["export", "run", SHARE, "--to", "-"], 7)):
            process = subprocess.Popen(
                filled.command(*words), env=filled.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            assert process.stdout is not None and process.stderr is not None
            process.stdout.read(10)
            process.stdout.close()
            assert (process.wait(60), process.stderr.read()) == (code, b"")
            process.stderr.close()

    if served:
        with filled.serving():
            check()
    else:
        check()


def test_progress_is_shown_on_a_terminal_only(filled: Program, tmp_path: Path) -> None:
    reader, writer = pty.openpty()
    words = filled.command("restore", SHARE, "--to", str(tmp_path / "here"))
    process = subprocess.Popen(words, env=filled.environment(), stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and out.startswith(b"Restored ") and b"\x1b" not in out
    assert b"\x1b" in os.read(reader, 100_000)
    os.close(reader)


def test_the_sign_in_page_and_the_command_line_share_accounts(program: Program) -> None:
    with program.serving() as serving:
        connection = https(program, serving.port)
        connection.request("GET", "/sign-in")
        page = connection.getresponse()
        cookies = "; ".join(value.partition(";")[0] for name, value in page.getheaders() if name == "Set-Cookie")
        token = page.read().decode().split('name="csrf_token" value="')[1].split('"')[0]
        form = f"account=admin&password={PASSWORD.replace(' ', '+')}&csrf_token={token}"
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Cookie": cookies}
        connection.request("POST", "/sign-in", form, headers)
        assert connection.getresponse().status == 303
        connection.close()
        newest = program.json("audit", "list", "--limit", "1")["audit"][0]
        assert (newest["action"], newest["account"], newest["address"]) == ("sign_in", "admin", "127.0.0.1")


def test_commands_at_the_same_time_wait_for_each_other(program: Program) -> None:
    results: list[int] = []
    threads = [
        threading.Thread(target=lambda name=name: results.append(program.run("branch", "add", name).returncode))
        for name in ("leeds", "york", "hull")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0, 0, 0]


def test_only_root_and_the_owner_speak_as_the_owner() -> None:
    seen: list[Any] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ.get(ACTOR_KEY))
        return [b"ok"]

    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        statuses.append(status)

    gate = owner_gate(app, 1000)
    for uid in ("0", "1000"):
        assert list(gate({"X_REMOTE_UID": uid}, start_response)) == [b"ok"]
    for environ in ({"X_REMOTE_UID": "1001"}, {"X_REMOTE_UID": ""}, {}, {ACTOR_KEY: owner_actor(0)}):
        assert b"control_refused" in b"".join(gate(dict(environ), start_response))
    list(network_gate(app)({ACTOR_KEY: owner_actor(0)}, start_response))
    assert seen == [owner_actor(0), owner_actor(1000), None]
    assert statuses == ["403 Forbidden"] * 4


def test_a_long_answer_is_broken_off_when_the_process_stops() -> None:
    stopping = threading.Event()
    ended: list[bool] = []

    def app(environ: dict[str, Any], start_response: Any) -> Any:
        try:
            for number in range(100):
                if number == 3:
                    stopping.set()
                yield b"x"
        finally:
            ended.append(True)

    answer: Any = stopping_gate(app, stopping.is_set)({}, lambda *args: None)
    received = []
    with pytest.raises(StoppedOnTheWay):
        for piece in answer:
            received.append(piece)
    answer.close()
    assert len(received) == 3 and ended == [True]


@pytest.mark.parametrize(
    ("text", "parsed"), [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:8443", ("::1", 8443)), ("host:1", ("host", 1))]
)
def test_addresses_to_listen_on(text: str, parsed: tuple[str, int]) -> None:
    assert parse_listen(text) == parsed


@pytest.mark.parametrize("text", ["", "8443", ":8443", "host:", "host:99999", "host:x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressUnreadable):
        parse_listen(text)


@pytest.mark.skipif(os.geteuid() != 0, reason="ONLY ROOT CAN GIVE THE SERVICE MOUNTS OF ITS OWN")
def test_what_the_service_would_write_where_the_caller_does_not_see_it_is_refused(filled: Program, tmp_path: Path) -> None:
    (tmp_path / "back").mkdir()
    hidden = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs none {tmp_path}/back && exec "$@"', "sh"]
    with filled.serving(wrapper=hidden):
        for words in (["restore", SHARE], ["export", "run", SHARE]):
            done = filled.run(*words, "--to", str(tmp_path / "back" / "new"), "--json")
            error = msgspec.json.decode(done.stderr)["error"]
            assert (done.returncode, error["type"]) == (4, "place_elsewhere") and "ReadWritePaths" in error["remedy"]
        assert filled.run("restore", SHARE, "--to", str(tmp_path / "other" / "new")).returncode == 0


@pytest.fixture
def with_a_socket(filled: Program) -> Program:
    """A share with something that no archive can hold."""
    rig = VaultRig(filled.root)
    rig.send([b"listening"], [Create(0, Kind.SOCKET, Attributes(0o644, 0, 0, 1))])
    rig.snapshot("with a socket")
    rig.fold.fold_all()
    rig.close()
    return filled


def test_a_stream_tells_what_it_does_not_hold(with_a_socket: Program) -> None:
    done = with_a_socket.run("export", "run", SHARE, "--to", "-")
    assert done.returncode == 5 and b"leeds/finance/listening" in done.stderr and b"a budget" in done.stdout
    with with_a_socket.serving():
        done = with_a_socket.run("export", "run", SHARE, "--to", "-", "--json")
    assert (done.returncode, [row["what"] for row in msgspec.json.decode(done.stderr)["not_exported"]]) == (5, ["socket"])


def test_a_scheduled_export_tells_what_it_does_not_hold(with_a_socket: Program, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    words = ["--cron", "0 19 * * *", "--action", "export", "--share", SHARE, "--to", str(library)]
    with_a_socket.json("schedule", "add", "evening", *words)
    done = with_a_socket.run("schedule", "run", "evening", "--json")
    row = msgspec.json.decode(done.stdout)
    assert (done.returncode, row["last_outcome"]) == (5, "differences") and "listening" in row["last_message"]


def test_output_that_goes_to_a_full_disk_is_told_as_that(filled: Program) -> None:
    for words in (["export", "run", SHARE, "--to", "-"], ["ls", SHARE], ["cat", SHARE, "2026/Plan.bin"]):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(filled.command(*words, "--json"), env=filled.environment(), stdout=full, stderr=subprocess.PIPE)
        assert (done.returncode, msgspec.json.decode(done.stderr)["error"]["type"]) == (7, "no_space")
